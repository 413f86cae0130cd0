"""A simulator as one Starlette application: the provider's API, and `/_sim/*` to control the
simulator."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from infrastructure.simulators.common.connection import Connection
from infrastructure.simulators.common.control_routes import ControlRoute, routes_of
from infrastructure.simulators.common.exchange import Exchange, Operation, World
from infrastructure.simulators.common.refusal import Refusal


def simulator_app(
    world: World,
    operations: Sequence[Operation],
    exchange: type[Exchange[World, Operation]],
    controls: Sequence[ControlRoute[World]],
) -> Starlette:
    """Build the application. `app.state.world` is its state, for tests that run in the same
    process."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        world.webhooks.wake()
        yield
        await world.close()

    def refuse(request: Request, failure: Exception) -> Response:
        name = (
            "unknown_method" if cast(HTTPException, failure).status_code == 405 else "unknown_url"
        )
        unrouted = world.new_request("none", request.method, request.url.path)
        refused = world.refused(
            Refusal(name, method=request.method, path=unrouted.path), unrouted, stored=False
        )
        world.remember(unrouted, "answered", refused)
        headers = {**world.headers(unrouted, refused.status), **refused.headers}
        return Response(refused.body, refused.status, headers, media_type="application/json")

    routes = [
        Route(one.path, _Endpoint(world, one, exchange), methods=[one.method]) for one in operations
    ]
    app = Starlette(
        routes=[*routes, *routes_of(world, controls)],
        lifespan=lifespan,
        exception_handlers={HTTPException: refuse},
    )
    app.router.redirect_slashes = False
    app.state.world = world
    return app


class _Endpoint:
    """One operation as an ASGI application: without Request and Response objects on the hot
    path."""

    def __init__(self, world: Any, operation: Any, exchange: type[Exchange[Any, Any]]) -> None:
        self._world = world
        self._operation = operation
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._exchange(
            self._world, self._operation, scope, Connection(scope, receive, send)
        ).run()
