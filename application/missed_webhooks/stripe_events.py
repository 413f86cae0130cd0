"""Stripe as a provider for the poller: its list of events is read page by page and stored in the
inbox unchanged.

All events are read, not only those that Stripe could not deliver (`delivery_success`). Stripe also
counts as delivered: an event that an endpoint accepted and then lost, one that a restored backup
lacks, and one of a type that the endpoint is not subscribed to.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from application.missed_webhooks.ports import EventsPage, PolledEvent, Span, StripeEvents
from application.ports import CircuitBreaker, RateLimiter
from domain.provider_call.outcome import LookUpFailed, ProviderSignal

ENDPOINT = "events.list"
MOST_PAGES = 10_000
"""Upper limit per span, far above the events that Stripe allows in an hour. Only a list without an
end has more pages."""


class MissedStripeEvents:
    """The provider `stripe`. See `application.missed_webhooks.ports.Provider`."""

    name = "stripe"
    longest = timedelta(hours=1)

    def __init__(
        self, stripe: StripeEvents, breaker: CircuitBreaker, rate_limiter: RateLimiter
    ) -> None:
        self._stripe, self._breaker, self._rate_limiter = stripe, breaker, rate_limiter

    async def events(self, span: Span) -> AsyncIterator[Sequence[PolledEvent]]:
        """Yield the events, newest first. Raises LookUpFailed; while the circuit breaker is open,
        without asking Stripe."""
        if (await self._breaker.state()).outage:
            raise LookUpFailed(
                "The circuit breaker is open, so Stripe is not asked; polling goes on when it "
                "closes.",
                ProviderSignal.NOTHING,
            )
        after = None
        for _ in range(MOST_PAGES):
            page = await self._page(span, after)
            yield page.events
            if not page.more:
                return
            after = page.events[-1].event_id
        raise LookUpFailed(f"Stripe's list of events did not end after {MOST_PAGES} pages.")

    async def _page(self, span: Span, after: str | None) -> EventsPage:
        (wait,) = await self._rate_limiter.reserve(ENDPOINT, 1)
        await asyncio.sleep(wait)
        try:
            return await self._stripe.events(span.since, span.until, after)
        except LookUpFailed as unread:
            if unread.signal is ProviderSignal.TOO_FAST:
                await self._rate_limiter.slow_down(ENDPOINT)
            raise
