"""Rate-limited reads of the PSP's payments and refunds, and the ages at which the poller reads an
object."""

import asyncio
from datetime import datetime, timedelta

from application.gateways import PaymentGateway
from application.ports import RateLimiter
from domain.provider_call.outcome import Failure, LookUpFailed, ProviderSignal, signal_of

AGES = (timedelta(0), *(timedelta(minutes=20) * 2**doubled for doubled in range(12)))
"""Ages at which an object is read, counted from when its webhook should have arrived. The last one
is 28 days."""


class PspReader:
    """Reads at the PSP, one at a time per endpoint of the rate limiter."""

    def __init__(self, psp: PaymentGateway, rate_limiter: RateLimiter) -> None:
        self.psp, self._rate_limiter = psp, rate_limiter

    async def turn(self, endpoint: str) -> None:
        """Wait for the instant of one call."""
        (wait,) = await self._rate_limiter.reserve(endpoint, 1)
        await asyncio.sleep(wait)

    async def failed(self, endpoint: str, objects: str, failure: Failure) -> LookUpFailed:
        """Return the error to raise. An answer that we are too fast slows down all processes."""
        signal = signal_of(failure)
        if signal is ProviderSignal.TOO_FAST:
            await self._rate_limiter.slow_down(endpoint)
        return LookUpFailed(
            f"The PSP could not be asked for its {objects}: {failure.message}", signal
        )


def is_old_enough(changed_at: datetime | None, horizon: datetime) -> bool:
    """Return whether a change's webhook should have arrived. A younger object is read again at a
    later age."""
    return changed_at is None or changed_at < horizon
