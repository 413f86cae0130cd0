"""Checks of Stripe's objects before the ledger uses them.

The checks read the parsed JSON, not the SDK's objects: their attributes raise when Stripe leaves a
field out.
"""

from collections.abc import Mapping
from typing import TypeVar

from domain.provider_call.outcome import LookUpFailed, Succeeded, Unknown
from domain.provider_call.stripe_objects import (
    CompensationNames,
    ReversalAtStripe,
    TransferAtStripe,
)
from infrastructure.redaction import clean, storable
from infrastructure.stripe.outcomes import is_replay, request_id

TRANSFER, REVERSAL = "tr_", "trr_"
_LONGEST_ID = 255

T = TypeVar("T", str, int, bool)


def checked_success(
    answer: object, prefix: str, expected: Mapping[str, object]
) -> Succeeded | Unknown:
    """Return `Succeeded` when the object has an id with this prefix and every expected value, else
    `Unknown`.

    A disagreement is neither a success nor a rejection: money moved, but not as requested.
    """
    response = getattr(answer, "last_response", None)
    resource = getattr(response, "data", None)
    if response is None or not isinstance(resource, Mapping):
        return Unknown("unreadable", "Stripe's answer is JSON, but not an object.", 200)
    wrong = _disagreement(resource, prefix, expected)
    if wrong is not None:
        return Unknown("disagrees", wrong, response.code, request_id(response.headers))
    return Succeeded(
        str(resource["id"]),
        int(resource["amount"]),
        request_id(response.headers),
        is_replay(response.headers),
    )


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
    # Not in the present API; in a preview, a reversal that has not yet moved money has the status
    # "pending".
    if resource.get("status", "succeeded") != "succeeded":
        return _differs("status", "succeeded", resource["status"], f" of {resource['id']}")
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
    """Read a transfer. Raises LookUpFailed with the name of the wrong field."""
    return TransferAtStripe(
        stripe_transfer_id=object_id(resource, "transfer", TRANSFER),
        amount=field(resource, "amount", int),
        amount_reversed=field(resource, "amount_reversed", int),
        currency=storable(field(resource, "currency", str)).upper(),
        destination=storable(field(resource, "destination", str)),
        transfer_id=our_metadata(resource, "transfer_id"),
        reversals=reversals,
        gives_back=_compensation(resource),
    )


def _compensation(resource: Mapping[str, object]) -> CompensationNames | None:
    names = [
        our_metadata(resource, name)
        for name in ("order_id", "seller_id", "compensates", "refund_id")
    ]
    order_id, seller_id, compensates, cause_id = names
    if order_id is None or seller_id is None or compensates is None or cause_id is None:
        return None
    return CompensationNames(order_id, seller_id, compensates, cause_id)


def reversal_at_stripe(resource: Mapping[str, object], stripe_transfer_id: str) -> ReversalAtStripe:
    """Read a reversal of that transfer. Raises LookUpFailed with the name of the wrong field."""
    if field(resource, "transfer", str) != stripe_transfer_id:
        raise LookUpFailed(
            f"Stripe listed a reversal of {resource['transfer']!r} among those of "
            f"{stripe_transfer_id!r}."
        )
    source = resource.get("source_refund")
    return ReversalAtStripe(
        stripe_reversal_id=object_id(resource, "transfer_reversal", REVERSAL),
        amount=field(resource, "amount", int),
        reversal_id=our_metadata(resource, "reversal_id"),
        source_refund=storable(source) if isinstance(source, str) else None,
        refund_id=our_metadata(resource, "refund_id"),
    )


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


def our_metadata(resource: Mapping[str, object], name: str) -> str | None:
    """Return the metadata value that the ledger has set under this name, if any."""
    metadata = resource.get("metadata")
    value = metadata.get(name) if isinstance(metadata, Mapping) else None
    return storable(value) if isinstance(value, str) and value else None
