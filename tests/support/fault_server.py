"""A server in the place of a provider: it sends prepared bytes, or breaks off in a prepared way."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Received(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: str


def response(status: int, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    """Return an HTTP answer as the providers form it: a str body unchanged, anything else as
    JSON."""
    content = (body if isinstance(body, str) else json.dumps(body)).encode(
        "utf-8", "surrogateescape"
    )
    lines = {
        "Content-Type": "application/json",
        "Request-Id": "req_1",
        "Content-Length": len(content),
    }
    lines |= dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + content


class FaultServer:
    """A server that answers each request with the next prepared answer, and repeats the last
    one."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self._in_flight = 0
        self._changed = asyncio.Condition()
        self._answers: list[Answer] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def answers(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        self.sends(response(status, body, headers))

    def refuses(
        self, status: int, error: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> None:
        self.answers(status, {"error": error}, headers)

    def sends(self, raw: bytes, *, then_close: bool = False) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(raw)
            await writer.drain()
            if then_close:
                writer.close()

        self._answers.append(answer)

    def cuts_the_body_short(self, body: object) -> None:
        whole = response(200, body)
        self.sends(whole[: len(whole) - 20], then_close=True)

    def closes(self) -> None:
        self.sends(b"", then_close=True)

    def resets(self) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        self._answers.append(answer)

    def hangs(self, after: bytes = b"") -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(after)
            await reader.read()  # until the client hangs up
            writer.close()

        self._answers.append(answer)

    def waits_for(self, go: asyncio.Event, raw: bytes) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await go.wait()
            writer.write(raw)

        self._answers.append(answer)

    async def saw(self, count: int) -> None:
        """Wait until that many requests are in flight at once."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self._in_flight >= count)

    async def hung_up(self) -> None:
        """Wait until the client has closed every connection."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: not self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                await self._serve_one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()
            async with self._changed:
                self._tasks.discard(task)
                self._changed.notify_all()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await _received(reader))
        async with self._changed:
            self._in_flight += 1
            self._changed.notify_all()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        try:
            await answer(reader, writer)
        finally:
            self._in_flight -= 1


async def _received(reader: asyncio.StreamReader) -> Received:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body.decode())
