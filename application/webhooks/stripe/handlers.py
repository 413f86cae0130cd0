"""What Stripe's webhooks mean for the ledger, by event type; snapshot and thin events mean the same."""

from collections.abc import Mapping

from application.webhooks.handler import Disposition, Reaction, StoredEvent
from application.webhooks.stripe.accounts import StripeAccounts
from application.webhooks.stripe.events import THIN
from application.webhooks.stripe.objects import Unread
from application.webhooks.stripe.refunds_disputes import StripePayments
from application.webhooks.stripe.transfers import StripeTransfers


def stripe_reactions(payments: StripePayments, transfers: StripeTransfers, accounts: StripeAccounts) -> Mapping[str, Reaction]:
    """The reactions by event type."""
    known = {**payments.by_type(), **transfers.by_type(), **accounts.by_type()}
    reactions = {event_type: _reading(reaction) for event_type, reaction in known.items()}
    return reactions | {THIN + event_type: reaction for event_type, reaction in reactions.items()}


def _reading(reaction: Reaction) -> Reaction:
    async def react(event: StoredEvent) -> Disposition:
        try:
            return await reaction(event)
        except Unread as unread:
            return unread.so

    return react
