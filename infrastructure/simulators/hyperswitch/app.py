"""The simulated Hyperswitch as one Starlette application: its API, and `/_sim/*` to control it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from infrastructure.simulators.common.answer import Answer
from infrastructure.simulators.common.connection import Connection, deliver
from infrastructure.simulators.common.fault_actions import Mangle, Point
from infrastructure.simulators.common.fault_injection import answered, strike
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Call, Vanish
from infrastructure.simulators.hyperswitch.config import HyperswitchConfig
from infrastructure.simulators.hyperswitch.control_routes import control_routes
from infrastructure.simulators.hyperswitch.operations import OPERATIONS, Operation, subject_of
from infrastructure.simulators.hyperswitch.requests import json_of
from infrastructure.simulators.hyperswitch.world import HyperswitchWorld


def create_simulator(config: HyperswitchConfig | None = None) -> Starlette:
    """A simulated Hyperswitch. `app.state.world` is its inside, for tests that run in the same process."""
    world = HyperswitchWorld(config or HyperswitchConfig())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await world.close()

    def as_hyperswitch_says(request: Request, failure: Exception) -> Response:
        name = "unknown_method" if cast(HTTPException, failure).status_code == 405 else "unknown_url"
        call = world.unnamed_call(request.method, request.url.path)
        refused = world.refused(Refusal(name), call, stored=False)
        return Response(refused.body, refused.status, media_type="application/json")

    routes = [Route(operation.path, Endpoint(world, operation), methods=[operation.method]) for operation in OPERATIONS]
    app = Starlette(
        routes=[*routes, *control_routes(world)],
        lifespan=lifespan,
        exception_handlers={HTTPException: as_hyperswitch_says},
    )
    app.router.redirect_slashes = False
    app.state.world = world
    return app


class Endpoint:
    """One operation as an ASGI application."""

    def __init__(self, world: HyperswitchWorld, operation: Operation) -> None:
        self._world = world
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        world, connection = self._world, Connection(scope, receive, send)
        call = _call(world, self._operation, scope)
        sent: dict[str, object] = {"headers": _headers(scope), "query": scope["query_string"].decode("latin-1"), "body": ""}
        try:
            body = await connection.body()
            sent["body"] = body.decode("utf-8", "replace")
            answer, spoilt = await Passage(world, self._operation, call, connection, body).answer()
        except Refusal as refusal:
            answer, spoilt = world.refused(refusal, call, stored=False), []
        except Vanish as end:
            world.remember(call, sent, f"connection {end}")
            await connection.end(end.reset)
            return
        world.remember(call, sent, spoilt[0].kind if spoilt else "answered", answer.status)
        answer.headers["x-request-id"] = call.request_id
        await deliver(connection, answer, spoilt)


class Passage:
    """One call on its way, in the order in which it passes the points where a fault can strike."""

    def __init__(self, world: HyperswitchWorld, operation: Operation, call: Call, connection: Connection, body: bytes) -> None:
        self._world = world
        self._operation = operation
        self._call = call
        self._connection = connection
        self._body = body
        self._plan = world.faults.plan(call)
        self._epoch = world.epoch

    async def answer(self) -> tuple[Answer, list[Mangle]]:
        """The answer, and how it is to be spoilt on its way. Raises Vanish when the connection ends instead."""
        return await answered(self._world, self._call, self._plan, self._connection, self._processed)

    async def _strike(self, point: Point) -> None:
        if self._plan:
            await strike(self._world, self._call, self._plan, point, self._connection)

    async def _processed(self) -> Answer:
        await self._strike(Point.ARRIVAL)
        _authenticate(self._world, self._call)
        self._world.admit()
        await self._strike(Point.ADMISSION)
        self._call.params = json_of(self._body)
        await self._strike(Point.BEFORE_EXECUTION)
        async with self._world.locks.holding(subject_of(self._call) if self._operation.writes else None):
            await self._strike(Point.BEFORE_COMMIT)
            if self._epoch != self._world.epoch:  # reset meanwhile: this call belongs to another world
                raise Vanish(reset=True)
            answer = Answer(200, orjson.dumps(self._operation.execute(self._world, self._call)))
            self._world.commit()
        await self._strike(Point.AFTER_COMMIT)
        return answer


def _call(world: HyperswitchWorld, operation: Operation, scope: Scope) -> Call:
    headers = _headers(scope)
    return Call(
        operation=operation.name,
        method=operation.method,
        path=scope["path"],
        target=scope["path_params"],
        request_id=world.ids.next("req"),
        at=world.clock.now(),
        started=world.clock.steady(),
        api_key=headers.get("api-key"),
        key=headers.get("idempotency-key"),
    )


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _authenticate(world: HyperswitchWorld, call: Call) -> None:
    key, accepted = call.api_key, world.config.accepted_keys
    if not key or key.startswith("pk_") or (accepted is not None and key not in accepted):
        raise Refusal("unauthorized")
