"""Invariants of the read models: the rows keep their constraints, and say what the facts say."""

from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.glance import Glance
from infrastructure.simulation.faults.invariants.statuses import FINAL, FOLLOWERS, UNSETTLED
from infrastructure.simulation.faults.invariants.told import Told

Json = Mapping[str, Any]


def broken_rows(books: Glance, told: Told) -> Iterator[str]:
    """Yield the constraints that rows break, and the differences between rows and facts."""
    rows = {str(row["transfer_id"]): row for row in books.rows("seller_transfers")}
    for row in rows.values():
        yield from _constraints(row)
    for missing in sorted(told.transfers.keys() - rows.keys()):
        yield broken("rows_equal_facts", f"transfer {missing} has facts and no row")
    for surplus in sorted(rows.keys() - told.transfers.keys()):
        yield broken("rows_equal_facts", f"transfer {surplus} has a row and no facts")
    for name in rows.keys() & told.transfers.keys():
        transfer, row = told.transfers[name], rows[name]
        facts = transfer.status, transfer.amount, transfer.amount_reversed, transfer.stripe_id
        shown = row["status"], row["amount"], row["amount_reversed"], row["stripe_transfer_id"]
        if facts != shown:
            yield broken("rows_equal_facts", f"transfer {name}: its row says {shown}, its facts "
                         f"say {facts}")  # fmt: skip


def broken_order_rows(books: Glance, told: Told) -> Iterator[str]:
    """Yield the orders and refunds whose rows do not say what their facts say."""
    orders = {row["order_id"]: row for row in books.rows("orders")}
    for order in told.orders.values():
        row = orders.get(order.order_id)
        paid = row is not None and row["status"] == "paid"
        if row is None or paid != order.paid or row["amount"] != order.amount:
            yield broken("rows_equal_facts", f"order {order.order_id}: paid is {order.paid} by its "
                         f"facts, its row is {row and (row['status'], row['amount'])}")  # fmt: skip
    statuses = {str(row["stream_id"]): row["status"] for row in books.rows("refunds")}
    for stream, refund in told.refunds.items():
        if refund.status in ("succeeded", "failed", "review") and (
            statuses.get(stream) != refund.status
        ):
            yield broken("rows_equal_facts", f"refund {refund.refund_id}: its row says "
                         f"{statuses.get(stream)}, its facts say {refund.status}")  # fmt: skip


def _constraints(row: Json) -> Iterator[str]:
    status, due, waits = row["status"], row["next_retry_at"], row["waiting_for"]
    named = f"transfer {row['transfer_id']} is {status}"
    if status not in FOLLOWERS:
        yield broken("rows_keep_their_constraints", f"{named}, which is no status")
    if not 0 <= row["amount_reversed"] <= row["amount"]:
        yield broken(
            "rows_keep_their_constraints",
            f"{named}, and {row['amount_reversed']} of {row['amount']} is reversed",
        )
    if status == "reversal_pending" and due is None:
        yield broken("rows_keep_their_constraints", f"{named} without next_retry_at")
    if status in UNSETTLED and due is None and waits is None:
        yield broken("rows_keep_their_constraints", f"{named}, is not due and waits for nothing")
    if status in FINAL and due is not None:
        yield broken("rows_keep_their_constraints", f"{named} and still due at {due}")
    if status not in UNSETTLED and waits is not None:
        yield broken("rows_keep_their_constraints", f"{named} and still waits for {waits}")
