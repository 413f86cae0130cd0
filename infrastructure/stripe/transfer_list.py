"""One page of Stripe's list of transfers, as a reconciliation needs it: each with the reversals that came along."""

from collections.abc import Mapping
from datetime import UTC, datetime

from application.gateways import ListedTransfer, Page
from domain.provider_call.outcome import LookUpFailed
from infrastructure.redaction import clean
from infrastructure.stripe.reads import items_of
from infrastructure.stripe.response_checks import field, our_mark, reversal_at_stripe, transfer_at_stripe


def page_of(shown: Mapping[str, object], after: str | None, destination: str | None = None) -> Page:
    """Raises LookUpFailed for a page that cannot be read, or after which the list would not go on."""
    listed = [_listed(item) for item in items_of(shown)]
    more = field(shown, "has_more", bool)
    if more and (not listed or listed[-1].transfer.stripe_transfer_id == after):
        raise LookUpFailed("Stripe's list of transfers says it has more, but does not go on.")
    for one in listed:
        if destination not in (None, one.transfer.destination):
            raise LookUpFailed(f"Stripe listed a transfer to {one.transfer.destination!r} among those to {destination!r}.")
    return Page(listed, more)


def _listed(shown: Mapping[str, object]) -> ListedTransfer:
    transfer = transfer_at_stripe(shown)
    newest = shown.get("reversals")
    items = items_of(newest) if isinstance(newest, Mapping) else []
    reversals = tuple(reversal_at_stripe(item, transfer.stripe_transfer_id) for item in items)
    created_at = datetime.fromtimestamp(field(shown, "created", int), UTC)
    group = shown.get("transfer_group")
    named = clean(group) if isinstance(group, str) and group else None
    return ListedTransfer(transfer._replace(reversals=reversals), created_at, our_mark(shown, "order_id"), named)
