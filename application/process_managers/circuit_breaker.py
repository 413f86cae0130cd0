"""Circuit breaker for all workers: detects an outage of Stripe or a wrong API key from answers
about several transfers.

- Silence: `SILENT` different transfers in a row without an answer below 500 mean an outage. One
  breaker opens for the fleet, nothing is claimed, a probe closes it, and the attempts that opened
  it are given back. With fewer transfers, the third silent attempt of one of them probes Stripe,
  and a silent probe opens the breaker too: an outage must not exhaust the transfers of a ledger
  with few sales. A single transfer that keeps failing only consumes its own attempts.
- A refused key (401), or 403 or 404 for several destinations in a row: the API key or the account
  is wrong. Sending is paused, with an alarm, until an operator resumes it. Refusals about one
  destination are the trouble of that account and stop no other seller's work.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

import structlog

from application.gateways import TransferGateway
from application.loop import Loop
from application.ports import Alarms, CircuitBreaker, FleetState
from domain.pause import EVERYTHING, LEDGER
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.steps import LookUp, Send

SILENT = 8
"""Number of different transfers in a row without an answer below 500 that means an outage."""
PROBED_AT = 3
"""Attempt of one transfer from which on a silent Stripe is probed."""
REFUSED_KEY = 3
"""Number of different transfers in a row with 401, or with 403, that means a wrong API key."""
NOT_FOUND = 5
"""Number of different transfers in a row unknown to Stripe that means a wrong account or mode."""
DIFFERENT_ACCOUNTS = 3
"""Number of different destinations among the transfers of 403 or 404, below which the refusals are
the trouble of the accounts and not of the API key."""
LONGEST_SLEEP = 5.0
"""Seconds after which the state is read again, in case a notification was lost."""
SHORTEST_SLEEP = 0.01
SPACING = 0.1
"""Minimum seconds between two readings: released leases wake this loop too, many times a second."""
OUTAGE = ("stripe_outage", "stripe")
"""Kind and subject of the alarm."""

log = structlog.get_logger()

Forgive = Callable[[UUID, str, int], Awaitable[None]]
Stop = Callable[[str, str, str], Awaitable[object]]


class Monitor(Protocol):
    """State of the fleet, and the observer of the providers' signals."""

    @property
    def state(self) -> FleetState: ...

    async def observe(
        self, subject_id: UUID, step: Send | LookUp, signal: ProviderSignal, account: str
    ) -> None: ...


