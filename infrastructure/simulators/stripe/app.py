"""The simulated Stripe as one Starlette application: `/v1/*` as Stripe, `/_sim/*` to control it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from infrastructure.simulators.common.connection import Connection
from infrastructure.simulators.common.forms import nest, read_pairs
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Call
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.control_routes import control_routes
from infrastructure.simulators.stripe.operations import OPERATIONS, Operation
from infrastructure.simulators.stripe.pipeline import dispatch, refuse, stripe_headers
from infrastructure.simulators.stripe.world import World


def create_simulator(config: SimulatorConfig | None = None) -> Starlette:
    """A simulated Stripe. `app.state.world` is its inside, for tests that run in the same process.

    It can be called as a function: a call without faults neither sleeps nor opens a socket, and its time is
    `config.clock`. Without `serve_simulator` there is no connection to cut, so connection faults raise
    ConnectionResetError. A client that gives up must leave its call running, as Stripe would: cancelling it takes
    the call's effect away.
    """
    world = World(config or SimulatorConfig())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        world.webhooks.wake()
        yield
        await world.close()

    routes = [Route(op.path, Endpoint(world, op), methods=[op.method]) for op in OPERATIONS]
    app = Starlette(
        routes=[*routes, *control_routes(world)],
        lifespan=lifespan,
        exception_handlers={HTTPException: _as_stripe_says(world)},
    )
    app.router.redirect_slashes = False
    app.state.world = world
    return app


class Endpoint:
    """One operation as an ASGI application: no Request or Response objects on the hot path."""

    def __init__(self, world: World, operation: Operation) -> None:
        self._world = world
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(scope, receive, send)
        call = _call(self._world, self._operation, scope)
        try:
            body = await connection.body()
            call.pairs = read_pairs(body if call.method == "POST" else scope["query_string"])
            call.form = nest(call.pairs)
        except Refusal as refusal:
            await refuse(self._world, call, refusal, connection)
            return
        await dispatch(self._world, self._operation, call, connection)


def _call(world: World, operation: Operation, scope: Scope) -> Call:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    return Call(
        operation=operation.name,
        method=operation.method,
        path=scope["path"],
        target=scope["path_params"],
        request_id=world.ids.next("req"),
        at=world.clock.now(),
        started=world.clock.steady(),
        api_key=_api_key(headers.get(b"authorization", b"")),
        key=_text(headers.get(b"idempotency-key")) if operation.method == "POST" else None,
        account=_text(headers.get(b"stripe-account")),
        version=_text(headers.get(b"stripe-version")),
    )


def _text(header: bytes | None) -> str | None:
    return header.decode("latin-1") if header else None


def _api_key(authorization: bytes) -> str | None:
    scheme, _, credentials = authorization.decode("latin-1").partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic":
            try:
                return base64.b64decode(credentials).decode("latin-1").partition(":")[0]
            except binascii.Error:
                return None
        case _:
            return None


def _as_stripe_says(world: World) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, failure: Exception) -> Response:
        name = "unknown_method" if cast(HTTPException, failure).status_code == 405 else "unknown_url"
        call = world.unnamed_call(request.method, request.url.path)
        refused = world.refused(Refusal(name, method=request.method, path=call.path), call, stored=False)
        world.remember(call, "answered", refused)
        headers = stripe_headers(world, call, refused.headers, None)
        return Response(refused.body, refused.status, headers, media_type="application/json")

    return answer
