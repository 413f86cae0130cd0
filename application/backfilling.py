"""Which transfer at Stripe is the one whose id a paid row lacks. Pure, and careful: what fits twice is for a person.

Weaker marks are asked only where stronger ones found nothing, and never against what a transfer at Stripe says of itself.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from domain.outcomes import ListedTransfer

WINDOW = timedelta(hours=24)
"""How far apart the row and Stripe's transfer may have been created, where nothing but amount and time speak for it."""
BY_STRIPE = "group_"
"""How a transfer group begins that Stripe made up itself, which speaks for no order."""


class Missing(NamedTuple):
    """A paid transfer of ours without Stripe's id of it."""

    transfer_id: UUID
    order_id: str
    seller_id: str
    destination: str
    amount: int
    currency: str
    status: str
    transfer_group: str
    created_at: datetime


class Match(NamedTuple):
    """What Stripe calls it, and what says so."""

    missing: Missing
    stripe_transfer_id: str
    evidence: str


class Doubt(NamedTuple):
    """A row that a person has to look at, with the transfers at Stripe that came into question."""

    missing: Missing
    why: str
    candidates: Sequence[str] = ()


Rule = Callable[[Missing, ListedTransfer], bool]


def _by_group(row: Missing, theirs: ListedTransfer) -> bool:
    return bool(row.transfer_group) and theirs.transfer_group == row.transfer_group and _unopposed(row, theirs)


def _by_time(row: Missing, theirs: ListedTransfer) -> bool:
    group = theirs.transfer_group
    near = abs(theirs.created - row.created_at) <= WINDOW
    return near and (group is None or group.startswith(BY_STRIPE)) and _unopposed(row, theirs)


def _unopposed(row: Missing, theirs: ListedTransfer) -> bool:
    return theirs.transfer_id in (None, str(row.transfer_id)) and theirs.order_id in (None, row.order_id)


RULES: Sequence[tuple[str, Rule]] = (
    ("metadata transfer_id", lambda row, theirs: theirs.transfer_id == str(row.transfer_id)),
    ("metadata order_id", lambda row, theirs: theirs.order_id == row.order_id and _unopposed(row, theirs)),
    ("transfer_group", _by_group),
    ("amount, currency and time of creation", _by_time),
)
"""Strongest first; amount and currency must agree in each."""


def matched(rows: Sequence[Missing], listed: Sequence[ListedTransfer], claimed: Collection[str]) -> Iterator[Match | Doubt]:
    """What becomes of each row to one destination. `listed` is all that Stripe has for it, `claimed` what rows of ours have.

    What one run leaves in doubt stays in doubt in the next: a candidate in question goes to no other row either.
    """
    left, taken = list(rows), set(claimed)
    for mark, rule in RULES:
        fitting = {row.transfer_id: [t for t in listed if _same_money(row, t) and rule(row, t)] for row in left}
        wanted = Counter(theirs.stripe_transfer_id for fits in fitting.values() for theirs in fits)
        for row in left:
            if fits := fitting[row.transfer_id]:
                yield _decided(row, mark, [theirs.stripe_transfer_id for theirs in fits], taken, wanted)
        left = [row for row in left if not fitting[row.transfer_id]]
        taken |= set(wanted)
    for row in left:
        yield Doubt(row, "Stripe's list has nothing that fits")


def _same_money(row: Missing, theirs: ListedTransfer) -> bool:
    return (theirs.amount, theirs.currency) == (row.amount, row.currency)


def _decided(row: Missing, mark: str, fits: Sequence[str], taken: Collection[str], wanted: Counter[str]) -> Match | Doubt:
    free = [name for name in fits if name not in taken]
    if not free:
        return Doubt(row, f"what fits by {mark} belongs to another transfer, or may", fits)
    if len(free) > 1:
        return Doubt(row, f"several fit by {mark}", free)
    if wanted[free[0]] > 1:
        return Doubt(row, f"it fits several of our transfers by {mark}", free)
    return Match(row, free[0], f"Stripe's list, by {mark}; amount and currency agree")
