"""uvicorn's HTTP protocol with limits on the head of a request, on pipelined requests, and on the
time for a head.

httptools, unlike h11, has no limit of its own: it joins the pieces of a header again for each
piece, so a head without an end costs processor time that grows with the square of its size.
"""

import asyncio
from asyncio.events import TimerHandle
from collections.abc import Mapping
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from infrastructure.web.problems import MEDIA_TYPE, body_of

LARGEST_HEAD: Final = 32 * 1024
"""Bytes of request line and headers."""
HEAD_WITHIN_SECONDS: Final = 10.0
"""Time for a whole head, from the connection or from the first byte of the request."""
MOST_PIPELINED: Final = 100
"""Requests that one connection may send before it has read the answers."""
LINGER_BYTES, LINGER_SECONDS = 1 << 20, 2.0
"""A refused connection is read and dropped up to these limits; closed at once, the client's
operating system would drop the answer together with the connection."""
REFUSALS: Final[Mapping[int, bytes]] = {
    400: body_of("bad_http", "The bytes are no request in HTTP/1.1; send one."),
    408: body_of(
        "head_too_slow",
        f"The head of the request did not come within {HEAD_WITHIN_SECONDS:.0f} s; send it again.",
    ),
    431: body_of(
        "head_too_large",
        f"The head of the request is larger than {LARGEST_HEAD} bytes; send less.",
    ),
}


class HeadTooLarge(Exception):
    """The head of a request is larger than `LARGEST_HEAD`."""


class BoundedProtocol(HttpToolsProtocol):
    """HTTP protocol of the ledger's web server."""

    head_within = HEAD_WITHIN_SECONDS
    _head = 0
    """Bytes of the present head that the parser has told of; 0 between two heads."""
    _unparsed = 0
    """Bytes received since the parser last completed a head or a part of a body."""
    _refused = False
    _dropped = 0
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._drop(len(data))
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > LARGEST_HEAD and not self._refused:
            self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 1
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head = self._unparsed = 0
        self._stop_head_timer()
        super().on_headers_complete()
        if len(self.pipeline) > MOST_PIPELINED:
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(431 if self._head > LARGEST_HEAD else 400)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > LARGEST_HEAD:
            raise HeadTooLarge  # ends the parser, which makes uvicorn call `send_400_response`

    def _expect_head(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(self.head_within, self._head_overdue)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_overdue(self) -> None:
        if not self._head:  # the client has sent nothing, so there is nothing to answer
            self.transport.close()
        elif not self.transport.is_closing():
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Answer, close our half of the connection, and drop the rest of what the client sends."""
        self._refused = True
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # an earlier request of this connection is still being answered
            return
        text = REFUSALS[status]
        length = str(len(text)).encode()
        self.transport.write(
            STATUS_LINE[status]
            + f"content-type: {MEDIA_TYPE}\r\n".encode()
            + b"content-length: "
            + length
            + b"\r\nconnection: close\r\n\r\n"
            + text
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            self.transport.abort()
