"""Run of a simulated week, from the first order until everything is settled."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from infrastructure.simulation.book_comparison import Snapshot, compared
from infrastructure.simulation.in_memory.constraints import KINDS
from infrastructure.simulation.virtual_time import BEGINNING, epoch_seconds, run
from infrastructure.simulation.week.marketplace import WeekMarketplace
from infrastructure.simulation.week.measures import (
    Share,
    Totals,
    at_stripe,
    differences,
    expected,
    money_of,
    totals,
)
from infrastructure.simulation.week.plan import (
    CURRENCY,
    DAY,
    DAYS,
    FEWEST,
    HOUR,
    PlannedOrder,
    planned,
)
from infrastructure.simulation.week.report import PersonAction, WeekReport, days_of
from infrastructure.simulation.week.world import WeekWorld
from projections.alarms import AlarmRow

SETTLED_WITHIN = 7
"""Days after the week in which lost webhooks are found and money comes back."""
Progress = Callable[[int], None]
"""Is told the number of each day at its end."""


def simulate_week(orders: int, seed: int, progress: Progress = lambda day: None) -> WeekReport:
    """Run a week in virtual time. Raises ValueError for too few orders."""
    if orders < FEWEST:
        raise ValueError(f"a week of {orders} orders shows nothing; choose {FEWEST} or more")
    return run(_Week(orders, seed, progress).lived())


class _Week:
    def __init__(self, orders: int, seed: int, progress: Progress) -> None:
        self._orders, self._seed, self._progress = orders, seed, progress
        self._plan: list[PlannedOrder] = planned(orders, seed)
        self._ends: list[Totals] = []
        self._first_raised: dict[tuple[str, str], float] = {}

    async def lived(self) -> WeekReport:
        """Live through the week, and compare the books at its end."""
        world = self._world = WeekWorld(self._seed)
        async with world.fleet:
            others = [
                asyncio.create_task(world.settlements()),
                asyncio.create_task(world.outage()),
                *(asyncio.create_task(world.bad_deploy(one)) for one in world.processes),
            ]
            market = asyncio.create_task(WeekMarketplace(world).live(self._plan))
            await self._watch(market)
            await market
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        await world.close()
        return self._report()

    async def _watch(self, market: asyncio.Task[None]) -> None:
        """Measure every day, until the marketplace is done and all is settled."""
        for day in range(1, DAYS + SETTLED_WITHIN + 1):
            for hour in range(24):
                await _until((day - 1) * DAY + (hour + 1) * HOUR)
                for alarm in self._world.fleet.database.alarms.raised():
                    self._first_raised.setdefault((alarm.kind, alarm.subject), epoch_seconds())
            self._ends.append(totals(self._world.fleet.database, self._world.psp.world))
            self._progress(day)
            if market.done() and self._is_settled():
                return

    def _is_settled(self) -> bool:
        return not list(self._unexplained())

    def _report(self) -> WeekReport:
        actions = [self._action(alarm) for alarm in self._world.fleet.database.alarms.raised()]
        actions.sort()
        return WeekReport(
            self._orders,
            self._seed,
            days_of(self._ends, actions),
            actions,
            [*self._unexplained(), *self._disagreements()],
        )

    def _unexplained(self) -> Iterator[str]:
        """Yield the shares whose amount at Stripe is not as the buyers' money demands, unless the
        seller has no money to give back."""
        world = self._world
        nets = expected(self._plan, world.psp.world)
        for share, surplus in differences(nets, at_stripe(self._plan, world.stripe)):
            if surplus < 0 or not self._cannot_give(share, surplus):
                order_id, seller = share
                yield f"order {order_id}: {seller} has {surplus:+} {CURRENCY} at Stripe"

    def _cannot_give(self, share: Share, surplus: int) -> bool:
        return money_of(self._world.stripe, share[1], CURRENCY) < surplus

    def _action(self, alarm: AlarmRow) -> PersonAction:
        at = self._first_raised.get((alarm.kind, alarm.subject), epoch_seconds_of(alarm))
        day = int((at - BEGINNING.timestamp() - 1) // DAY) + 1
        return PersonAction(day, alarm.kind, alarm.subject, alarm.detail, self._is_true_loss(alarm))

    def _is_true_loss(self, alarm: AlarmRow) -> bool:
        """Return whether the alarm is about money of a seller who has less than he owes."""
        rows = self._world.fleet.database.tables["seller_transfers"]
        row = next((row for key, row in rows.items() if str(key) == alarm.subject), None)
        if row is None or row.waiting_for != "funds" or row.status != "reversal_pending":
            return False
        nets = expected(self._plan, self._world.psp.world)
        held = at_stripe(self._plan, self._world.stripe)
        share = row.order_id, row.seller_id
        return self._cannot_give(share, held.get(share, 0) - nets[share])

    def _disagreements(self) -> list[str]:
        """Compare Stripe's books, the facts and the rows, as every scenario of the tests does."""
        world, database = self._world, self._world.fleet.database
        rows = {table: list(database.tables[table].values()) for table in KINDS}
        inbox = Counter(row.status for row in database.inbox.rows.values())
        snapshot = Snapshot(database.recorded, rows, inbox)
        return compared(snapshot, world.stripe.transfers, world.stripe.violations)


def epoch_seconds_of(alarm: AlarmRow) -> float:
    """Return the instant at which the alarm was raised."""
    return alarm.raised_at.timestamp()


async def _until(at: float) -> None:
    await asyncio.sleep(max(0.0, BEGINNING.timestamp() + at - epoch_seconds()))
