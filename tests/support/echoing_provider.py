"""A provider that refuses every call, and repeats the caller's key in its error in every way."""

import asyncio
import base64
import json
from collections import Counter
from urllib.parse import quote

from tests.support.fault_server import response

FORMS = ("whole", "prefix", "quoted", "base64", "page", "header")


def said(key: str, form: str) -> str:
    """Return an error message that repeats the key."""
    match form:
        case "prefix":
            return f"Invalid API Key provided: {key[:24]}***"
        case "quoted":
            return f"No such key: {quote(key, safe='')}"
        case "base64":
            return f"Bad credentials: Basic {base64.b64encode(key.encode()).decode()}"
        case "page":  # no JSON, and an excerpt would end within the key
            return f"<html>{'x' * 170}{key}</html>"
    return f"Invalid API Key provided: {key}"


class EchoingProvider:
    """Stripe and Hyperswitch in one: their errors have different shapes, and both are sent."""

    def __init__(self, statuses: tuple[int, ...]) -> None:
        self._statuses, self.calls = statuses, Counter[str]()
        """Calls by key."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                named = [line.partition(": ") for line in head.split("\r\n")]
                headers = {name.lower(): value for name, _, value in named}
                await reader.readexactly(int(headers.get("content-length", 0)))
                key = headers.get("api-key") or headers["authorization"].removeprefix("Bearer ")
                writer.write(self._answer(key))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, key: str) -> bytes:
        form = FORMS[self.calls[key] % len(FORMS)]
        status = self._statuses[self.calls[key] // len(FORMS) % len(self._statuses)]
        self.calls[key] += 1
        message = said(key, form)
        if form == "page":
            return response(status, message)
        error = {"type": "invalid_request_error", "code": "E_1", "message": message}
        notice = {"Stripe-Notice": message} if form == "header" else {}
        return response(status, json.dumps({"error": error}), notice)
