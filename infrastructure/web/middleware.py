"""Middleware for every request: path as sent, headers, measurement."""

from collections.abc import Sequence
from time import perf_counter
from typing import Final
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infrastructure.web.metrics import Metrics

OPERATION: Final = "ledger.operation"
"""Key in the ASGI scope under which an operation stores its path template."""


class RequestMiddleware:
    """Middleware that routes by the path as it was sent, adds the mode to every answer, and
    measures every call."""

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
        began, status = perf_counter(), 500

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", ())
                kept = {name for name, _ in given if name.lower() == b"cache-control"}
                added = [header for header in self._headers if header[0] not in kept]
                message = {**message, "headers": [*given, *added]}
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        finally:
            self._metrics.answered(
                scope["method"], scope.get(OPERATION), status, perf_counter() - began
            )


def _as_sent(scope: Scope) -> str:
    """Return the path with its percent signs: an id may contain a slash, and a slash sent as %2F is
    not a separator."""
    raw = scope.get("raw_path")
    return (
        raw.decode("latin-1") if raw is not None else quote(scope["path"], safe="/:@!$&'()*+,;=~")
    )
