"""Poller: reads events at the providers and puts the ones without a webhook into the inbox.

The poller does not interpret events: each is handled like every webhook. The inbox stores an event
id once, so the cursor may be behind the stored events but never ahead of them, and two pollers at
once do no harm. The poller's failures do not open the circuit breaker: the poller moves no money,
and one list that fails says little about Stripe.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from application.loop import Loop
from application.missed_webhooks.ports import (
    Poll,
    PolledEvent,
    PolledInbox,
    PollProgress,
    Provider,
    Span,
)
from application.ports import Alarms, Clock
from domain.provider_call.outcome import NO_PERMISSION, LookUpFailed, ProviderSignal

OVERLAP = timedelta(minutes=10)
"""Read again before the cursor, because a list may show an event later than its creation time."""
UNCHECKED = timedelta(hours=1)
"""Time without a complete round after which an alarm is raised."""
SHORTEST_SLEEP = 1.0
MISSED, NOT_CHECKED = "webhooks_missed", "webhooks_unchecked"
"""Kinds of alarm; their subject is the provider."""

log = structlog.get_logger()


class Times(NamedTuple):
    """Interval of rounds, and the time that a webhook may be under way before it counts as
    missed."""

    interval: timedelta = timedelta(minutes=5)
    grace: timedelta = timedelta(minutes=10)


@dataclass(slots=True)
class Round:
    """Result of one round. `failure`: the reason why it is incomplete."""

    provider: str
    seen_until: datetime
    missed: int = 0
    """Events without a webhook in time."""
    replayed: int = 0
    """Missed events that this round stored; the webhooks of the others arrived meanwhile."""
    failure: str | None = None
    types: Counter[str] = field(default_factory=Counter)

    @property
    def sentence(self) -> str:
        return f"missed {self.missed}, replayed {self.replayed}"


class Poller(Loop):
    """Loop over all providers: `run` until `stop`. Of several processes, one at a time asks each
    provider."""

    longest_turn = 3600.0  # lists of many pages, each with a time-out of its own

    def __init__(
        self,
        progress: PollProgress,
        inbox: PolledInbox,
        alarms: Alarms,
        clock: Clock,
        providers: Sequence[Provider],
        times: Times,
    ) -> None:
        super().__init__()
        self._progress, self._inbox, self._alarms, self._clock = progress, inbox, alarms, clock
        self.providers, self._times = providers, times

    async def turn(self) -> float:
        """Poll each provider that is due; return the seconds until the next round is due."""
        for provider in self.providers:
            try:
                await self.check(provider)
            except (
                Exception
            ) as error:  # the other providers are asked, and this one again in the next round
                log.warning(
                    "a provider could not be polled", provider=provider.name, error=str(error)
                )
        return await self._until_due()

    async def check(self, provider: Provider, *, anyway: bool = False) -> Round | None:
        """Make one round; return None when another process has the turn, or no turn is due, unless
        it is to be made `anyway`."""
        asked = self._clock.now()
        poll = await self._progress.take(provider.name, self._times.interval, anyway=anyway)
        if poll is None:
            return None
        self._clock.observe(asked, poll.now)
        found = Round(provider.name, poll.seen_until)
        try:
            await self._through(provider, poll, found)
        except LookUpFailed as unread:
            found.failure = str(unread)
            await self._unread(poll, found, unread.signal)
        except Exception as error:  # a bug, or the database: it also needs an alarm
            log.exception("a round of asking for missed webhooks failed", provider=provider.name)
            found.failure = f"{type(error).__name__}: {error}"
            await self._unread(poll, found, ProviderSignal.NOTHING)
        log.info(
            found.sentence,
            provider=provider.name,
            until=found.seen_until.isoformat(),
            failure=found.failure,
        )
        return found

    async def _through(self, provider: Provider, poll: Poll, found: Round) -> None:
        for span in self._spans(poll, provider.longest):
            async for page in provider.events(span):
                if self._stopping.is_set():
                    found.failure = "this process is shutting down"
                    return
                await self._replay(page, found)
            await self._progress.advance(provider.name, span.until, self._times.interval)
            found.seen_until = span.until
        await self._progress.checked(provider.name)
        await self._report(found)

    def _spans(self, poll: Poll, longest: timedelta) -> Iterator[Span]:
        """Yield spans from the cursor to the youngest events that should have arrived; each
        advances the cursor on its own."""
        start, end = poll.seen_until, self._clock.now() - self._times.grace
        while start < end:
            until = min(start + longest, end)
            yield Span(
                max(start - OVERLAP, poll.begun_at),
                until,
                poll.begun_at,
                asked_until=start,
                horizon=end,
            )
            start = until

    async def _replay(self, page: Sequence[PolledEvent], found: Round) -> None:
        unknown = (
            await self._inbox.unknown(found.provider, [event.event_id for event in page])
            if page
            else ()
        )
        missing = [event for event in page if event.event_id in unknown]
        if not missing:
            return
        found.missed += len(missing)
        found.types.update(event.event_type for event in missing)
        await self._raise(
            found
        )  # before the events are stored: a stored event would not be found again
        now = self._clock.now()
        puts = (self._inbox.put(found.provider, *event, now, "poller") for event in missing)
        found.replayed += sum(await asyncio.gather(*puts))  # together: they share commits

    async def _report(self, found: Round) -> None:
        await self._alarms.clear(NOT_CHECKED, found.provider)
        if found.missed:
            await self._raise(found)
        else:
            await self._alarms.clear(MISSED, found.provider)

    async def _raise(self, found: Round) -> None:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.types.items()))
        await self._alarms.raise_alarm(
            MISSED,
            found.provider,
            f"{found.sentence}: {kinds}. Check that the webhook endpoint receives these types.",
        )

    async def _unread(self, poll: Poll, found: Round, signal: ProviderSignal) -> None:
        silent = poll.now - (poll.checked_at or poll.begun_at)
        if signal in NO_PERMISSION or silent >= UNCHECKED:
            said = (
                f"Missed webhooks are unknown since {poll.seen_until:%Y-%m-%dT%H:%MZ}: "
                f"{found.failure}"
            )
            await self._alarms.raise_alarm(NOT_CHECKED, found.provider, said)

    async def _until_due(self) -> float:
        longest = self._times.interval.total_seconds()
        until = (
            await self._progress.until_due([provider.name for provider in self.providers])
            if self.providers
            else longest
        )
        return min(max(until, SHORTEST_SLEEP), max(longest, SHORTEST_SLEEP))
