"""Checks of Stripe's objects before the ledger uses them.

The checks read the parsed JSON, not the SDK's objects: their attributes raise when Stripe leaves a field out.
"""

from collections.abc import Mapping
from typing import TypeVar

from domain.provider_call.outcome import LookUpFailed, Succeeded, Unknown
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from infrastructure.redaction import clean
from infrastructure.stripe.outcomes import is_replay, request_id

TRANSFER, REVERSAL = "tr_", "trr_"
_LONGEST_ID = 255

T = TypeVar("T", str, int, bool)


def checked_success(answer: object, prefix: str, expected: Mapping[str, object]) -> Succeeded | Unknown:
    """Return `Succeeded` when the object has an id with this prefix and every expected value, else `Unknown`.

    A disagreement is neither a success nor a rejection: money moved, but not as requested.
    """
    response = getattr(answer, "last_response", None)
    shown = getattr(response, "data", None)
    if response is None or not isinstance(shown, Mapping):
        return Unknown("unreadable", "Stripe's answer is JSON, but not an object.", 200)
    wrong = _disagreement(shown, prefix, expected)
    if wrong is not None:
        return Unknown("disagrees", wrong, response.code, request_id(response.headers))
    return Succeeded(str(shown["id"]), int(shown["amount"]), request_id(response.headers), is_replay(response.headers))


def _disagreement(shown: Mapping[str, object], prefix: str, expected: Mapping[str, object]) -> str | None:
    if not _is_id(shown.get("id"), prefix):
        return _differs("id", f"{prefix}…", shown.get("id"))
    for name, value in expected.items():
        got = shown.get(name)
        if type(got) is not type(value) or got != value:  # compare the type as well: in Python 1 == True and 1 == 1.0
            return _differs(name, value, got, f" of {shown['id']}")
    # Not in the present API; in a preview, a reversal that has not yet moved money has the status "pending".
    if shown.get("status", "succeeded") != "succeeded":
        return _differs("status", "succeeded", shown["status"], f" of {shown['id']}")
    return None


def _differs(name: str, expected: object, got: object, owner: str = "") -> str:
    return clean(f"Stripe's answer disagrees with the request: {name}{owner} should be {expected!r}, but is {got!r}.")


def _is_id(value: object, prefix: str) -> bool:
    return (
        isinstance(value, str)
        and len(prefix) < len(value) <= _LONGEST_ID
        and value.startswith(prefix)
        and value.isascii()
        and value.isprintable()
    )


def transfer_at_stripe(shown: Mapping[str, object], reversals: tuple[ReversalAtStripe, ...] = ()) -> TransferAtStripe:
    """Read a transfer. Raises LookUpFailed with the name of the wrong field."""
    return TransferAtStripe(
        stripe_transfer_id=object_id(shown, "transfer", TRANSFER),
        amount=field(shown, "amount", int),
        amount_reversed=field(shown, "amount_reversed", int),
        currency=clean(field(shown, "currency", str)).upper(),
        destination=clean(field(shown, "destination", str)),
        transfer_id=our_metadata(shown, "transfer_id"),
        reversals=reversals,
    )


def reversal_at_stripe(shown: Mapping[str, object], stripe_transfer_id: str) -> ReversalAtStripe:
    """Read a reversal of that transfer. Raises LookUpFailed with the name of the wrong field."""
    if field(shown, "transfer", str) != stripe_transfer_id:
        raise LookUpFailed(f"Stripe listed a reversal of {shown['transfer']!r} among those of {stripe_transfer_id!r}.")
    source = shown.get("source_refund")
    return ReversalAtStripe(
        stripe_reversal_id=object_id(shown, "transfer_reversal", REVERSAL),
        amount=field(shown, "amount", int),
        reversal_id=our_metadata(shown, "reversal_id"),
        source_refund=clean(source) if isinstance(source, str) else None,
        refund_id=our_metadata(shown, "refund_id"),
    )


def object_id(shown: Mapping[str, object], kind: str, prefix: str) -> str:
    """Return the id of an object of that kind. Raises LookUpFailed for another kind."""
    if field(shown, "object", str) != kind or not _is_id(shown.get("id"), prefix):
        raise LookUpFailed(clean(f"Stripe answered with {shown['object']!r} {shown.get('id')!r}, but a {kind} was expected."))
    return field(shown, "id", str)


def field(shown: Mapping[str, object], name: str, kind: type[T]) -> T:
    """Return the value of a required field. Raises LookUpFailed when the field is missing or has another type."""
    value = shown.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise LookUpFailed(clean(f"Stripe's answer has {name}={value!r}, but a {kind.__name__} was expected."))
    return value


def our_metadata(shown: Mapping[str, object], name: str) -> str | None:
    """Return the metadata value that the ledger has set under this name, if any."""
    metadata = shown.get("metadata")
    value = metadata.get(name) if isinstance(metadata, Mapping) else None
    return clean(value) if isinstance(value, str) and value else None
