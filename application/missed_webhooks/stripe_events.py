"""Stripe's events that no webhook has brought: its list is read page by page, and goes into the inbox as it is.

All events are asked for, not only those that Stripe could not deliver (`delivery_success`): what an endpoint took and then
lost, what a restored backup has never heard of, and what the endpoint was not subscribed to, Stripe counts as delivered.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from application.missed_webhooks.ports import EventsPage, Span, StripeEvents, Told
from application.ports import CircuitBreaker, RateLimiter
from domain.provider_call.outcome import LookUpFailed, ProviderSignal

ENDPOINT = "events.list"
MOST_PAGES = 10_000
"""Of one span: far more than Stripe lets anybody cause in an hour; only a list that goes round in circles has so many."""


class MissedEvents:
    """The provider `stripe`. See `application.missed_webhooks.ports.Provider`."""

    name = "stripe"
    longest = timedelta(hours=1)

    def __init__(self, stripe: StripeEvents, breaker: CircuitBreaker, rate_limiter: RateLimiter) -> None:
        self._stripe, self._breaker, self._rate_limiter = stripe, breaker, rate_limiter

    async def told(self, span: Span) -> AsyncIterator[Sequence[Told]]:
        """Newest first. Raises LookUpFailed, without asking while the breaker is open."""
        if (await self._breaker.state()).outage:
            raise LookUpFailed("Stripe answers nobody at present.", ProviderSignal.NOTHING)
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
