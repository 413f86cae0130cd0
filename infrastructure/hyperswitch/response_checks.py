"""Mapping from Hyperswitch's answers to outcomes, and checks of its objects before the ledger uses
them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import orjson
import structlog

from application.foreign_members import texts
from application.split_members import reverts_transfer, split_payment
from domain.provider_call.outcome import Failure, Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import DisputeAtPsp, PaymentAtPsp, RefundAtPsp
from infrastructure.redaction import EXCERPT, clean, storable

Json = Mapping[str, object]
T = TypeVar("T", str, int)

BUSY = "HE_00"
"""On a 422, or on a 429 of older versions: another request works on the same object. Without this
code, a 429 comes from a rate limiter."""
_DEFINITE = (400, 404, 422)
FEW = 10
"""If a page has more refunds and all are unreadable, the PSP has changed its format."""


log = structlog.get_logger()


class UnreadableAnswer(ValueError):
    """A member of the answer is missing or has another shape."""


def outcome_of(status: int, body: bytes) -> Json | Failure:
    """Return the JSON object of a success, or the failure. Never raises."""
    parsed = _object(body)
    if 200 <= status < 300:
        return parsed if parsed is not None else _unreadable(status, body)
    error = parsed.get("error") if parsed is not None else None
    code, message = (
        (_text(error, "code"), _text(error, "message"))
        if isinstance(error, Mapping)
        else (None, None)
    )
    text = message or f"HTTP {status}: {clean(_excerpt(body), EXCERPT) or '(empty)'}"
    # With these three statuses the PSP, or a proxy before it, has not executed the request: the
    # body does not matter.
    match status:
        case 429:
            return NotExecuted(
                Hindrance.LOCK_TIMEOUT if code == BUSY else Hindrance.RATE_LIMITED, text
            )
        case 401:
            return NotExecuted(Hindrance.UNAUTHORIZED, text)
        case 403:
            return NotExecuted(Hindrance.FORBIDDEN, text)
        case 422 if code == BUSY:  # the lock comes before the execution
            return NotExecuted(Hindrance.LOCK_TIMEOUT, text)
    if status in _DEFINITE and code is not None and code != BUSY:
        return Rejected(status, code, text, stored=False)
    return Unknown(f"http_{status}", text, status)


def payment_at_psp(resource: Json) -> PaymentAtPsp:
    """Read a payment. Raises UnreadableAnswer with the name of the wrong member."""
    return PaymentAtPsp(
        payment_id=_member(resource, "payment_id", str),
        amount=_member(resource, "amount", int),
        currency=_member(resource, "currency", str).upper(),
        status=clean(_member(resource, "status", str)),
        amount_received=_whole(resource, "amount_received"),
        connector=_text(resource, "connector"),
        connector_transaction_id=_identifier(resource, "connector_transaction_id"),
        order_id=_our_order(resource),
        error_code=_text(resource, "error_code"),
        error_message=_text(resource, "error_message"),
        updated_at=_instant(resource, "updated"),
        split=split_payment(resource),
        client_secret=_secret(resource, "client_secret"),
    )


def refund_at_psp(resource: Json) -> RefundAtPsp:
    """Read a refund. Raises UnreadableAnswer with the name of the wrong member."""
    return RefundAtPsp(
        refund_id=_member(resource, "refund_id", str),
        payment_id=_member(resource, "payment_id", str),
        amount=_member(resource, "amount", int),
        currency=_member(resource, "currency", str).upper(),
        status=clean(_member(resource, "status", str)),
        order_id=_our_order(resource),
        error_code=_text(resource, "error_code"),
        error_message=_text(resource, "error_message"),
        updated_at=_instant(resource, "updated_at"),
        reverts_transfer=reverts_transfer(resource),
    )


class RefundPage(NamedTuple):
    """A page of the PSP's list of refunds."""

    refunds: Sequence[RefundAtPsp]
    unreadable: Sequence[str]
    """For each refund of the page that cannot be read, the reason."""
    total: int
    """Number of refunds in the whole list."""


