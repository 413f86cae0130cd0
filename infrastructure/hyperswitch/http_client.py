"""One exchange with Hyperswitch over HTTP: bounded in time and in size, no redirect, no retry, and never an exception."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import httpx
import orjson

from domain.provider_call.outcome import Failure, NotExecuted, Rejected, Unknown
from infrastructure.hyperswitch.response_checks import Shown, outcome_of
from infrastructure.redaction import clean

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. A page of 100 refunds has about 100 kB, and some MB where all metadata is filled to the brim."""
FORCE_SYNC = {"force_sync": "true"}
"""Makes a read ask whoever carries the payment out, instead of what the PSP last heard."""

_Answer = TypeVar("_Answer", Failure, Shown | Failure)


class _TooLarge(Exception):
    """More than we are willing to read."""


class Exchange:
    """One pool of connections and the key to the PSP."""

    def __init__(self, api_key: str, base_url: str, timeout: float, connections: int) -> None:
        self._api_key = api_key
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"api-key": api_key, "Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,  # a redirect is no answer of this API, and following it would post the body once more
            trust_env=False,
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> Shown | Failure:
        """Read one object, asked for anew at the connector."""
        return await self._answered(self._http.build_request("GET", path, params=FORCE_SYNC))

    async def post(self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Shown | Failure:
        """Send the body as it is."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        return await self._answered(self._http.build_request("POST", path, content=orjson.dumps(body), headers=sent))

    async def _answered(self, request: httpx.Request) -> Shown | Failure:
        # Everything but a cancellation, which belongs to the caller, ends as an outcome: an exception that escaped from
        # here would leave a call without one, although its money may have moved.
        try:
            # httpx limits each step, not the whole: a server that drips would hold the call for ever.
            async with asyncio.timeout(self._timeout):
                return self._without_key(outcome_of(*await self._sent(request)))
        except (httpx.TimeoutException, TimeoutError) as error:
            return self._unknown("timeout", "No whole answer within the time limit", error)
        except _TooLarge as error:
            return self._unknown("unreadable", "The answer is too large", error)
        except httpx.LocalProtocolError as error:
            return self._unknown(f"bug:{type(error).__name__}", "A fault of this program, not of the network", error)
        except (httpx.TransportError, OSError) as error:
            return self._unknown("connection", "The connection to the PSP failed", error)
        except Exception as error:
            return self._unknown(f"bug:{type(error).__name__}", "A fault of this program, not of the network", error)

    async def _sent(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self._http.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise _TooLarge(f"more than {LARGEST_ANSWER} bytes")
            return response.status_code, bytes(body)
        finally:
            await response.aclose()

    def _unknown(self, why: str, what: str, error: Exception) -> Failure:
        said = f"{what} ({type(error).__name__}: {str(error) or 'no details'})."
        return self._without_key(Unknown(why, clean(said)))

    def _without_key(self, answer: _Answer) -> _Answer:
        # Whoever echoes our key must not bring it into a message, and it need not look like a key.
        if isinstance(answer, Rejected | NotExecuted | Unknown) and self._api_key in answer.message:
            return replace(answer, message=answer.message.replace(self._api_key, "[redacted]"))
        return answer
