"""Asking the PSP for what its webhooks should have told: at which ages, at which pace, and what no answer means."""

import asyncio
from datetime import datetime, timedelta

from application.ports import RateLimiter
from domain.provider_call.outcome import Failure, LookUpFailed, ProviderSignal, signal_of

AGES = (timedelta(0), *(timedelta(minutes=20) * 2**doubled for doubled in range(12)))
"""At which an object is looked at, from when it is old enough for its webhook to have arrived; the last look is after 28 days."""


class Asking:
    """The PSP's endpoints, by their names in the pace."""

    def __init__(self, rate_limiter: RateLimiter) -> None:
        self._rate_limiter = rate_limiter

    async def turn(self, endpoint: str) -> None:
        """Wait for the instant of one call."""
        (wait,) = await self._rate_limiter.reserve(endpoint, 1)
        await asyncio.sleep(wait)

    async def failed(self, endpoint: str, what: str, failure: Failure) -> LookUpFailed:
        """What to raise; calls that are too fast slow everybody down."""
        said = signal_of(failure)
        if said is ProviderSignal.TOO_FAST:
            await self._rate_limiter.slow_down(endpoint)
        return LookUpFailed(f"The PSP could not be asked for its {what}: {failure.message}", said)


def is_old_enough(changed_at: datetime | None, horizon: datetime) -> bool:
    """Later than that, its webhook may be under way; it is looked at again when it is older."""
    return changed_at is None or changed_at < horizon