def refund_page(resource: Json) -> RefundPage:
    """Read a page of refunds. Raises UnreadableAnswer.

    A single refund that cannot be read does not hide the others.
    """
    items = resource.get("data")
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise UnreadableAnswer("The PSP's list has no array of objects in its data.")
    refunds, unreadable = list[RefundAtPsp](), list[str]()
    for item in items:
        try:
            refunds.append(refund_at_psp(item))
        except UnreadableAnswer as error:
            unreadable.append(str(error))
    if not refunds and len(unreadable) > FEW:
        raise UnreadableAnswer(f"None of the PSP's refunds can be read. {unreadable[0]}")
    return RefundPage(refunds, unreadable, _member(resource, "total_count", int))


def dispute_page(resource: Json) -> Sequence[DisputeAtPsp | None]:
    """Read a page of disputes; None stands for one that cannot be read, since it must not hide the
    others. Raises UnreadableAnswer."""
    items = resource.get("data")
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise UnreadableAnswer("The PSP's list of disputes is no array of objects.")
    return [_dispute_or_none(item) for item in items]


def _dispute_or_none(item: Json) -> DisputeAtPsp | None:
    amount = item.get("amount")
    try:
        return DisputeAtPsp(
            dispute_id=_member(item, "dispute_id", str),
            payment_id=_member(item, "payment_id", str),
            amount=int(amount) if isinstance(amount, str) else _member(item, "amount", int),
            currency=_member(item, "currency", str).upper(),
            status=clean(_member(item, "dispute_status", str)),
            reason=_text(item, "connector_reason"),
            updated_at=_instant(item, "connector_updated_at"),
        )
    except ValueError as error:
        log.warning("a listed dispute is unreadable and left out", error=clean(str(error)))
        return None


def disagreement(
    resource: PaymentAtPsp | RefundAtPsp, expected: Mapping[str, object]
) -> Unknown | None:
    """Return `Unknown` for an object that differs from the request: money may have moved, but not
    as requested."""
    for name, value in expected.items():
        got = getattr(resource, name)
        if got != value:
            return Unknown(
                "disagrees",
                clean(f"The PSP's answer has {name} {got!r} but {value!r} was requested."),
                200,
            )
    return None


def _object(body: bytes) -> Json | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(parsed, list):  # the PSP's list of disputes
        return {"data": parsed}
    return parsed if isinstance(parsed, dict) else None


def _unreadable(status: int, body: bytes) -> Unknown:
    excerpt = clean(_excerpt(body), EXCERPT) or "(empty)"
    return Unknown(
        "unreadable", f"HTTP {status} with a body that is no JSON object: {excerpt}", status
    )


def _excerpt(body: bytes) -> str:
    # Cut before `clean`, but not to EXCERPT: half a secret would be hidden from `clean`.
    return " ".join(body[: 10 * EXCERPT].decode("utf-8", "replace").split())


def _member(resource: Json, name: str, kind: type[T]) -> T:
    value = resource.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):  # in Python True is an int
        raise UnreadableAnswer(
            clean(f"The PSP's answer has {name}={value!r}, but a {kind.__name__} was expected.")
        )
    return value if isinstance(value, int) else storable(value)


def _identifier(resource: Json, name: str) -> str | None:
    value = resource.get(name)
    return storable(value) if isinstance(value, str) and value else None


def _whole(resource: Json, name: str) -> int | None:
    value = resource.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(resource: Json, name: str) -> str | None:
    value = resource.get(name)
    return clean(value) if isinstance(value, str) and value else None


def _instant(resource: Json, name: str) -> datetime | None:
    """Return the instant, or None for any other text. Without a time zone it is in UTC, as all of
    the PSP's."""
    try:
        at = datetime.fromisoformat(_text(resource, name) or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _secret(resource: Json, name: str) -> str | None:
    value = resource.get(name)
    return value if isinstance(value, str) and value else None


def _our_order(resource: Json) -> str | None:
    name = texts(resource.get("metadata")).get("order_id")
    return storable(name) if name else None
