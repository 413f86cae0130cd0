"""Hyperswitch's answers, read with suspicion: an object is believed only after it has been compared."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

import orjson

from domain.provider_call.outcome import Failure, Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import PaymentAtPsp, RefundAtPsp
from infrastructure.redaction import EXCERPT, clean

Shown = Mapping[str, object]
T = TypeVar("T", str, int)

BUSY = "HE_00"
"""On a 429: another request works on the same object. Without it, the 429 is a limiter's."""
_DEFINITE = (400, 404, 422)


class Unreadable(ValueError):
    """The answer lacks a member, or has it in another shape."""


def outcome_of(status: int, body: bytes) -> Shown | Failure:
    """The JSON object of a success, or what the answer means instead. Total: it never raises."""
    shown = _object(body)
    if 200 <= status < 300:
        return shown if shown is not None else _not_understood("unreadable", status, body)
    error = shown.get("error") if shown is not None else None
    code, message = (_text(error, "code"), _text(error, "message")) if isinstance(error, Mapping) else (None, None)
    said = message or f"HTTP {status}: {clean(_excerpt(body), EXCERPT) or '(empty)'}"
    # These three stop a request at the door, whoever it is that keeps it: a body need not be understood.
    match status:
        case 429:
            return NotExecuted(Hindrance.LOCK_TIMEOUT if code == BUSY else Hindrance.RATE_LIMITED, said)
        case 401:
            return NotExecuted(Hindrance.UNAUTHORIZED, said)
        case 403:
            return NotExecuted(Hindrance.FORBIDDEN, said)
    if status in _DEFINITE and code is not None and code != BUSY:
        return Rejected(status, code, said, stored=False)
    return Unknown(f"http_{status}", said, status)


def payment_at_psp(shown: Shown) -> PaymentAtPsp:
    """Raises Unreadable, naming the member, when this is not a payment."""
    return PaymentAtPsp(
        payment_id=_member(shown, "payment_id", str),
        amount=_member(shown, "amount", int),
        currency=_member(shown, "currency", str).upper(),
        status=_member(shown, "status", str),
        amount_received=_whole(shown, "amount_received"),
        connector_transaction_id=_text(shown, "connector_transaction_id"),
        order_id=_our_order(shown),
        error_code=_text(shown, "error_code"),
        error_message=_text(shown, "error_message"),
        updated_at=_instant(shown, "updated"),
        client_secret=_secret(shown, "client_secret"),
    )


def refund_at_psp(shown: Shown) -> RefundAtPsp:
    """Raises Unreadable, naming the member, when this is not a refund."""
    return RefundAtPsp(
        refund_id=_member(shown, "refund_id", str),
        payment_id=_member(shown, "payment_id", str),
        amount=_member(shown, "amount", int),
        currency=_member(shown, "currency", str).upper(),
        status=_member(shown, "status", str),
        order_id=_our_order(shown),
        error_code=_text(shown, "error_code"),
        error_message=_text(shown, "error_message"),
        updated_at=_instant(shown, "updated_at"),
    )


def page_of(shown: Shown) -> tuple[list[RefundAtPsp], int]:
    """The refunds of one page, and how many the whole list has. Raises Unreadable."""
    items = shown.get("data")
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise Unreadable("The PSP's list has no array of objects in its data.")
    return [refund_at_psp(item) for item in items], _member(shown, "total_count", int)


def disagreement(shown: PaymentAtPsp | RefundAtPsp, expected: Mapping[str, object]) -> Unknown | None:
    """What is wrong with the object, if anything. It is never a refusal: money may have moved, but not as asked."""
    for name, value in expected.items():
        got = getattr(shown, name)
        if got != value:
            return Unknown("disagrees", clean(f"The PSP's answer has {name} {got!r} where {value!r} was asked for."), 200)
    return None


def _object(body: bytes) -> Shown | None:
    try:
        shown = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return shown if isinstance(shown, dict) else None


def _not_understood(why: str, status: int, body: bytes) -> Unknown:
    said = clean(_excerpt(body), EXCERPT) or "(empty)"
    return Unknown(why, f"HTTP {status} with a body that is no JSON object: {said}", status)


def _excerpt(body: bytes) -> str:
    # Cut before it is cleaned, with room for a secret that the cut would halve and so hide from `clean`.
    return " ".join(body[: 10 * EXCERPT].decode("utf-8", "replace").split())


def _member(shown: Shown, name: str, kind: type[T]) -> T:
    value = shown.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):  # in Python True is an int
        raise Unreadable(clean(f"The PSP's answer has {name}={value!r} where a {kind.__name__} was expected."))
    return value if isinstance(value, int) else clean(value)


def _whole(shown: Shown, name: str) -> int | None:
    value = shown.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(shown: Shown, name: str) -> str | None:
    value = shown.get(name)
    return clean(value) if isinstance(value, str) and value else None


def _instant(shown: Shown, name: str) -> datetime | None:
    """None for anything that is no instant; one without a zone is in UTC, as all of the PSP's are."""
    try:
        at = datetime.fromisoformat(_text(shown, name) or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _secret(shown: Shown, name: str) -> str | None:
    value = shown.get(name)
    return value if isinstance(value, str) and value else None


def _our_order(shown: Shown) -> str | None:
    metadata = shown.get("metadata")
    return _text(metadata, "order_id") if isinstance(metadata, Mapping) else None
