"""Report of a simulated week: its days, the actions of a person, and the comparison of the
books."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import orjson

from infrastructure.simulation.virtual_time import BEGINNING
from infrastructure.simulation.week.measures import Totals


class PersonAction(NamedTuple):
    """An action that a person has to take, and why."""

    day: int
    """Day on which the ledger first asked for it."""
    kind: str
    """Kind of the alarm."""
    subject: str
    why: str
    true_loss: bool
    """True if the seller has no money, so that no program can recover it."""


class Day(NamedTuple):
    """One day: what happened on it, and what was unfinished at its end. Amounts in minor units."""

    day: int
    date: str
    orders_paid: int
    paid: int
    refunded: int
    recovered: int
    waiting: int
    waiting_amount: int
    stuck: int
    stuck_amount: int
    actions: int


class WeekReport(NamedTuple):
    """All results of one week. The same seed gives the same report."""

    orders: int
    seed: int
    days: Sequence[Day]
    actions: Sequence[PersonAction]
    differences: Sequence[str]
    """Disagreements of the books: none if the ledger is right."""

    @property
    def passed(self) -> bool:
        """Return whether the books are equal and nothing but true losses needed a person."""
        return not self.differences and all(action.true_loss for action in self.actions)

    def json(self) -> bytes:
        """Return the report as JSON, always in the same bytes."""
        shown: dict[str, Any] = {
            "orders": self.orders,
            "seed": self.seed,
            "passed": self.passed,
            "days": [day._asdict() for day in self.days],
            "total": self.days and _total(self.days),
            "actions": [action._asdict() for action in self.actions],
            "differences": list(self.differences),
        }
        return orjson.dumps(shown, option=orjson.OPT_INDENT_2)

    def text(self) -> str:
        """Return the report as lines of text."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.orders} orders, seed {self.seed}; amounts in minor units of EUR"
        yield (
            f"{'day':>3} {'date':10} {'orders':>6} {'paid':>11} {'refunded':>10} {'recovered':>10}"
            f" {'waiting':>14} {'stuck':>12} {'actions':>7}"
        )
        for day in self.days:
            yield (
                f"{day.day:>3} {day.date} {day.orders_paid:>6} {day.paid:>11} {day.refunded:>10}"
                f" {day.recovered:>10} {_unfinished(day.waiting, day.waiting_amount, 14)}"
                f" {_unfinished(day.stuck, day.stuck_amount, 12)} {day.actions:>7}"
            )
        yield f"actions of a person: {len(self.actions)}"
        for action in self.actions:
            loss = "true loss" if action.true_loss else "NO LOSS"
            yield f"  day {action.day}, {loss}: {action.kind} {action.subject}: {action.why}"
        if self.differences:
            yield f"the books differ in {len(self.differences)} places:"
            yield from (f"  {one}" for one in self.differences)
        else:
            yield "the books are equal to the cent"


def days_of(ends: Sequence[Totals], actions: Sequence[PersonAction]) -> list[Day]:
    """Return the days, from the totals at the end of each."""
    days, before = [], Totals()
    for number, end in enumerate(ends, 1):
        days.append(
            Day(
                day=number,
                date=(BEGINNING + timedelta(days=number - 1)).date().isoformat(),
                orders_paid=end.orders_paid - before.orders_paid,
                paid=end.paid - before.paid,
                refunded=end.refunded - before.refunded,
                recovered=end.recovered - before.recovered,
                waiting=end.waiting,
                waiting_amount=end.waiting_amount,
                stuck=end.stuck,
                stuck_amount=end.stuck_amount,
                actions=sum(action.day == number for action in actions),
            )
        )
        before = end
    return days


def _total(days: Sequence[Day]) -> dict[str, int]:
    names = ("orders_paid", "paid", "refunded", "recovered", "actions")
    return {name: sum(getattr(day, name) for day in days) for name in names}


def _unfinished(count: int, amount: int, width: int) -> str:
    return f"{f'{count}: {amount}' if count else '-':>{width}}"
