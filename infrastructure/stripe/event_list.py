"""Pages of Stripe's list of events. Each event has the body of its webhook."""

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
"""Events of the platform's own account that concern a ledger. Stripe takes up to 20 names, no
wildcards. Events of connected accounts (`account.updated`, `capability.updated`, `payout.*`) are in
each account's list, not in the platform's."""


def event_page(resource: Mapping[str, object], after: str | None) -> EventsPage:
    """Read one page. Raises LookUpFailed for an unreadable page, or when the next page would repeat
    this one."""
    events = [_event(item) for item in items_of(resource)]
    more = field(resource, "has_more", bool)
    if more and (not events or events[-1].event_id == after):
        raise LookUpFailed(
            "Stripe's list of events has more pages, but the next page would repeat this one; "
            "look again later."
        )
    return EventsPage(events, more)


def _event(resource: Mapping[str, object]) -> PolledEvent:
    event_type = field(resource, "type", str)
    if not (0 < len(event_type) <= LONGEST_TYPE and event_type.isprintable()):
        raise LookUpFailed(
            f"Stripe's list has an event of the unusable type {event_type[:LONGEST_TYPE]!r}."
        )
    return PolledEvent(object_id(resource, "event", EVENT), event_type, orjson.dumps(resource))
