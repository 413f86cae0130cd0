"""Every table that facts alone determine, and the rows that a whole stream leads to. A further read model joins here.

Rebuild and verify know tables only from `DERIVED`: one entry, and its rows in `rows_of`, is all that a new one needs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from domain.fact import Fact
from projections.alarms import RAISED_BY_FACTS, AlarmRow, alarms
from projections.disputes import DisputeRow
from projections.findings import FindingRow
from projections.orders import OrderRow
from projections.pauses import PauseRow
from projections.payouts import PayoutRow
from projections.refunds import RefundRow
from projections.registry import Row, fold, rows
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import ReversalRow


class Derived(NamedTuple):
    """A table whose rows are folds of facts."""

    table: str
    columns: tuple[str, ...]
    """What facts determine. Other columns, such as leases, are left alone."""
    key: tuple[str, ...]
    """Its primary key."""
    stream: str
    """The column that names the stream a row is folded from."""
    stream_type: str = "uuid"
    kinds: tuple[str, ...] = ()
    """Where given, only rows of these `kind`s come from facts; somebody else writes the others."""


DERIVED: tuple[Derived, ...] = (
    Derived("seller_transfers", SellerTransferRow._fields, ("transfer_id",), "transfer_id"),
    Derived("transfer_reversals", ReversalRow._fields, ("reversal_id",), "transfer_id"),
    Derived("orders", OrderRow._fields, ("order_id",), "stream_id"),
    Derived("refunds", RefundRow._fields, ("stream_id",), "stream_id"),
    Derived("disputes", DisputeRow._fields, ("stream_id",), "stream_id"),
    Derived("payouts", PayoutRow._fields, ("stream_id",), "stream_id"),
    Derived("pauses", PauseRow._fields, ("stream_id",), "stream_id"),
    Derived("findings", FindingRow._fields, ("stream_id",), "stream_id"),
    Derived("alarms", AlarmRow._fields, ("kind", "subject"), "subject", "text", tuple(sorted(RAISED_BY_FACTS))),
)


Rows = Mapping[str, Sequence[Row | AlarmRow]]
"""By table."""


def rows_of(facts: Sequence[Fact]) -> Rows:
    """Every row that a whole stream leads to, by table."""
    folded = fold(None, facts)
    tables: dict[str, Sequence[Row | AlarmRow]] = {}
    if folded is not None:
        tables.update(rows(None, folded))
    raised = _latest_alarms(facts)
    return tables | {"alarms": raised} if raised else tables


def _latest_alarms(facts: Iterable[Fact]) -> list[AlarmRow]:
    """One row per kind, however often it was raised; clearing it keeps what it was about."""
    known: dict[str, AlarmRow] = {}
    for row in alarms(facts, troubled=False):
        before = known.get(row.kind)
        if row.cleared_at is None:
            known[row.kind] = row
        elif before is not None and before.cleared_at is None:
            known[row.kind] = before._replace(cleared_at=row.cleared_at)
    return list(known.values())
