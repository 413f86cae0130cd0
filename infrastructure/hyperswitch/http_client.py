"""HTTP client for Hyperswitch: bounded in time and size, without redirects, retries and
exceptions."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import httpx
import orjson

from domain.provider_call.outcome import Failure, NotExecuted, Rejected, Unknown
from infrastructure.hyperswitch.response_checks import Json, outcome_of
from infrastructure.measurements import CallMeasurements
from infrastructure.redaction import clean

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. A page of 100 refunds has about 100 kB, and some MB when all metadata has its maximum
size."""
FORCE_SYNC = {"force_sync": "true"}
"""Makes the PSP read the object from its connector instead of from its own database."""

_Answer = TypeVar("_Answer", Failure, Json | Failure)


class _TooLarge(Exception):
    """The answer is larger than `LARGEST_ANSWER`."""


RESOURCES = {"payments", "refunds", "disputes"}
"""Names of the PSP's resources that may be labels of a metric."""


def operation_of(request: httpx.Request) -> str:
    """Return the name of a request: the first resource in its path, and the verb."""
    parts = request.url.path.strip("/").split("/")
    place = next((n for n, part in enumerate(parts) if part in RESOURCES), None)
    if place is None:
        return "other"
    if parts[-1] == "list":
        return f"{parts[place]}.list"
    return f"{parts[place]}.{'create' if request.method == 'POST' else 'retrieve'}"


class PspHttpClient:
    """One pool of connections and the API key of the PSP."""

    def __init__(
        self,
        api_key: str,
        base_url: str,
        timeout: float,
        connections: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`transport` replaces the network."""
        self._api_key = api_key
        self._timeout = timeout
        self.measured = CallMeasurements(
            "psp", "the payment service provider", httpx.TimeoutException
        )
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={
                "api-key": api_key,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # the API does not redirect, and following a redirect would post the body once more
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> Json | Failure:
        """Read one object, as it is now at the connector."""
        return await self._outcome_of(self._http.build_request("GET", path, params=FORCE_SYNC))

    async def list(self, path: str, query: Mapping[str, str | int]) -> Json | Failure:
        """Read a page of a list; an answer that is an array becomes the `data` of an object."""
        return await self._outcome_of(self._http.build_request("GET", path, params=query))

    async def post(
        self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> Json | Failure:
        """Post the body as it is."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        return await self._outcome_of(
            self._http.build_request("POST", path, content=orjson.dumps(body), headers=sent)
        )

    async def _outcome_of(self, request: httpx.Request) -> Json | Failure:
        # Every exception but a cancellation, which belongs to the caller, becomes an outcome: an
        # exception that escaped would leave a call without outcome, although its money may have
        # moved.
        try:
            return self._without_key(outcome_of(*await self._send(request)))
        except (httpx.TimeoutException, TimeoutError) as error:
            return self._unknown("timeout", "No complete answer within the time limit", error)
        except _TooLarge as error:
            return self._unknown("unreadable", "The answer is too large", error)
        except httpx.LocalProtocolError as error:
            return self._unknown(
                f"bug:{type(error).__name__}", "A fault of this program, not of the network", error
            )
        except (httpx.TransportError, OSError) as error:
            return self._unknown("connection", "The connection to the PSP failed", error)
        except Exception as error:
            return self._unknown(
                f"bug:{type(error).__name__}", "A fault of this program, not of the network", error
            )

    async def _send(self, request: httpx.Request) -> tuple[int, bytes]:
        with self.measured.call(operation_of(request)) as answered:
            # httpx limits each step, not the whole: a server that sends slowly would keep the call
            # for ever.
            async with asyncio.timeout(self._timeout):
                status, body = await self._exchange(request)
            answered(status)
            return status, body

    async def _exchange(self, request: httpx.Request) -> tuple[int, bytes]:
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

    def _unknown(self, why: str, summary: str, error: Exception) -> Failure:
        message = f"{summary} ({type(error).__name__}: {str(error) or 'no details'})."
        return self._without_key(Unknown(why, clean(message)))

    def _without_key(self, answer: _Answer) -> _Answer:
        # An answer that echoes our key must not bring the key into a message, and the key need not
        # look like one.
        if isinstance(answer, Rejected | NotExecuted | Unknown) and self._api_key in answer.message:
            return replace(answer, message=answer.message.replace(self._api_key, "[redacted]"))
        return answer
