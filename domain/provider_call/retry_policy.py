"""Retry policy: how often and how long a call to a provider is tried."""

from dataclasses import dataclass
from datetime import timedelta

from domain.backoff import next_delay


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of one kind of operation."""

    max_retries: int = 5
    """Repeats after the first call; 5 means six calls."""
    base: timedelta = timedelta(minutes=1)
    maximum: timedelta = timedelta(hours=1)
    call_timeout: timedelta = timedelta(seconds=30)
    """A call older than this has ended at our side; a look-up that is to prove absence begins no earlier."""
    key_lifetime: timedelta = timedelta(hours=23)
    """Stripe may forget an idempotency key after 24 h; from here on Stripe's books are read before anything is sent."""
    funds_interval: timedelta = timedelta(hours=6)
    funds_deadline: timedelta = timedelta(days=45)
    clock_leeway: timedelta = timedelta(hours=1)
    """How much earlier than the first call a look-up begins: Stripe's clock is not ours."""
    hindered_base: timedelta = timedelta(seconds=1)
    """The first wait after a call that Stripe did not begin to execute."""

    def delay(self, retry_count: int) -> timedelta:
        """The wait after a failure, with the count before it is incremented."""
        return next_delay(self.base, self.maximum, retry_count)

    def hindered_delay(self, hindered: int) -> timedelta:
        """The wait after the n-th call in a row that was not executed."""
        return next_delay(min(self.hindered_base, self.base), self.maximum, hindered)
