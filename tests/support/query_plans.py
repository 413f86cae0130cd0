"""Rules for plans of queries: no query of the running ledger reads a table that grows for ever from
end to end.

A plan fails if it scans such a table, or an index of it without a condition, unless a limit ends
the scan early or the index holds open work only.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow

Plan = Mapping[str, Any]

GROWING = frozenset({
    "ledger_events", "seller_transfers", "transfer_reversals", "orders", "refunds", "disputes", "payouts",
    "findings", "webhook_inbox", "alarms", "bulk_jobs",
})  # fmt: skip
SMALL: Mapping[str, str] = {
    "pauses": "one row for each scope that was ever paused",
    "found_differences": "the differences of the newest reconciliation",
    "webhook_polls": "one row for each provider",
    "pace": "one row for each endpoint",
    "breaker": "one row",
    "ledger_binding": "one row",
    "check_runs": "one row for each kind of check",
    "process_loops": "the loops of the processes of one day",
    "money_samples": "two days",
    "signed_out_sessions": "the sign-outs of half a day",
    "ledger_migrations": "one row for each migration",
    "seen_at_stripe": "temporary: what one reconciliation has seen",
}
"""Tables that may be scanned, and why they stay small."""
OPEN_WORK = frozenset({
    "seller_transfers_due_reversals_idx", "seller_transfers_due_failed_idx", "seller_transfers_due_pending_idx",
    "seller_transfers_due_to_send_idx", "seller_transfers_turns_to_send_idx",
    "seller_transfers_turns_to_reverse_idx", "seller_transfers_waiting_idx",
    "one_reversal_in_flight_per_transfer", "transfer_reversals_owed_idx", "transfer_reversals_failed_idx",
    "orders_charge_due_idx", "refunds_due_idx", "refunds_open_idx", "disputes_open_idx",
    "webhook_inbox_due_idx", "webhook_inbox_parked_idx", "webhook_inbox_unhandled_idx",
    "webhook_inbox_missed_idx", "webhook_inbox_bodies_idx", "alarms_open_idx", "alarms_of_subject_idx",
    "bulk_jobs_open_idx",
})  # fmt: skip
"""Partial indexes without settled rows: they may be read from end to end."""
_LAZY = frozenset({
    "Limit", "Subquery Scan", "Nested Loop", "Append", "Merge Append", "LockRows", "Result", "Incremental Sort",
})  # fmt: skip
"""Nodes that stop reading their first child as soon as a limit above them has its rows."""


class Schema(NamedTuple):
    """The table of each index."""

    tables: Mapping[str, str]


def schema_of(connection: psycopg.Connection[TupleRow]) -> Schema:
    rows = connection.execute(
        "select indexname, tablename from pg_indexes where schemaname = 'public'"
    ).fetchall()
    return Schema(dict(rows))


def whole_reads(plan: Plan, schema: Schema, limited: bool = False) -> Iterator[str]:
    """Yield a sentence for each scan of a growing table from end to end."""
    kind, table = plan["Node Type"], plan.get("Relation Name", "")
    index = plan.get("Index Name", "")
    if kind == "Seq Scan" and table not in SMALL:
        yield f"it scans {table}"
    whole = index and "Index Cond" not in plan and not limited and index not in OPEN_WORK
    if whole and schema.tables.get(index) in GROWING:
        yield f"it reads the whole index {index}"
    limited = kind == "Limit" or (limited and kind in _LAZY)
    for number, child in enumerate(plan.get("Plans", ())):
        inner = kind == "Nested Loop" and number > 0
        apart = child.get("Parent Relationship") in ("SubPlan", "InitPlan")
        yield from whole_reads(child, schema, limited and not inner and not apart)
