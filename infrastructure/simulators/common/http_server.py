"""HTTP server for a simulator inside the running event loop, so that faults can reset its
connections."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVar

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from infrastructure.simulators.common.connection import TRANSPORT

GRACE = 1.0
"""Seconds in which the requests under way may end when the simulator stops."""


class ResettableProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the transport in the state of each request, so that a fault can reset
    the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, TRANSPORT: transport}
        self.access_log = False  # the simulator has its own request log
        super().connection_made(transport)


class LoopbackServer:
    """A simulator that listens on `url`. Also an asynchronous context manager that stops the
    simulator at the end."""

    def __init__(self, app: Starlette, sock: socket.socket) -> None:
        self.app = app
        self._socket = sock
        self._state = ServerState()
        self._stack = AsyncExitStack()
        self.host, self.port = sock.getsockname()[:2]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Start to listen. After an error the socket is closed."""
        try:
            await self._listen()
        except BaseException:
            self._socket.close()
            raise

    async def _listen(self) -> None:
        config = uvicorn.Config(
            self.app, http=ResettableProtocol, ws="none", lifespan="off", log_config=None
        )
        config.load()
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        server = await asyncio.get_running_loop().create_server(
            lambda: ResettableProtocol(config=config, server_state=self._state, app_state={}),
            sock=self._socket,
        )
        self._stack.callback(server.close)

    async def stop(self) -> None:
        """Stop listening, let the requests under way end, then abort the open connections. Stopping
        twice is harmless.

        Requests that wait before their commit end without effect, as when a server dies.
        """
        self.app.state.world.shut()
        stack = self._stack.pop_all()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=GRACE)
        for connection in list(self._state.connections):
            connection.transport.abort()
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        await stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


Server = TypeVar("Server", bound=LoopbackServer)


async def serve(
    kind: type[Server], create: Callable[[], Starlette], host: str, port: int
) -> Server:
    """Start a simulator in the running event loop. Port 0 takes a free one. Raises ValueError for a
    host off loopback."""
    sock = _loopback_socket(host, port)
    try:
        server = kind(create(), sock)
    except BaseException:
        sock.close()
        raise
    await server.start()
    return server


def _loopback_socket(host: str, port: int) -> socket.socket:
    """Bind a socket. Raises ValueError for a host off loopback: any program that reaches a
    simulator controls it."""
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    if not address.is_loopback:
        raise ValueError(
            f"the simulator was asked to listen on {host}, but it only listens on loopback; use "
            "127.0.0.1"
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # Explicitly TCP: without that, asyncio does not set TCP_NODELAY.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((str(address), port))
    except OSError:
        sock.close()
        raise
    return sock
