"""The limits of the HTTP protocol, over real connections."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.server import ServerState

from infrastructure.web.http_protocol import LARGEST_HEAD, MOST_PIPELINED, BoundedProtocol

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Hasty(BoundedProtocol):
    """Protocol that gives a head a tenth of a second."""

    head_within = 0.1


async def _echo_size(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes")


@asynccontextmanager
async def _server(protocol: type[BoundedProtocol] = BoundedProtocol) -> AsyncIterator[int]:
    app = Starlette(routes=[Route("/", _echo_size, methods=["GET", "POST"])])
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _answer_to(port: int, *pieces: bytes) -> bytes:
    """Send pieces, each by itself; return all that comes back until the server closes."""
    async with _connected(port) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        answer = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                while piece := await reader.read(65_536):
                    answer += piece
        return answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * LARGEST_HEAD,
        b"GET /" + b"a" * LARGEST_HEAD,
        b"GET / HTTP/1.1\r\n" + b"A: 1\r\n" * (LARGEST_HEAD // 4) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 300_000 + b"\r\n\r\n",
    ],
    ids=["unended header", "unended URL", "many headers", "whole head in one piece"],
)
async def test_head_beyond_limit_is_refused(head: bytes) -> None:
    async with _server() as port:
        answer = await _answer_to(port, *(head[at : at + 8192] for at in range(0, len(head), 8192)))
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"connection: close" in answer
        whole = await _answer_to(port, head)
        assert whole.startswith(b"HTTP/1.1 431 ")


async def test_endless_head_does_not_hinder_other_connections() -> None:
    async with _server() as port, _connected(port) as (_, endless):
        endless.write(b"GET / HTTP/1.1\r\nX-A: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(1_000):  # 64 MB, of which the server takes 1 MiB
                endless.write(b"a" * 65_536)
                await endless.drain()
        answer = await _answer_to(port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_large_body_behind_a_small_head_is_read() -> None:
    size = 10 * LARGEST_HEAD
    head = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    async with _server() as port:
        answer = await _answer_to(port, head.encode(), b"b" * (size // 2), b"b" * (size // 2))
        assert answer.endswith(f"{size} bytes".encode())


async def test_chunked_body_in_many_small_pieces_is_read() -> None:
    chunk = b"400\r\n" + b"c" * 1024 + b"\r\n"
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with _server() as port:
        answer = await _answer_to(port, head, *[chunk] * 64, b"0\r\n\r\n")
        assert answer.endswith(b"65536 bytes")


async def test_slow_head_is_refused() -> None:
    async with _server(Hasty) as port:
        answer = await _answer_to(port, b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_second_head_on_a_connection_has_its_own_time() -> None:
    async with _server(Hasty) as port:
        answer = await _answer_to(port, GET, b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in answer


async def test_silent_connection_is_closed_without_an_answer() -> None:
    async with _server(Hasty) as port:
        assert await _answer_to(port) == b""


async def test_too_many_pipelined_requests_end_the_connection() -> None:
    async with _server() as port:
        assert await _answer_to(port, GET * (MOST_PIPELINED + 50)) == b""
        last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        answer = await _answer_to(port, GET * 50 + last)
        assert answer.count(b"HTTP/1.1 200 ") == 51


async def test_malformed_request_is_answered_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with _server() as port:
        with caplog.at_level(logging.WARNING, "uvicorn.error"):
            answer = await _answer_to(port, b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert [record.msg for record in caplog.records] == ["Invalid HTTP request received."]
