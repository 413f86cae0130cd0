"""The web application: routes, middleware, and the token before `/v1`."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infrastructure.bootstrap import running
from infrastructure.postgres.read_side.as_of import AsOfQueries
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.postgres.read_side.read_models import ReadModels
from infrastructure.redaction import protect
from infrastructure.service import Service
from infrastructure.settings import Settings, require_token_for_real_money, settings_from
from infrastructure.web.auth import BearerToken, access_of
from infrastructure.web.console.entrance import Entrance
from infrastructure.web.console.routes import console_routes
from infrastructure.web.metrics import Metrics
from infrastructure.web.middleware import RequestMiddleware
from infrastructure.web.openapi import document
from infrastructure.web.operation import ApiOperation, Backend, endpoint
from infrastructure.web.problems import on_exception, on_http_exception
from infrastructure.web.routes import OPERATIONS

HEALTH = tuple(op for op in OPERATIONS if op.path in ("/healthz", "/readyz", "/metrics"))
"""The operations of a process without an API: `worker`."""

Endpoint = Callable[[Request], Awaitable[Response]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def create_app(settings: Settings | None = None) -> Starlette:
    """Create the application with the whole ledger inside; its lifespan starts, runs and drains
    inbox and workers.

    Reads the environment when `settings` is None. Raises BadSetting; the lifespan raises the errors
    of `running`.
    """
    chosen = settings_from(os.environ) if settings is None else settings
    protect(chosen.secrets)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with running(chosen) as service:
            app.state.backend = _backend(app, service)
            yield

    return _application(chosen, lifespan)


def application_of(service: Service, operations: Sequence[ApiOperation] = OPERATIONS) -> Starlette:
    """Create the application on a running ledger; the caller starts and drains that ledger."""
    app = _application(service.settings, None, operations)
    app.state.backend = _backend(app, service)
    return app


def _application(
    settings: Settings,
    lifespan: Lifespan | None,
    operations: Sequence[ApiOperation] = OPERATIONS,
) -> Starlette:
    with_api = any(op.guarded for op in operations)
    if with_api:
        require_token_for_real_money(settings)
    metrics = Metrics(settings.mode)
    app = Starlette(
        routes=[*_routes(operations), *(console_routes(Entrance(settings)) if with_api else ())],
        middleware=[
            Middleware(RequestMiddleware, settings.mode, metrics),
            Middleware(BearerToken, access_of(settings)),
        ],
        exception_handlers={HTTPException: on_http_exception, Exception: on_exception},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.metrics = metrics
    return app


def _routes(operations: Sequence[ApiOperation]) -> list[Route]:
    """Make one route for each path: Starlette lists the methods of one route in `Allow`."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for op in operations:
        by_path.setdefault(op.path, {})[op.method] = endpoint(op)
    return [Route(path, _of_method(served), methods=[*served]) for path, served in by_path.items()]


def _of_method(served: Mapping[str, Endpoint]) -> Endpoint:
    async def serve(request: Request) -> Response:
        return await served["GET" if request.method == "HEAD" else request.method](request)

    return serve


def _backend(app: Starlette, service: Service) -> Backend:
    described, history = orjson.dumps(document(OPERATIONS)), FactReader(service.store)
    past = AsOfQueries(service.pool, history)
    app.state.metrics.watch(service)
    return Backend(service, ReadModels(service.pool), history, past, app.state.metrics, described)
