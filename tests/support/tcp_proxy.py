"""A TCP proxy in front of a server, that cuts its connections or swallows their bytes."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing the socket sends RST."""


class _Link:
    """One connection of a client, and its connection to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.is_silent = False

    async def forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(1 << 16):
                if not self.is_silent:
                    sink.write(data)
                    await sink.drain()
        if not self.is_silent:
            sink.close()

    def reset(self) -> None:
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError):
                theirs = writer.get_extra_info("socket")
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            writer.transport.abort()


class TcpProxy:
    """Forwards to a port of this machine. Enter it before use."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._links: list[_Link] = []
        self._all: list[_Link] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_black_hole = False

    async def __aenter__(self) -> "TcpProxy":
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self._all:
            link.reset()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    def cut(self) -> int:
        """Reset every connection; return how many."""
        links, self._links = self._links, []
        for link in links:
            link.reset()
        return len(links)

    def swallow(self) -> int:
        """Read and drop the bytes of every open connection from now on, and never close it, as a
        device does that has forgotten a connection; return how many. New connections work."""
        links, self._links = self._links, []
        for link in links:
            link.is_silent = True
        return len(links)

    @contextlib.contextmanager
    def black_hole(self) -> Iterator[None]:
        """Swallow the bytes of all connections for a while, also of those that are opened in it: a
        network that answers nothing."""
        self._is_black_hole = True
        try:
            self.swallow()
            yield
        finally:
            self._is_black_hole = False
            self.swallow()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, theirs[1])
        link.is_silent = self._is_black_hole
        self._links.append(link)
        self._all.append(link)
        for source, sink in ((reader, theirs[1]), (theirs[0], writer)):
            task = asyncio.create_task(link.forward(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
