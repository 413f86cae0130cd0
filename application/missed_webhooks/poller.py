"""The loop that asks providers what their webhooks should have told, and puts into the inbox what never arrived.

It has no opinion on what an event means: whatever it finds goes the way of every webhook. What is looked at twice is stored
once, by the inbox's own names, so the cursor may be behind but never ahead of what is stored, and two pollers are one too many
but no harm. It listens to nobody for the breaker: it sends nothing, and one list that fails says little of Stripe.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from application.loop import Loop
from application.missed_webhooks.ports import Poll, PolledInbox, Polls, Provider, Span, Told
from application.ports import Alarms, Clock
from domain.provider_call.outcome import LookUpFailed, ProviderSignal

OVERLAP = timedelta(minutes=10)
"""Read again before the cursor: a list may show an event later than the event says it was made."""
UNCHECKED = timedelta(hours=1)
"""After so long without a round that came to its end, a person should know."""
SHORTEST_SLEEP = 1.0
MISSED, NOT_CHECKED = "webhooks_missed", "webhooks_unchecked"
"""Kinds of alarm; their subject is the provider."""

log = structlog.get_logger()


class Times(NamedTuple):
    """When to ask, and how long a webhook may be under way before it counts as missed."""

    interval: timedelta = timedelta(minutes=5)
    grace: timedelta = timedelta(minutes=10)


@dataclass(slots=True)
class Round:
    """What one round found. `failure` says why it did not come to its end."""

    provider: str
    seen_until: datetime
    missed: int = 0
    """Events that no webhook had brought in time."""
    replayed: int = 0
    """Those of them that are stored now because of us; others came by themselves meanwhile."""
    failure: str | None = None
    types: Counter[str] = field(default_factory=Counter)

    @property
    def sentence(self) -> str:
        return f"missed {self.missed}, replayed {self.replayed}"


class Poller(Loop):
    """One loop over all providers: `run` until `stop`. Of several processes, one asks each provider at a time."""

    def __init__(
        self, polls: Polls, inbox: PolledInbox, alarms: Alarms, clock: Clock, providers: Sequence[Provider], times: Times
    ) -> None:
        super().__init__()
        self._polls, self._inbox, self._alarms, self._clock = polls, inbox, alarms, clock
        self.providers, self._times = providers, times

    async def turn(self) -> float:
        """Ask each provider whose turn it is; return the seconds until the next round is due."""
        for provider in self.providers:
            try:
                await self.check(provider)
            except Exception as error:  # whatever it was: the others are asked, and this one again
                log.warning("a provider was not asked what is missing", provider=provider.name, error=str(error))
        return await self._until_due()

    async def check(self, provider: Provider, *, anyway: bool = False) -> Round | None:
        """One round; None when it is somebody else's turn, or nobody's yet, unless it is to be made `anyway`."""
        poll = await self._polls.take(provider.name, self._times.interval, anyway=anyway)
        if poll is None:
            return None
        self._clock.observe(poll.now)
        found = Round(provider.name, poll.seen_until)
        try:
            await self._through(provider, poll, found)
        except LookUpFailed as unread:
            found.failure = str(unread)
            await self._unread(poll, found, unread.signal)
        except Exception as error:  # a fault of ours, or the database's: also known to nobody unless it is told
            log.exception("a round of asking for missed webhooks failed", provider=provider.name)
            found.failure = f"{type(error).__name__}: {error}"
            await self._unread(poll, found, ProviderSignal.NOTHING)
        log.info(found.sentence, provider=provider.name, until=found.seen_until.isoformat(), failure=found.failure)
        return found

    async def _through(self, provider: Provider, poll: Poll, found: Round) -> None:
        for span in self._spans(poll, provider.longest):
            async for page in provider.told(span):
                if self._stopping.is_set():
                    found.failure = "this process is shutting down"
                    return
                await self._replay(page, found)
            await self._polls.advance(provider.name, span.until, self._times.interval)
            found.seen_until = span.until
        await self._polls.checked(provider.name)
        await self._tell(found)

    def _spans(self, poll: Poll, longest: timedelta) -> Iterator[Span]:
        """From the cursor to what is old enough to have arrived, in parts, so that a long way is gone only once."""
        start, end = poll.seen_until, self._clock.now() - self._times.grace
        while start < end:
            until = min(start + longest, end)
            yield Span(max(start - OVERLAP, poll.begun_at), until, poll.begun_at, asked_until=start, horizon=end)
            start = until

    async def _replay(self, page: Sequence[Told], found: Round) -> None:
        unknown = await self._inbox.unknown(found.provider, [event.event_id for event in page]) if page else ()
        missing = [event for event in page if event.event_id in unknown]
        if not missing:
            return
        found.missed += len(missing)
        found.types.update(event.event_type for event in missing)
        await self._raise(found)  # before anything is stored: then it is known, and would not be found again
        now = self._clock.now()
        puts = (self._inbox.put(found.provider, *event, now, "poller") for event in missing)
        found.replayed += sum(await asyncio.gather(*puts))  # together: they share commits

    async def _tell(self, found: Round) -> None:
        await self._alarms.clear(NOT_CHECKED, found.provider)
        if found.missed:
            await self._raise(found)
        else:
            await self._alarms.clear(MISSED, found.provider)

    async def _raise(self, found: Round) -> None:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.types.items()))
        await self._alarms.raise_(MISSED, found.provider, f"{found.sentence}: {kinds}. Does the endpoint take them in?")

    async def _unread(self, poll: Poll, found: Round, signal: ProviderSignal) -> None:
        silent = poll.now - (poll.checked_at or poll.begun_at)
        if signal is ProviderSignal.KEY_REFUSED or silent >= UNCHECKED:
            said = f"What its webhooks have missed is not known since {poll.seen_until:%Y-%m-%dT%H:%MZ}: {found.failure}"
            await self._alarms.raise_(NOT_CHECKED, found.provider, said)

    async def _until_due(self) -> float:
        longest = self._times.interval.total_seconds()
        until = await self._polls.until_due([provider.name for provider in self.providers]) if self.providers else longest
        return min(max(until, SHORTEST_SLEEP), max(longest, SHORTEST_SLEEP))
