"""Retry policy of calls to a provider."""

from dataclasses import dataclass
from datetime import timedelta

from domain.backoff import next_delay

LATEST_CALL = timedelta(seconds=15)
"""With an older intent no call begins. So a look-up knows how long the call of a process that
vanished may be under way."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one kind of operation."""

    max_retries: int = 5
    """Repeats after the first call; 5 means six calls."""
    base: timedelta = timedelta(minutes=1)
    maximum: timedelta = timedelta(hours=1)
    call_timeout: timedelta = timedelta(seconds=30)
    """A call that began earlier has ended on our side; a look-up that has to prove absence waits
    for that."""
    key_lifetime: timedelta = timedelta(hours=23)
    """Stripe may forget an idempotency key after 24 h; an older key is not used before a look-up at
    Stripe."""
    look_up_lifetime: timedelta = timedelta(hours=1)
    """A look-up that found nothing and is older proves nothing. Stripe remembers a key for this
    much longer than `key_lifetime`, so it still recognises a call that arrived since."""
    funds_interval: timedelta = timedelta(hours=6)
    funds_deadline: timedelta = timedelta(days=45)
    clock_leeway: timedelta = timedelta(hours=1)
    """A look-up begins this much earlier than the first call, since Stripe's clock may differ."""
    undecided_after: timedelta = timedelta(hours=24)
    """A refund that the PSP has not decided for this long raises an alarm."""
    hindered_base: timedelta = timedelta(seconds=1)
    """The first wait after a call that the provider did not begin to execute."""

    def delay(self, retry_count: int) -> timedelta:
        """Return the wait after a failure; `retry_count` does not include that failure."""
        return next_delay(self.base, self.maximum, retry_count)

    def hindered_delay(self, hindered: int) -> timedelta:
        """Return the wait after the n-th call in a row that was not executed."""
        return next_delay(min(self.hindered_base, self.base), self.maximum, hindered)
