"""What Stripe's webhooks mean for the ledger, by event type; snapshot and thin events mean the same."""

from collections.abc import Mapping

from application.stripe_accounts import StripeAccounts
from application.stripe_events import THIN
from application.stripe_objects import Unread
from application.stripe_payments import StripePayments
from application.stripe_transfers import StripeTransfers
from application.webhooks import Disposition, Reaction, StoredEvent


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
