"""Gateway to Hyperswitch's payments, refunds and disputes.

Hyperswitch promises nothing about an `Idempotency-Key`. Requests are idempotent by our names
`payment_id` and `refund_id`: a known name is refused, without the first answer, and so the object
is read after each rejection.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Self, TypeVar

import httpx
import structlog

from domain.provider_call.outcome import Failure, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import DisputeAtPsp, PaymentAtPsp, RefundAtPsp
from domain.provider_call.request_body import PaymentBody, RefundBody
from infrastructure.hyperswitch.http_client import PspHttpClient
from infrastructure.hyperswitch.response_checks import (
    Json,
    RefundPage,
    UnreadableAnswer,
    disagreement,
    dispute_page,
    payment_at_psp,
    refund_at_psp,
    refund_page,
)
from infrastructure.measurements import CallMeasurements

LONGEST_KEY = 255
PAGE = 100
"""The PSP's largest page."""
MOST_LISTED = 10_000
"""Limit of one list; for more objects use a smaller window."""
DUPLICATE = "HE_01"

_SENDABLE = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_KEY}}}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_Object = TypeVar("_Object", PaymentAtPsp, RefundAtPsp)
_Read = TypeVar("_Read")

log = structlog.get_logger()


class HyperswitchGateway:
    """The port `PaymentGateway`. One call of a method sends at most one POST that moves money,
    without retries.

    Use the gateway in one event loop, and close it with `aclose()`.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        timeout: float,
        max_concurrency: int = 100,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`timeout` in seconds for one exchange, waiting for a free connection included.
        `transport` replaces the network.

        Raises ValueError for arguments that could only fail later.
        """
        wrong = (
            timeout <= 0 or max_concurrency < 1 or not base_url.startswith(("http://", "https://"))
        )
        if wrong or not _SENDABLE.fullmatch(api_key):
            raise ValueError(
                "HyperswitchGateway needs an API key without spaces, an http(s) base URL, a "
                "positive timeout and a positive "
                f"concurrency; got base_url={base_url!r}, timeout={timeout!r}, "
                f"max_concurrency={max_concurrency!r}."
            )
        self._http = PspHttpClient(api_key, base_url, timeout, max_concurrency, transport)

    @property
    def measured(self) -> CallMeasurements:
        return self._http.measured

    async def aclose(self) -> None:
        """Close every connection. Calls in flight end as `Unknown`."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def create_payment(
        self, idempotency_key: str, body: PaymentBody
    ) -> PaymentAtPsp | Failure:
        """Create a payment. Raises ValueError for an unusable key or name, before sending."""
        _require_key(idempotency_key)
        name = _required_name(body["payment_id"])
        answer = await self._create("/payments", name, body, idempotency_key)
        expected = {
            "payment_id": name,
            "amount": body["amount"],
            "currency": body["currency"].upper(),
        }
        return _checked(answer, payment_at_psp, expected)

    async def create_refund(
        self, idempotency_key: str, body: RefundBody, currency: str
    ) -> RefundAtPsp | Failure:
        """Create a refund. Raises ValueError for an unusable key or name, before sending."""
        _require_key(idempotency_key)
        name = _required_name(body["refund_id"])
        answer = await self._create("/refunds", name, body, idempotency_key)
        expected = {
            "refund_id": name,
            "payment_id": body["payment_id"],
            "amount": body["amount"],
            "currency": currency.upper(),
        }
        return _checked(answer, refund_at_psp, expected)

    async def payment(self, payment_id: str) -> PaymentAtPsp | Failure:
        """Read a payment. Raises ValueError for a name that the PSP cannot have."""
        resource = await self._http.get(f"/payments/{_required_name(payment_id)}")
        return _checked(resource, payment_at_psp, {"payment_id": payment_id})

    async def refund(self, refund_id: str) -> RefundAtPsp | Failure:
        """Read a refund. Raises ValueError for a name that the PSP cannot have."""
        resource = await self._http.get(f"/refunds/{_required_name(refund_id)}")
        return _checked(resource, refund_at_psp, {"refund_id": refund_id})

    async def refunds(
        self, since: datetime, until: datetime, payment_id: str | None = None
    ) -> list[RefundAtPsp] | Failure:
        """List the refunds of a window. A refund that changes meanwhile may move to another page,
        because pages are cut by offset.

        So the list is complete only when it has as many different refunds as the PSP's
        `total_count`.
        """
        window: dict[str, object] = {
            "start_time": _instant(since),
            "end_time": _instant(until),
            "limit": PAGE,
        }
        if payment_id is not None:
            window["payment_id"] = payment_id
        found: dict[str, RefundAtPsp] = {}
        unreadable = total = 0
        for offset in range(0, MOST_LISTED, PAGE):
            page = _read(
                await self._http.post("/refunds/list", {**window, "offset": offset}), refund_page
            )
            if not isinstance(page, RefundPage):
                return page
            found.update((refund.refund_id, refund) for refund in page.refunds)
            unreadable += len(page.unreadable)
            for error in page.unreadable:
                log.warning("a listed refund is unreadable and left out", error=error)
            on_page, total = len(page.refunds) + len(page.unreadable), page.total
            if on_page < PAGE or len(found) + unreadable >= total:
                break
        if len(found) + unreadable != total:
            return Unknown(
                "incomplete",
                f"{len(found)} different refunds were read, but the PSP has {total} in this "
                "window.",
            )
        return list(found.values())

    async def disputes(self, since: datetime, until: datetime) -> list[DisputeAtPsp] | Failure:
        """List the disputes of a window. The PSP tells no total, so pages are read until one is
        empty."""
        window: dict[str, str | int] = {
            "start_time": _instant(since),
            "end_time": _instant(until),
            "limit": PAGE,
        }
        found: dict[str, DisputeAtPsp] = {}
        offset = 0
        while offset < MOST_LISTED:
            answer = await self._http.list("/disputes/list", {**window, "offset": offset})
            page = _read(answer, dispute_page)
            if isinstance(page, Rejected | NotExecuted | Unknown):
                return page
            if not page:
                return list(found.values())
            found.update((read.dispute_id, read) for read in page if read is not None)
            offset += len(page)
        return Unknown("incomplete", f"The PSP has over {MOST_LISTED} disputes in this window.")

    async def _create(
        self, path: str, name: str, body: PaymentBody | RefundBody, key: str
    ) -> Json | Failure:
        answer = await self._http.post(path, body, {"Idempotency-Key": key})
        if isinstance(answer, Rejected):
            return _after_rejection(answer, await self._http.get(f"{path}/{name}"))
        return answer


def _after_rejection(refused: Rejected, read: Json | Failure) -> Json | Failure:
    """Return the outcome of a rejected call, after a read of the object with the same name.

    A rejection concerns this call only. An earlier call, whose answer was lost, may have created
    the object: then this call is a duplicate, or, since the PSP adds up the refunds first, exceeds
    the refundable amount.
    """
    match read:
        case Rejected(status=404) if refused.code != DUPLICATE:
            return refused
        case Rejected(status=404):
            return Unknown(
                "disagrees",
                "The PSP rejects the name as a duplicate, but has no object of that name: "
                f"{refused.message}",
            )
        case Rejected() | NotExecuted() | Unknown():
            return Unknown(
                "look_up_failed",
                f"{refused.message} The object of that name could not be read: {read.message}",
            )
    return read


def _checked(
    answer: Json | Failure, read: Callable[[Json], _Object], expected: Mapping[str, object]
) -> _Object | Failure:
    found = _read(answer, read)
    if isinstance(found, Rejected | NotExecuted | Unknown):
        return found
    return disagreement(found, expected) or found


def _read(answer: Json | Failure, read: Callable[[Json], _Read]) -> _Read | Failure:
    if isinstance(answer, Rejected | NotExecuted | Unknown):
        return answer
    try:
        return read(answer)
    except UnreadableAnswer as error:
        return Unknown("unreadable", str(error), 200)


def _instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError(
            f"The instant {at} of the window has no time zone; an aware datetime is needed."
        )
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _require_key(key: str) -> None:
    if not _SENDABLE.fullmatch(key):
        raise ValueError(
            f"An idempotency key of 1 to {LONGEST_KEY} printable characters is needed, got {key!r}."
        )


def _required_name(name: str) -> str:
    # The name becomes part of a path: an empty name, or one with dots, would make another path.
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be a payment_id or refund_id at the PSP; make one with name_at_psp."
        )
    return name
