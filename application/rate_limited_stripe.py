"""Stripe's transfers, read at the rate that all processes share."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from application.gateways import Page, StripeBooks
from application.ports import RateLimiter
from domain.provider_call.outcome import LookUpFailed, ProviderSignal
from domain.provider_call.stripe_objects import TransferAtStripe

LIST, RETRIEVE = "transfers.list", "transfers.retrieve"
"""Stripe's endpoints, as the rate limiter names them."""

Answer = TypeVar("Answer")


class RateLimitedStripe:
    """A `StripeBooks` that waits for its turn before each request, and slows all processes down
    after a 429."""

    def __init__(self, stripe: StripeBooks, rate_limiter: RateLimiter) -> None:
        self._stripe, self._rate_limiter = stripe, rate_limiter

    async def page(
        self, since: datetime, until: datetime, after: str | None, destination: str | None = None
    ) -> Page:
        """Read a page of the list of transfers. Raises LookUpFailed."""
        return await self._in_turn(
            LIST, lambda: self._stripe.page(since, until, after, destination)
        )

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """Read a transfer with all its reversals. Raises NotAtStripe and LookUpFailed."""
        return await self._in_turn(RETRIEVE, lambda: self._stripe.get_transfer(stripe_transfer_id))

    async def _in_turn(self, endpoint: str, read: Callable[[], Awaitable[Answer]]) -> Answer:
        (wait,) = await self._rate_limiter.reserve(endpoint, 1)
        await asyncio.sleep(wait)
        try:
            return await read()
        except LookUpFailed as failed:
            if failed.signal is ProviderSignal.TOO_FAST:
                await self._rate_limiter.slow_down(endpoint)
            raise
