"""Watch over due work that no worker claims, of every kind and whichever process has failed."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from application.loop import Loop
from application.ports import Alarms, Clock

WORK_OVERDUE = "work_overdue"
"""Kind of alarm; its subject is the kind of work."""
INTERVAL = 30.0

NextDue = Callable[[], Awaitable[datetime | None]]


class DueWork:
    """The kinds of work, each with the instant at which its oldest unclaimed piece was due.

    Paused work is not due, nor is a call to Stripe while the circuit breaker is open: both have
    alarms of their own.
    """

    def __init__(self, kinds: Mapping[str, NextDue], clock: Clock) -> None:
        self._kinds, self._clock = kinds, clock

    async def ages(self) -> dict[str, float]:
        """Return, by kind, the seconds since the oldest unclaimed work was due; 0 if none is."""
        due = {kind: await next_due() for kind, next_due in self._kinds.items()}
        now = self._clock.now()
        return {
            kind: 0.0 if at is None else max(0.0, (now - at).total_seconds())
            for kind, at in due.items()
        }


class OverdueWork(Loop):
    """Loop that raises an alarm while due work waits for longer than `patience`."""

    def __init__(self, due: DueWork, alarms: Alarms, patience: timedelta) -> None:
        super().__init__()
        self._due, self._alarms, self._patience = due, alarms, patience
        self._well: dict[str, bool] = {}

    async def turn(self) -> float:
        """Compare the ages with the patience; return the seconds until the next comparison."""
        for kind, age in (await self._due.ages()).items():
            well = age <= self._patience.total_seconds()
            if not well:
                await self._alarms.raise_alarm(WORK_OVERDUE, kind, _sentence(kind, age))
            elif not self._well.get(kind, False):  # another process may have raised it
                await self._alarms.clear(WORK_OVERDUE, kind)
            self._well[kind] = well
        return min(INTERVAL, max(self._patience.total_seconds() / 2, 0.1))


def _sentence(kind: str, age: float) -> str:
    return (
        f"The oldest due work of the kind {kind} has waited {age:.0f} s for a worker: check that "
        "`serve` or `worker` runs, is ready (/readyz), and has this kind of work switched on."
    )
