"""Checks of Stripe's objects before the ledger uses them.

The checks read the parsed JSON, not the SDK's objects: their attributes raise when Stripe leaves a
field out.
"""

from collections.abc import Mapping
from typing import TypeVar

from application.foreign_members import text_or_none
from domain.currency import from_stripe
from domain.errors import BadMoney
from domain.provider_call.outcome import LookUpFailed, Pending, Rejected, Succeeded, Unknown
from domain.provider_call.stripe_objects import SUCCEEDED, ReversalAtStripe, TransferAtStripe
from infrastructure.redaction import clean, storable
from infrastructure.stripe.error_wording import says_no_funds
from infrastructure.stripe.outcomes import is_replay, request_id

TRANSFER, REVERSAL = "tr_", "trr_"
OUR_IDS = ("transfer_id", "reversal_id", "ledger_id")
"""Names in the metadata of an object of ours."""
_LONGEST_ID = 255

T = TypeVar("T", str, int, bool)


def checked_success(
    answer: object,
    prefix: str,
    expected: Mapping[str, object],
    metadata: Mapping[str, str] | None = None,
) -> Succeeded | Unknown:
    """Return `Succeeded` when the object has an id with this prefix and every expected value, and
    no other ids of ours in its metadata, else `Unknown`.

    A disagreement is neither a success nor a rejection: money moved, but not as requested.
    """
    response = getattr(answer, "last_response", None)
    resource = getattr(response, "data", None)
    if response is None or not isinstance(resource, Mapping):
        return Unknown("unreadable", "Stripe's answer is JSON, but not an object.", 200)
    wrong = _disagreement(resource, prefix, expected) or _foreign_id(resource, metadata or {})
    if wrong is not None:
        return Unknown("disagrees", wrong, response.code, request_id(response.headers))
    return Succeeded(
        str(resource["id"]),
        int(resource["amount"]),
        request_id(response.headers),
        is_replay(response.headers),
    )


def _foreign_id(resource: Mapping[str, object], metadata: Mapping[str, str]) -> str | None:
    """Return the disagreement about an id in the metadata, as when another ledger made the object
    under the same key. Absent metadata is not compared."""
    for name in OUR_IDS:
        got = our_metadata(resource, name)
        if got is not None and metadata.get(name, got) != got:
            return _differs(f"metadata {name}", metadata[name], got, f" of {resource['id']}")
    return None


def checked_reversal(
    answer: object, expected: Mapping[str, object], metadata: Mapping[str, str] | None = None
) -> Succeeded | Pending | Rejected | Unknown:
    """Return the outcome of a reversal that agrees with the request, by its status: only
    `succeeded`, or none, means that money moved."""
    made = checked_success(answer, REVERSAL, expected, metadata)
    if isinstance(made, Unknown):
        return made
    resource: Mapping[str, object] = getattr(answer, "last_response").data  # noqa: B009
    if status_of(resource) == SUCCEEDED:
        return made
    refusal = _refusal(resource, made.request_id)
    return refusal or Pending(made.stripe_id, made.amount, made.request_id)


def status_of(resource: Mapping[str, object]) -> str:
    """Return the status of a reversal; older API versions show none."""
    status = resource.get("status")
    return SUCCEEDED if status is None else clean(str(status))


def _refusal(resource: Mapping[str, object], request: str | None = None) -> Rejected | None:
    """Return the refusal that a failed or canceled reversal amounts to. Its key answers with this
    object for ever, so that another attempt needs a new one."""
    status = status_of(resource)
    if status not in ("failed", "canceled"):
        return None
    reasons = (resource.get(name) for name in ("failure_reason", "failure_code", "failure_message"))
    reason = clean(" ".join(one for one in reasons if isinstance(one, str)))
    message = f"Stripe's {resource.get('id')} is {status}{f': {reason}' if reason else ''}"
    no_funds = says_no_funds(reason)
    code = f"reversal_{status}"
    return Rejected(200, code, message, True, request_id=request, says_no_funds=no_funds)


