"""Matching of transfers without a Stripe id with transfers at Stripe. A person decides every
doubtful case.

Weaker marks apply only where stronger ones found nothing, and never against the metadata of a
transfer at Stripe. Time excludes no candidate, because it is unknown how long the older system
tried; a time that does not fit makes the match doubtful.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from application.gateways import ListedTransfer

SLACK = timedelta(days=1)
"""Tolerance before the time of the older system, whose clock and time zone may differ from ours."""
WINDOW = timedelta(days=1)
"""Tolerance after that time, for a match by amount and time alone."""
BY_STRIPE = "group_"
"""Prefix of transfer groups that Stripe generates. They do not identify an order."""


class Missing(NamedTuple):
    """A transfer of ours without a Stripe id. `open`: it is also unknown whether the transfer was
    paid."""

    transfer_id: UUID
    order_id: str
    seller_id: str
    destination: str
    amount: int
    currency: str
    status: str
    transfer_group: str
    source_transaction: str | None
    begun_at: datetime | None
    """Earliest time of the transfer at Stripe; None where the older system did not record a
    time."""
    open: bool = False


class Match(NamedTuple):
    """The Stripe id of a transfer, with the evidence."""

    missing: Missing
    stripe_transfer_id: str
    evidence: str


class Doubt(NamedTuple):
    """A transfer that needs a person, with the candidates at Stripe."""

    missing: Missing
    why: str
    candidates: Sequence[str] = ()


Rule = Callable[[Missing, ListedTransfer], bool]


class Mark(NamedTuple):
    """A property by which a transfer at Stripe may be identified as ours."""

    name: str
    fits: Rule
    in_time: Rule
    """Returns whether the times are compatible."""


def _unopposed(row: Missing, theirs: ListedTransfer) -> bool:
    return (
        theirs.transfer.transfer_id in (None, str(row.transfer_id))
        and theirs.order_id in (None, row.order_id)
        and (
            None in (row.source_transaction, theirs.source_transaction)
            or row.source_transaction == theirs.source_transaction
        )
    )


def _by_group(row: Missing, theirs: ListedTransfer) -> bool:
    return (
        bool(row.transfer_group)
        and theirs.transfer_group == row.transfer_group
        and _unopposed(row, theirs)
    )


def _by_source(row: Missing, theirs: ListedTransfer) -> bool:
    """Compare the charge: Stripe replaces the transfer group of a transfer that has one."""
    known = row.source_transaction is not None
    return known and theirs.source_transaction == row.source_transaction and _unopposed(row, theirs)


def _by_money(row: Missing, theirs: ListedTransfer) -> bool:
    group = theirs.transfer_group
    return (group is None or group.startswith(BY_STRIPE)) and _unopposed(row, theirs)


def _not_before(row: Missing, theirs: ListedTransfer) -> bool:
    return row.begun_at is None or theirs.created_at >= row.begun_at - SLACK


def _about_then(row: Missing, theirs: ListedTransfer) -> bool:
    """Check the time for a match by amount. An open transfer may be unpaid, and another transfer
    may have the same amount."""
    if row.begun_at is None:
        return not row.open
    return row.begun_at - SLACK <= theirs.created_at <= row.begun_at + WINDOW


MARKS: Sequence[Mark] = (
    Mark(
        "metadata transfer_id",
        lambda row, theirs: theirs.transfer.transfer_id == str(row.transfer_id),
        lambda *_: True,
    ),
    Mark(
        "metadata order_id",
        lambda row, theirs: theirs.order_id == row.order_id and _unopposed(row, theirs),
        _not_before,
    ),
    Mark("source_transaction", _by_source, _not_before),
    Mark("transfer_group", _by_group, _not_before),
    Mark("amount and time", _by_money, _about_then),
)
"""Strongest first. Destination, amount and currency must agree for each mark."""


def money_of(rows: Sequence[Missing]) -> set[tuple[int, str]]:
    """Return the amounts and currencies that can match."""
    return {(row.amount, row.currency) for row in rows}


def matched(
    rows: Sequence[Missing], listed: Sequence[ListedTransfer], claimed: Collection[str]
) -> Iterator[Match | Doubt]:
    """Match the rows of one destination. `listed`: Stripe's transfers that can match; `claimed`:
    the Stripe ids that rows have.

    A doubtful candidate is matched with no other row, so that a doubt in one run stays a doubt in
    the next.
    """
    by_money = defaultdict(list)
    for theirs in listed:
        by_money[theirs.transfer.amount, theirs.transfer.currency].append(theirs)
    left, taken, disputed = list(rows), set(claimed), set[str]()
    for mark in MARKS:
        fitting = {
            row.transfer_id: [t for t in by_money[row.amount, row.currency] if mark.fits(row, t)]
            for row in left
        }
        wanted = Counter(_name(theirs) for fits in fitting.values() for theirs in fits)
        decided = [
            _decided(row, mark, fits, taken, disputed, wanted)
            for row in left
            if (fits := fitting[row.transfer_id])
        ]
        yield from decided
        taken.update(one.stripe_transfer_id for one in decided if isinstance(one, Match))
        disputed.update(
            name for one in decided if isinstance(one, Doubt) for name in one.candidates
        )
        left = [row for row in left if not fitting[row.transfer_id]]
    for row in left:
        yield Doubt(row, "Stripe's list has nothing that fits")


def _name(theirs: ListedTransfer) -> str:
    return theirs.transfer.stripe_transfer_id


def _decided(
    row: Missing,
    mark: Mark,
    fits: Sequence[ListedTransfer],
    taken: Collection[str],
    disputed: Collection[str],
    wanted: Counter[str],
) -> Match | Doubt:
    free = [theirs for theirs in fits if _name(theirs) not in taken]
    names = [_name(theirs) for theirs in free]
    if not free:
        return Doubt(
            row,
            f"each candidate by {mark.name} belongs to another transfer",
            [_name(theirs) for theirs in fits],
        )
    if len(free) > 1:
        return Doubt(row, f"several candidates fit by {mark.name}", names)
    if wanted[names[0]] > 1 or names[0] in disputed:
        return Doubt(row, f"it fits several of our transfers by {mark.name}", names)
    if not mark.in_time(row, free[0]):
        return Doubt(
            row, f"it fits by {mark.name}, but not by its time, {_at(free[0].created_at)}", names
        )
    if row.open and free[0].transfer.amount_reversed and free[0].transfer.transfer_id is None:
        return Doubt(
            row,
            f"it fits by {mark.name}, but was reversed since, so the seller may have to be paid",
            names,
        )
    return Match(row, names[0], _evidence(row, mark, free[0]))


def _evidence(row: Missing, mark: Mark, theirs: ListedTransfer) -> str:
    begun = (
        f"ours began {_at(row.begun_at)}"
        if row.begun_at is not None
        else "the start of ours is not known"
    )
    agreed = (
        "the only one of this amount and currency to this destination that fits and belongs to "
        "no other transfer"
    )
    return f"Stripe's list, by {mark.name}: {agreed}; created {_at(theirs.created_at)}, {begun}"


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
