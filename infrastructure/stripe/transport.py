"""HTTP transport to Stripe: the SDK's aiohttp client with another `request_async`.

The SDK's method leaves a response open when its body breaks off, times out or is cancelled (the
connection then stays in use until a garbage collection), lets those errors escape unwrapped,
follows redirects, and reads without limit. It also answers a header `Stripe-Notice` with a warning
inside the call, which ends the call where warnings are errors; here the notice becomes a log line.
"""

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import stripe
import structlog
from stripe import AIOHTTPClient

from infrastructure.measurements import CallMeasurements
from infrastructure.redaction import clean

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes. A page of 100 transfers has about 100 kB, and some MB when all metadata has its maximum
size."""
NOTICE = "Stripe-Notice"
MOST_NOTICES = 100
"""Number of different notices that one process logs."""

RESOURCES = {
    "transfers", "reversals", "charges", "payment_intents", "accounts", "account", "events",
    "refunds", "disputes", "payouts",
}  # fmt: skip
"""Names of Stripe's resources that may be labels of a metric."""

log = structlog.get_logger()


def operation_of(method: str, url: str) -> str:
    """Return the name of a request, as the rate limiter names endpoints: the last resource in its
    path, and the verb."""
    parts = urlsplit(url).path.strip("/").split("/")[1:]
    place = next((n for n in range(len(parts), 0, -1) if parts[n - 1] in RESOURCES), 0)
    if not place:
        return "other"
    one = place < len(parts) or parts[-1] == "account"
    verb = "create" if method.lower() == "post" else "retrieve" if one else "list"
    return f"{parts[place - 1]}.{verb}"


class Transport(AIOHTTPClient):
    """One pool of connections, bound to the event loop in which it is built."""

    def __init__(
        self, timeout: float, connections: int, measured: CallMeasurements | None = None
    ) -> None:
        """`timeout` in seconds for a whole exchange; `connections` is the number that may be open
        at once."""
        connector = aiohttp.TCPConnector(
            limit=connections, ssl=ssl.create_default_context(cafile=stripe.ca_bundle_path)
        )
        self._pool = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._notices: set[str] = set()
        self._measured = measured or CallMeasurements("stripe", "Stripe")
        super().__init__(timeout=None, session=self._pool)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request. Raises `stripe.APIConnectionError` with the real error as its cause."""
        try:
            with self._measured.call(operation_of(method, url)) as answered:
                # Stripe's API does not redirect, and following a redirect would post the body once
                # more.
                async with self._pool.request(
                    method, url, headers=headers, data=post_data, allow_redirects=False
                ) as response:
                    body = await _whole(response.content)
                    answered(response.status)
                    return body, response.status, self._without_notice(response.headers)
        except Exception as error:
            self._handle_request_error(error)

    def _without_notice(self, headers: "CIMultiDictProxy[str]") -> Mapping[str, str]:
        """Take Stripe's notices off, and log each different one once."""
        rest = headers.copy()
        for notice in map(clean, rest.popall(NOTICE, [])):
            if notice not in self._notices and len(self._notices) < MOST_NOTICES:
                self._notices.add(notice)
                log.warning("Stripe sent a notice", notice=notice)
        return rest

    async def close_async(self) -> None:
        await self._pool.close()


async def _whole(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise aiohttp.ClientPayloadError(f"the answer is larger than {LARGEST_ANSWER} bytes")
    # The SDK decodes strictly and raises UnicodeDecodeError on a proxy's error page in another
    # encoding.
    return body.decode("utf-8", "replace").encode()