def _disagreement(
    resource: Mapping[str, object], prefix: str, expected: Mapping[str, object]
) -> str | None:
    if not _is_id(resource.get("id"), prefix):
        return _differs("id", f"{prefix}…", resource.get("id"))
    for name, value in expected.items():
        got = resource.get(name)
        if (
            type(got) is not type(value) or got != value
        ):  # compare the type as well: in Python 1 == True and 1 == 1.0
            return _differs(name, value, got, f" of {resource['id']}")
    # not in the present API; the status of a reversal has a meaning: see `checked_reversal`
    if prefix == TRANSFER and status_of(resource) != SUCCEEDED:
        return _differs("status", SUCCEEDED, resource["status"], f" of {resource['id']}")
    return None


def _differs(name: str, expected: object, got: object, owner: str = "") -> str:
    return clean(
        f"Stripe's answer disagrees with the request: {name}{owner} should be {expected!r}, but "
        f"is {got!r}."
    )


def _is_id(value: object, prefix: str) -> bool:
    return (
        isinstance(value, str)
        and len(prefix) < len(value) <= _LONGEST_ID
        and value.startswith(prefix)
        and value.isascii()
        and value.isprintable()
    )


def transfer_at_stripe(
    resource: Mapping[str, object], reversals: tuple[ReversalAtStripe, ...] = ()
) -> TransferAtStripe:
    """Read a transfer, with its amounts as the ledger counts them. Raises LookUpFailed with the
    name of the wrong field."""
    currency = clean(field(resource, "currency", str)).upper()
    return TransferAtStripe(
        stripe_transfer_id=object_id(resource, "transfer", TRANSFER),
        amount=_minor_units(resource, "amount", currency),
        amount_reversed=_minor_units(resource, "amount_reversed", currency),
        currency=currency,
        destination=storable(field(resource, "destination", str)),
        transfer_id=our_metadata(resource, "transfer_id"),
        reversals=reversals,
        ledger_id=our_metadata(resource, "ledger_id"),
        source_transaction=text_of(resource.get("source_transaction")) or None,
    )


def reversal_at_stripe(
    resource: Mapping[str, object], stripe_transfer_id: str, currency: str
) -> ReversalAtStripe:
    """Read a reversal of that transfer, with its amount as the ledger counts it. Raises
    LookUpFailed with the name of the wrong field."""
    if field(resource, "transfer", str) != stripe_transfer_id:
        raise LookUpFailed(
            f"Stripe listed a reversal of {resource['transfer']!r} among those of "
            f"{stripe_transfer_id!r}."
        )
    source = resource.get("source_refund")
    return ReversalAtStripe(
        stripe_reversal_id=object_id(resource, "transfer_reversal", REVERSAL),
        amount=_minor_units(resource, "amount", currency),
        reversal_id=our_metadata(resource, "reversal_id"),
        source_refund=storable(source) if isinstance(source, str) else None,
        refund_id=our_metadata(resource, "refund_id"),
        status=status_of(resource),
        refusal=_refusal(resource),
    )


def _minor_units(resource: Mapping[str, object], name: str, currency: str) -> int:
    try:
        return from_stripe(currency, field(resource, name, int))
    except BadMoney as fraction:
        raise LookUpFailed(f"Stripe's answer has an unusable {name}: {fraction}") from None


def object_id(resource: Mapping[str, object], kind: str, prefix: str) -> str:
    """Return the id of an object of that kind. Raises LookUpFailed for another kind."""
    if field(resource, "object", str) != kind or not _is_id(resource.get("id"), prefix):
        raise LookUpFailed(
            clean(
                f"Stripe answered with {resource['object']!r} {resource.get('id')!r}, but a "
                f"{kind} was expected."
            )
        )
    return field(resource, "id", str)


def field(resource: Mapping[str, object], name: str, kind: type[T]) -> T:
    """Return the value of a required field. Raises LookUpFailed when the field is missing or has
    another type."""
    value = resource.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise LookUpFailed(
            clean(f"Stripe's answer has {name}={value!r}, but a {kind.__name__} was expected.")
        )
    return value


def text_of(value: object) -> str:
    """Return a text of Stripe's, cleaned; an empty one for anything else."""
    return clean(value) if isinstance(value, str) else ""


def our_metadata(resource: Mapping[str, object], name: str) -> str | None:
    """Return the metadata value that the ledger has set under this name, if any."""
    metadata = resource.get("metadata")
    value = text_or_none(metadata.get(name)) if isinstance(metadata, Mapping) else None
    return storable(value) if value is not None else None
