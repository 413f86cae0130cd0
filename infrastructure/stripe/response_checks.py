"""Stripe's objects, read with suspicion: what came back is believed only after it has been compared.

Works on the parsed JSON, not on the SDK's objects, whose attributes raise when Stripe leaves a field out.
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


def checked(answer: object, prefix: str, expected: Mapping[str, object]) -> Succeeded | Unknown:
    """`Succeeded` when the object has an id with this prefix and every expected value, else `Unknown`.

    A disagreement is never a success and never a refusal: some money moved, but not what we asked for.
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
        if type(got) is not type(value) or got != value:  # by type too: in Python 1 == True and 1 == 1.0
            return _differs(name, value, got, f" of {shown['id']}")
    # Not in today's API; a preview answers a reversal that has yet to move money with status "pending".
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
    """Raises LookUpFailed, naming the field, when this is not a transfer."""
    return TransferAtStripe(
        stripe_transfer_id=object_id(shown, "transfer", TRANSFER),
        amount=field(shown, "amount", int),
        amount_reversed=field(shown, "amount_reversed", int),
        currency=clean(field(shown, "currency", str)).upper(),
        destination=clean(field(shown, "destination", str)),
        transfer_id=our_mark(shown, "transfer_id"),
        reversals=reversals,
    )


def reversal_at_stripe(shown: Mapping[str, object], stripe_transfer_id: str) -> ReversalAtStripe:
    """Raises LookUpFailed, naming the field, when this is not a reversal of that transfer."""
    if field(shown, "transfer", str) != stripe_transfer_id:
        raise LookUpFailed(f"Stripe listed a reversal of {shown['transfer']!r} among those of {stripe_transfer_id!r}.")
    source = shown.get("source_refund")
    return ReversalAtStripe(
        stripe_reversal_id=object_id(shown, "transfer_reversal", REVERSAL),
        amount=field(shown, "amount", int),
        reversal_id=our_mark(shown, "reversal_id"),
        source_refund=clean(source) if isinstance(source, str) else None,
        refund_id=our_mark(shown, "refund_id"),
    )


def object_id(shown: Mapping[str, object], kind: str, prefix: str) -> str:
    """The id of an object of that kind. Raises LookUpFailed."""
    if field(shown, "object", str) != kind or not _is_id(shown.get("id"), prefix):
        raise LookUpFailed(clean(f"Stripe showed {shown['object']!r} {shown.get('id')!r} where a {kind} was expected."))
    return field(shown, "id", str)


def field(shown: Mapping[str, object], name: str, kind: type[T]) -> T:
    """The value of a field that must be there. Raises LookUpFailed."""
    value = shown.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise LookUpFailed(clean(f"Stripe's answer has {name}={value!r} where a {kind.__name__} was expected."))
    return value


def our_mark(shown: Mapping[str, object], name: str) -> str | None:
    """What its metadata says under this name, if anything."""
    metadata = shown.get("metadata")
    value = metadata.get(name) if isinstance(metadata, Mapping) else None
    return clean(value) if isinstance(value, str) and value else None
