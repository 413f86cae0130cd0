"""Pages of Stripe's list of transfers for a reconciliation. Each transfer has the reversals in its
JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime

from application.gateways import ListedTransfer, Page, UnreadableTransfer
from domain.provider_call.outcome import LookUpFailed
from infrastructure.redaction import storable
from infrastructure.stripe.reads import items_of
from infrastructure.stripe.response_checks import (
    field,
    our_metadata,
    reversal_at_stripe,
    text_of,
    transfer_at_stripe,
)


def transfer_page(
    resource: Mapping[str, object], after: str | None, destination: str | None = None
) -> Page:
    """Read one page. Raises LookUpFailed for an unreadable page, or when the next page would repeat
    this one. Single unreadable transfers, such as one without a destination, are listed apart."""
    items = items_of(resource)
    listed: list[ListedTransfer] = []
    unreadable: list[UnreadableTransfer] = []
    for item in items:
        try:
            listed.append(_listed(item))
        except (LookUpFailed, ValueError, OverflowError) as odd:
            id_, ours = text_of(item.get("id")), our_metadata(item, "transfer_id")
            unreadable.append(UnreadableTransfer(id_, ours, str(odd)))
    more = field(resource, "has_more", bool)
    last = text_of(items[-1].get("id")) if items else ""
    if more and last in ("", after):
        raise LookUpFailed(
            "Stripe's list of transfers has more pages, but the next page would repeat this one; "
            "look again later."
        )
    for one in listed:
        if destination not in (None, one.transfer.destination):
            raise LookUpFailed(
                f"Stripe listed a transfer to {one.transfer.destination!r} among those to "
                f"{destination!r}."
            )
    return Page(listed, more, unreadable, last or None)


def _listed(resource: Mapping[str, object]) -> ListedTransfer:
    transfer = transfer_at_stripe(resource)
    newest = resource.get("reversals")
    items = items_of(newest) if isinstance(newest, Mapping) else []
    reversals = tuple(
        reversal_at_stripe(item, transfer.stripe_transfer_id, transfer.currency) for item in items
    )
    created_at = datetime.fromtimestamp(field(resource, "created", int), UTC)
    return ListedTransfer(
        transfer._replace(reversals=reversals),
        created_at,
        our_metadata(resource, "order_id"),
        _name(resource.get("transfer_group")),
        _name(resource.get("source_transaction")),
    )


def _name(value: object) -> str | None:
    return storable(value) if isinstance(value, str) and value else None
