"""A receiver of a provider's webhooks."""

import asyncio
import json
from typing import NamedTuple

from tests.support.json_types import Json


class ReceivedWebhook(NamedTuple):
    body: bytes
    signature: str | None

    @property
    def event(self) -> Json:
        event: Json = json.loads(self.body)
        return event


class WebhookReceiver:
    """A webhook endpoint that answers with the next status of `answers`, then 200. None: no
    answer."""

    def __init__(self, signature_header: str) -> None:
        self._signature = signature_header.lower()
        self.received: list[ReceivedWebhook] = []
        self.answers: list[int | None] = []
        self._news = asyncio.Condition()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def has(self, count: int) -> list[Json]:
        """Wait for that many events; return them."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self.received) >= count)
        return [one.event for one in self.received]

    @property
    def types(self) -> list[str]:
        return [one.event["event_type"] for one in self.received]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(headers["content-length"]))
        async with self._news:
            self.received.append(ReceivedWebhook(body, headers.get(self._signature)))
            self._news.notify_all()
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            await reader.read()  # until the sender gives up
        else:
            writer.write(
                f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
        writer.close()
