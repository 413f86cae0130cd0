"""Handlers of Stripe's webhooks by event type. A snapshot event and its thin form mean the same."""

from collections.abc import Mapping

from application.webhooks.entitlement import THIN
from application.webhooks.handler import EventHandler, StoredEvent, WebhookResult
from application.webhooks.stripe.accounts import StripeAccounts
from application.webhooks.stripe.event_object import ObjectUnread
from application.webhooks.stripe.refunds_disputes import StripeRefundsDisputes
from application.webhooks.stripe.transfers import StripeTransfers


def stripe_handlers(
    payments: StripeRefundsDisputes, transfers: StripeTransfers, accounts: StripeAccounts
) -> Mapping[str, EventHandler]:
    """Return all handlers by event type."""
    known = {**payments.handlers(), **transfers.handlers(), **accounts.handlers()}
    handlers = {event_type: _reading(handler) for event_type, handler in known.items()}
    thin = {THIN + event_type: handler for event_type, handler in handlers.items()}
    v2 = {event_type: _reading(handler) for event_type, handler in accounts.v2_handlers().items()}
    return handlers | thin | v2


def _reading(handler: EventHandler) -> EventHandler:
    """Return a handler that answers with the result of an object that could not be read."""

    async def handle(event: StoredEvent) -> WebhookResult:
        try:
            return await handler(event)
        except ObjectUnread as unread:
            return unread.result

    return handle
