"""What Stripe's answers say together that none says alone, and what the whole fleet does about it.

Silence: so many different transfers in a row without one answer below 500 mean an outage. One breaker opens for the fleet,
nothing is claimed, a probe closes it, and the attempts that opened it are given back. One transfer that keeps failing exhausts
its own attempts. A refused key, or transfers that Stripe does not know, in a row: it is the wrong key or account, so sending
stops, as a pause with an alarm, until a person resumes it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from application.ports import Alarms, CircuitBreaker, FleetState, TransferGateway
from domain.pause import EVERYTHING, LEDGER
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.steps import LookUp, Send

SILENT = 8
"""Different transfers in a row without an answer below 500: an outage."""
REFUSED_KEY = 3
"""Different transfers in a row with 401 or 403: the key is wrong."""
NOT_FOUND = 5
"""Different transfers in a row that Stripe does not know: the account or the mode is wrong."""
LONGEST_SLEEP = 5.0
"""Seconds after which the state is read again, should a notification have been lost."""
SPACING = 0.1
"""Seconds between two readings at least: leases that are given back wake us as well, many times a second."""
OUTAGE = ("stripe_outage", "stripe")
"""Kind and subject of the alarm."""

log = structlog.get_logger()

Forgive = Callable[[UUID, str, int], Awaitable[None]]
Stop = Callable[[str, str, str], Awaitable[object]]


class FailureStreak:
    """Different transfers in a row of which the same was heard."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.spent: dict[UUID, tuple[str, int] | None] = {}
        """With the operation and attempt that it cost, if any."""

    def add(self, transfer_id: UUID, spent: tuple[str, int] | None) -> bool:
        """Whether it has become too long."""
        self.spent[transfer_id] = spent
        return len(self.spent) >= self._limit

    def end(self) -> dict[UUID, tuple[str, int] | None]:
        """Something else was heard; answers what it was made of."""
        ended, self.spent = self.spent, {}
        return ended


class BreakerMonitor:
    """One per process: keeps the fleet's state at hand, reports what it hears, and probes when it is its turn."""

    def __init__(
        self, breaker: CircuitBreaker, gateway: TransferGateway, alarms: Alarms, *, forgive: Forgive, stop: Stop
    ) -> None:
        """`forgive` gives a spent attempt back; `stop` pauses a scope, by an actor, for a reason."""
        self._breaker, self._gateway, self._alarms = breaker, gateway, alarms
        self._forgive, self._stop_sending = forgive, stop
        self.state = FleetState()
        self._silence, self._key, self._unknown = FailureStreak(SILENT), FailureStreak(REFUSED_KEY), FailureStreak(NOT_FOUND)
        self._woken, self._stopping = asyncio.Event(), asyncio.Event()

    def wake(self) -> None:
        """Something may have changed: look now."""
        self._woken.set()

    def stop(self) -> None:
        """`run` ends soon."""
        self._stopping.set()
        self._woken.set()

    async def refresh(self) -> None:
        """Read the state; needed once before anything is claimed. Attempts that an outage had spent are given back."""
        self.state = await self._breaker.state()
        if self.state.outage:
            await self._give_back()

    async def run(self) -> None:
        """Until `stop`. Trouble with the database pauses it, it never ends it."""
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                await self.refresh()
                if self.state.outage and await self._breaker.take_probe():
                    await self._probe()
                pause = await self._breaker.until_probe() if self.state.outage else LONGEST_SLEEP
            except Exception as error:  # whatever the database does, the loop lives on
                log.warning("the traffic's state could not be read", error=str(error))
                pause = 1.0
            await self._sleep(LONGEST_SLEEP if pause is None else min(max(pause, 0.01), LONGEST_SLEEP))
            await asyncio.sleep(SPACING)

    async def _probe(self) -> None:
        if not await self._gateway.answers():
            return
        # before the breaker: whoever dies in between leaves a probe to the others, and no new outage's alarm can be hit
        await self._alarms.clear(*OUTAGE)
        if await self._breaker.close_breaker():
            log.info("Stripe answers again: work goes on")
        await self.refresh()

    async def observe(self, transfer_id: UUID, step: Send | LookUp, signal: ProviderSignal) -> None:
        """What one exchange said. Never raises: what cannot be written now is noticed again at the next exchange."""
        try:
            await self._consider(transfer_id, (step.what, step.attempt) if isinstance(step, Send) else None, signal)
        except Exception as error:  # the outcome is recorded: this must not look like trouble with the transfer
            log.warning("the traffic could not be stopped", error=str(error))

    async def _consider(self, transfer_id: UUID, spent: tuple[str, int] | None, signal: ProviderSignal) -> None:
        match signal:
            case ProviderSignal.NOTHING:
                return
            case ProviderSignal.SILENCE:
                await self._silent(transfer_id, spent)
                return
            case ProviderSignal.KEY_REFUSED:
                await self._refused(self._key, transfer_id, "Stripe refuses the key (401 or 403)")
            case ProviderSignal.NOT_FOUND:
                self._key.end()
                await self._refused(
                    self._unknown, transfer_id, "Stripe does not know the transfers (404): another account or mode?"
                )
            case ProviderSignal.ANSWER:
                self._key.end()
                self._unknown.end()
            case ProviderSignal.TOO_FAST:
                pass
        self._silence.end()

    async def _silent(self, transfer_id: UUID, spent: tuple[str, int] | None) -> None:
        too_long = self._silence.add(transfer_id, spent)
        if too_long and not self.state.outage:
            if await self._breaker.open_breaker():
                log.warning("Stripe answers nobody: nothing is sent until it does")
                await self._alarms.raise_(*OUTAGE, f"No answer below 500 for {SILENT} different transfers in a row.")
            await self.refresh()
        elif self.state.outage:
            await self._give_back()

    async def _give_back(self) -> None:
        for transfer_id, spent in self._silence.end().items():
            if spent is not None:
                await self._forgive(transfer_id, *spent)

    async def _refused(self, streak: FailureStreak, transfer_id: UUID, why: str) -> None:
        if streak.add(transfer_id, None):
            count = len(streak.end())
            log.error("sending stops", why=why)
            await self._stop_sending(EVERYTHING, LEDGER, f"{why}, {count} different ones in a row")
            await self.refresh()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
