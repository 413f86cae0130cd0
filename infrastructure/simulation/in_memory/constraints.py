"""Constraints of the database in memory, under the names of the PostgreSQL constraints.

A contract test compares the two lists.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from domain.errors import ConstraintBroken
from domain.lifecycle import FINAL, TransferStatus
from projections.disputes import DisputeRow
from projections.findings import FindingRow
from projections.orders import OrderRow
from projections.pauses import PauseRow
from projections.payouts import PayoutRow
from projections.refunds import RefundRow
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import ReversalRow

Row = Any
"""A row of one of `KINDS`; rules read its columns by name."""
Rows = Mapping[object, Row]
KINDS = {
    "seller_transfers": SellerTransferRow,
    "transfer_reversals": ReversalRow,
    "orders": OrderRow,
    "refunds": RefundRow,
    "disputes": DisputeRow,
    "payouts": PayoutRow,
    "pauses": PauseRow,
    "findings": FindingRow,
}
"""The read models; the first column of each row is its primary key."""

UNSENT = ("pending", "failed")
UNSETTLED = (*UNSENT, "reversal_pending")


class Check(NamedTuple):
    name: str
    holds: Callable[[Row], bool]


class Unique(NamedTuple):
    """A unique index: no two rows have the same value; rows whose value is None are not
    compared."""

    name: str
    value: Callable[[Row], object]


CHECKS: Mapping[str, Sequence[Check]] = {
    "seller_transfers": [
        Check("a_transfer_has_a_known_status", lambda row: row.status in set(TransferStatus)),
        Check("a_transfer_is_never_negative", lambda row: row.amount >= 0),
        Check(
            "reversals_never_exceed_the_transfer",
            lambda row: 0 <= row.amount_reversed <= row.amount,
        ),
        Check("retries_are_counted_from_zero", lambda row: row.retry_count >= 0),
        Check(
            "a_final_status_has_no_next_retry",
            lambda row: row.status not in set(FINAL) or row.next_retry_at is None,
        ),
        Check(
            "chk_reversal_pending_has_next_retry_at",
            lambda row: row.status != "reversal_pending" or row.next_retry_at is not None,
        ),
        Check(
            "an_unsent_transfer_is_due_or_says_what_it_waits_for",
            lambda row: (
                row.status not in UNSENT
                or row.next_retry_at is not None
                or row.waiting_for is not None
            ),
        ),
        Check(
            "a_settled_transfer_waits_for_nothing",
            lambda row: (
                row.status in UNSETTLED or (row.next_retry_at is None and row.waiting_for is None)
            ),
        ),
    ],
    "transfer_reversals": [Check("a_reversal_is_never_negative", lambda row: row.amount >= 0)],
    "orders": [
        Check("an_order_is_never_negative", lambda row: row.amount >= 0),
        Check(
            "refunds_never_exceed_the_order",
            lambda row: 0 <= row.refunded <= (row.collected or row.amount),
        ),
        Check(
            "a_paid_order_has_collected_its_amount",
            lambda row: row.collected is None or row.collected >= row.amount,
        ),
    ],
    "refunds": [
        Check("a_refund_is_never_negative", lambda row: row.amount >= 0),
        Check(
            "a_refund_under_way_has_its_next_retry_at",
            lambda row: (
                (row.status in ("requested", "submitted")) == (row.next_retry_at is not None)
            ),
        ),
    ],
    "disputes": [Check("a_dispute_is_about_money", lambda row: row.amount > 0)],
    "payouts": [],
    "pauses": [],
    "findings": [],
}

UNIQUE: Mapping[str, Sequence[Unique]] = {
    "seller_transfers": [
        Unique("one_transfer_per_stripe_transfer", lambda row: row.stripe_transfer_id or None),
        Unique("one_transfer_per_stripe_reversal", lambda row: row.stripe_reversal_id or None),
    ],
    "transfer_reversals": [
        Unique(
            "one_reversal_in_flight_per_transfer",
            lambda row: row.transfer_id if row.status == "requested" else None,
        ),
        Unique("one_reversal_per_stripe_reversal", lambda row: row.stripe_reversal_id or None),
    ],
    "orders": [Unique("one_order_per_stream", lambda row: row.stream_id)],
    "refunds": [
        Unique("one_refund_per_refund_id", lambda row: row.refund_id),
        Unique("one_refund_per_psp_refund", lambda row: row.psp_refund_id),
    ],
    "disputes": [
        Unique("one_dispute_per_provider_and_id", lambda row: (row.provider, row.dispute_id))
    ],
    "payouts": [Unique("one_payout_per_account_and_id", lambda row: (row.account, row.payout_id))],
    "pauses": [],
    "findings": [],
}


class Uniqueness:
    """The unique indexes, with the row that has each value."""

    def __init__(self) -> None:
        self._owners: dict[str, dict[object, UUID | str]] = {
            one.name: {} for several in UNIQUE.values() for one in several
        }

    def check(self, table: str, changed: Rows) -> None:
        """Check for duplicates. Raises ConstraintBroken when one of these rows would have a value
        that another row has."""
        for unique in UNIQUE[table]:
            taken: dict[object, object] = {}
            for key, row in changed.items():
                value = unique.value(row)
                owner = taken.setdefault(value, self._owner_after(unique, value, key, changed))
                if value is not None and owner != key:
                    raise ConstraintBroken(
                        unique.name, f"{table}: {value} belongs to {owner}, and {key} wants it too"
                    )

    def _owner_after(self, unique: Unique, value: object, key: object, changed: Rows) -> object:
        owner = self._owners[unique.name].get(value, key)
        return key if owner in changed and unique.value(changed[owner]) != value else owner

    def replace(self, table: str, key: UUID | str, before: Row | None, after: Row) -> None:
        """Take over the values of a changed row."""
        for unique in UNIQUE[table]:
            owners = self._owners[unique.name]
            if before is not None and owners.get(unique.value(before)) == key:
                del owners[unique.value(before)]
            if unique.value(after) is not None:
                owners[unique.value(after)] = key


def check(table: str, rows: Sequence[Row]) -> None:
    """Check rows. Raises ConstraintBroken for the first row that breaks a rule."""
    for name, row in _broken(table, rows):
        raise ConstraintBroken(name, f"{table}: {row}")


def _broken(table: str, rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    return ((check.name, row) for row in rows for check in CHECKS[table] if not check.holds(row))