class OutageOfStripeIgnored:
    """Monitor for work at the PSP: its answers neither open nor close the circuit breaker for
    Stripe."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    @property
    def state(self) -> FleetState:
        return self._monitor.state

    async def observe(
        self, subject_id: UUID, step: Send | LookUp, signal: ProviderSignal, account: str
    ) -> None:
        """Do nothing: each refund counts its own failed attempts."""


class FailureStreak:
    """Different transfers in a row with the same signal."""

    def __init__(self, limit: int, accounts: int = 1) -> None:
        """`limit` is a number of transfers, `accounts` of different destinations among them."""
        self._limit, self._least_accounts = limit, accounts
        self._accounts: set[str] = set()
        self.spent: dict[UUID, tuple[str, int] | None] = {}
        """Per transfer the operation and the attempt that it cost, if any."""

    def add(self, transfer_id: UUID, spent: tuple[str, int] | None, account: str = "") -> bool:
        """Add a transfer; return whether the streak has reached its limits."""
        enough = len(self.spent) >= self._limit
        if not (enough and account in self._accounts):  # so that one account fills no memory
            self.spent[transfer_id] = spent
            self._accounts.add(account)
        return len(self.spent) >= self._limit and len(self._accounts) >= self._least_accounts

    def end(self) -> dict[UUID, tuple[str, int] | None]:
        """End the streak after another signal; return its content."""
        ended, self.spent, self._accounts = self.spent, {}, set()
        return ended


class BreakerMonitor(Loop):
    """Monitor of one process: keeps the state of the fleet, reports signals, and probes when it is
    its turn."""

    def __init__(
        self,
        breaker: CircuitBreaker,
        gateway: TransferGateway,
        alarms: Alarms,
        *,
        forgive: Forgive,
        stop: Stop,
    ) -> None:
        """Build the monitor. `forgive` gives a consumed attempt back; `stop` pauses a scope, by an
        actor, for a reason."""
        super().__init__()
        self._breaker, self._gateway, self._alarms = breaker, gateway, alarms
        self._forgive, self._stop_sending = forgive, stop
        self.state = FleetState()
        self._maybe_raised = True
        """True if this process, or one that died, may have raised the alarm of an outage that is
        over."""
        self._silence, self._key = FailureStreak(SILENT), FailureStreak(REFUSED_KEY)
        self._forbidden = FailureStreak(REFUSED_KEY, DIFFERENT_ACCOUNTS)
        self._unknown = FailureStreak(NOT_FOUND, DIFFERENT_ACCOUNTS)

    async def refresh(self) -> None:
        """Read the state, once before the first claim and then in each turn. In an outage, give
        consumed attempts back."""
        self.state = await self._breaker.state()
        if self.state.outage:
            await self._give_back()

    async def turn(self) -> float:
        """Read the state, and probe Stripe when it is this process's turn; return the seconds until
        the next turn."""
        await self.refresh()
        if self._maybe_raised and not self.state.outage:
            await self._alarms.clear(*OUTAGE)  # of a new outage: its next silent probe repeats it
            self._maybe_raised = False
        if self.state.outage and await self._breaker.take_probe():
            await self._probe()
        pause = await self._breaker.until_probe() if self.state.outage else None
        return LONGEST_SLEEP if pause is None else min(max(pause, SHORTEST_SLEEP), LONGEST_SLEEP)

    async def sleep(self, seconds: float) -> None:
        """Sleep until woken, at most `seconds`, and then for `SPACING` more."""
        await super().sleep(seconds)
        await asyncio.sleep(SPACING)

    async def _probe(self) -> None:
        if not await self._gateway.answers():
            await self._repeat_alarm()
            return
        # before the breaker is closed: a process that dies in between leaves the probe to the
        # others, and the alarm of a later outage cannot be cleared by mistake
        await self._alarms.clear(*OUTAGE)
        if await self._breaker.close_breaker():
            log.info("Stripe answers again, work goes on")
        await self.refresh()

    async def _repeat_alarm(self) -> None:
        """Raise the alarm of the open breaker again: the process that opened it may have died in
        between, or could not reach the database. A slow probe may end after a later one has closed
        the breaker."""
        if (await self._breaker.state()).outage:
            await self._raise_alarm("No answer below 500 to a probe either.")

    async def observe(
        self, transfer_id: UUID, step: Send | LookUp, signal: ProviderSignal, account: str
    ) -> None:
        """Take the signal of one exchange about a destination into account. Never raises: the next
        exchange gives the same signal again."""
        try:
            spent = (step.what, step.attempt) if isinstance(step, Send) else None
            await self._consider(transfer_id, spent, signal, account)
        except Exception as error:  # the outcome is recorded, so this is no failure of the transfer
            log.warning("the circuit breaker could not be updated", error=str(error))

    async def _consider(
        self,
        transfer_id: UUID,
        spent: tuple[str, int] | None,
        signal: ProviderSignal,
        account: str,
    ) -> None:
        match signal:
            case ProviderSignal.NOTHING:
                return
            case ProviderSignal.SILENCE:
                await self._silent(transfer_id, spent)
                return
            case ProviderSignal.KEY_REFUSED:
                await self._refused(self._key, transfer_id, account, "Stripe refuses the key (401)")
            case ProviderSignal.FORBIDDEN:
                await self._refused(
                    self._forbidden, transfer_id, account, "Stripe refuses the key (403)"
                )
            case ProviderSignal.NOT_FOUND:
                self._key.end()
                self._forbidden.end()
                await self._refused(
                    self._unknown,
                    transfer_id,
                    account,
                    "Stripe does not know the transfers (404): another account or mode?",
                )
            case ProviderSignal.ANSWER:
                self._key.end()
                self._forbidden.end()
                self._unknown.end()
            case ProviderSignal.TOO_FAST:
                pass
        self._silence.end()

    async def _silent(self, transfer_id: UUID, spent: tuple[str, int] | None) -> None:
        enough = self._silence.add(transfer_id, spent)
        if self.state.outage:
            await self._give_back()
        elif enough:
            await self._open(f"No answer below 500 for {SILENT} different transfers in a row.")
        elif spent is not None and spent[1] >= PROBED_AT and not await self._gateway.answers():
            await self._open("No answer below 500 to a transfer's attempts, nor to a probe.")

    async def _open(self, why: str) -> None:
        opened = await self._breaker.open_breaker()
        if opened:
            log.warning("Stripe does not answer, nothing is sent until it does")
            await self._raise_alarm(why)
        await self.refresh()

    async def _raise_alarm(self, why: str) -> None:
        """Raise the alarm of the open breaker. If this process was frozen, another one may have
        closed the breaker before the alarm comes; the next turn clears it then."""
        self._maybe_raised = True
        await self._alarms.raise_alarm(*OUTAGE, why)

    async def _give_back(self) -> None:
        for transfer_id, spent in self._silence.end().items():
            if spent is not None:
                await self._forgive(transfer_id, *spent)

    async def _refused(
        self, streak: FailureStreak, transfer_id: UUID, account: str, why: str
    ) -> None:
        if streak.add(transfer_id, None, account):
            count = len(streak.end())
            log.error("sending stops", why=why)
            await self._stop_sending(EVERYTHING, LEDGER, f"{why}, {count} different ones in a row")
            await self.refresh()
