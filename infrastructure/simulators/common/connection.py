"""The connection of one request: complete answers, and answers that a fault breaks."""

import asyncio
import socket
import struct
from typing import Any

from starlette.types import Receive, Scope, Send

from infrastructure.simulators.common.fault_actions import Mangle
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Answer

BODY_AT_MOST = 1_000_000
DRIPS = 20
"""Parts in which a slow answer is sent."""
TRANSPORT = "simulator.transport"
"""Member of the scope's state with the socket's transport: ASGI itself has no way to reset a
connection."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport | None = scope.get("state", {}).get(TRANSPORT)

    async def body(self) -> bytes:
        """Read the body. Raises Refusal when it is too large."""
        parts: list[bytes] = []
        more, size = True, 0
        while more:
            message = await self._receive()
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > BODY_AT_MOST:
                raise Refusal("body_too_large")
            more = message.get("more_body", False)
        return b"".join(parts)

    async def gone(self) -> None:
        """Wait until the client closes the connection. Only after the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, answer: Answer) -> None:
        await self._start(answer, len(answer.body))
        await self._send({"type": "http.response.body", "body": answer.body})

    async def answer_half_the_bytes(self, answer: Answer) -> None:
        """Promise the whole body in the header, and close the connection in the middle of the
        body."""
        await self._start(answer, len(answer.body))
        half = answer.body[: len(answer.body) // 2]
        await self._send({"type": "http.response.body", "body": half, "more_body": True})
        await self.end(reset=False)

    async def answer_half_a_header(self) -> None:
        self._open_transport().write(b"HTTP/1.1 200 OK\r\ncontent-type: applica")
        await self.end(reset=False)

    async def answer_slowly(self, answer: Answer, seconds: float) -> None:
        await self._start(answer, len(answer.body))
        step = max(len(answer.body) // DRIPS, 1)
        for start in range(0, len(answer.body), step):
            await asyncio.sleep(seconds / DRIPS)
            part = answer.body[start : start + step]
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def end(self, reset: bool) -> None:
        """Close the connection, with a TCP reset if asked, and wait until the server has
        noticed."""
        transport = self._open_transport()
        if (
            reset and not transport.is_closing()
        ):  # after a disconnect of the client there is no socket
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
            transport.abort()
        else:
            transport.close()
        await self.gone()

    def _open_transport(self) -> asyncio.Transport:
        """Return the socket's transport. Raises ConnectionResetError in process, where there is no
        connection to cut."""
        if self._transport is None:
            raise ConnectionResetError(
                "this fault needs a real connection, but the app runs in process: start it with "
                "serve_simulator"
            )
        return self._transport

    async def _start(self, answer: Answer, length: int) -> None:
        headers: list[tuple[bytes, bytes]] = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(length).encode()),
            *(
                (name.lower().encode(), value.encode("latin-1", "replace"))
                for name, value in answer.headers.items()
            ),
        ]
        start: dict[str, Any] = {
            "type": "http.response.start",
            "status": answer.status,
            "headers": headers,
        }
        await self._send(start)


async def deliver(connection: Connection, answer: Answer, mangles: list[Mangle]) -> None:
    """Send the answer, broken as the first of `mangles` demands."""
    match mangles[0].kind if mangles else None:
        case None:
            await connection.answer(answer)
        case "truncate_body":
            answer.body = answer.body[: len(answer.body) // 2]
            await connection.answer(answer)
        case "cut_body":
            await connection.answer_half_the_bytes(answer)
        case "partial_headers":
            await connection.answer_half_a_header()
        case "slow_drip":
            await connection.answer_slowly(answer, mangles[0].seconds)
