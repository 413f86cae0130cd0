"""Middleware for every request: path as sent, id, headers, measurement."""

import re
from collections.abc import Sequence
from time import perf_counter
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from infrastructure.web.metrics import Metrics

OPERATION: Final = "ledger.operation"
"""Key in the ASGI scope under which an operation stores its path template."""
REQUEST_ID: Final = "X-Request-Id"
"""Header of every answer; log lines name it as `request_id`. A caller, or a proxy, may send its
own."""
REQUEST_ID_PATTERN: Final = r"^[A-Za-z0-9._-]{8,128}$"


class RequestMiddleware:
    """Middleware that routes by the path as it was sent, adds mode and request id to every
    answer, and measures every call."""

    def __init__(self, app: ASGIApp, mode: str, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._headers: Sequence[tuple[bytes, bytes]] = (
            (b"ledger-mode", mode.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": _as_sent(scope)}
        began, status, request_id = perf_counter(), 500, _request_id(scope)
        own = [*self._headers, (REQUEST_ID.lower().encode(), request_id.encode())]

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", ())
                kept = {name for name, _ in given if name.lower() == b"cache-control"}
                added = [header for header in own if header[0] not in kept]
                message = {**message, "headers": [*given, *added]}
            await send(message)

        try:
            with bound_contextvars(request_id=request_id):
                await self._app(scope, receive, stamped)
        finally:
            self._metrics.answered(
                scope["method"], scope.get(OPERATION), status, perf_counter() - began
            )


def _request_id(scope: Scope) -> str:
    """Return the id that the caller sent if it has the right form, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if re.fullmatch(REQUEST_ID_PATTERN, given) else f"req_{uuid4().hex}"


def _as_sent(scope: Scope) -> str:
    """Return the path with its percent signs: an id may contain a slash, and a slash sent as %2F is
    not a separator."""
    raw = scope.get("raw_path")
    return (
        raw.decode("latin-1") if raw is not None else quote(scope["path"], safe="/:@!$&'()*+,;=~")
    )
