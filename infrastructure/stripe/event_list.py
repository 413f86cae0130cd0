"""One page of Stripe's list of events, each as the body that its webhook has."""

from collections.abc import Mapping

import orjson

from application.missed_webhooks.ports import EventsPage, PolledEvent
from domain.provider_call.outcome import LookUpFailed
from infrastructure.stripe.reads import items_of
from infrastructure.stripe.response_checks import field, object_id

EVENT = "evt_"
LONGEST_TYPE = 128
TYPES = (
    "transfer.created", "transfer.updated", "transfer.reversed",
    "charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed",
    "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated",
    "refund.created", "refund.updated", "refund.failed", "charge.refunded", "charge.refund.updated",
    "balance.available",
)  # fmt: skip
"""What happens on the platform's own account and concerns a ledger. Stripe takes up to 20 names, no wildcards. What happens on
connected accounts (`account.updated`, `capability.updated`, `payout.*`) is in each account's list, not in the platform's."""


def page_of(shown: Mapping[str, object], after: str | None) -> EventsPage:
    """Raises LookUpFailed for a page that cannot be read, or after which the list would not go on."""
    events = [_told(item) for item in items_of(shown)]
    more = field(shown, "has_more", bool)
    if more and (not events or events[-1].event_id == after):
        raise LookUpFailed("Stripe's list of events says it has more, but does not go on.")
    return EventsPage(events, more)


def _told(shown: Mapping[str, object]) -> PolledEvent:
    event_type = field(shown, "type", str)
    if not (0 < len(event_type) <= LONGEST_TYPE and event_type.isprintable()):
        raise LookUpFailed(f"Stripe shows an event of the type {event_type[:LONGEST_TYPE]!r}.")
    return PolledEvent(object_id(shown, "event", EVENT), event_type, orjson.dumps(shown))
