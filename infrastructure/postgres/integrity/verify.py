"""Verification of the whole database in one snapshot. Changes nothing.

The hash chain is recomputed from the facts, every table that facts determine is derived again, and
the invariants of queries/invariants.sql are checked. Every finding has its position in the ledger,
or the id of its row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import psycopg
from psycopg.rows import args_row

from infrastructure.postgres.event_store import RecordedFact
from infrastructure.postgres.integrity.hash_chain import breaks
from infrastructure.postgres.integrity.rebuild import REPORTED, compared
from infrastructure.postgres.integrity.replay import CHUNK, SQL, Blocking
from infrastructure.postgres.integrity.row_diff import RowDifference
from infrastructure.postgres.integrity.seals import Seal, bound
from infrastructure.postgres.integrity.snapshot import DatabaseSnapshot, OnProgress, snapshot
from infrastructure.postgres.named_queries import queries
from projections.registry import DERIVED

INVARIANTS = queries("invariants")

NOT_DERIVED = {
    "ledger_events": "the facts themselves: the hash chain and the seals prove them",
    "ledger_migrations": (
        "the applied migrations are no fact of the ledger; `migrate status` compares them with "
        "the files"
    ),
    "ledger_binding": "decided by the first start, before any fact; a seal contains it",
    "breaker": "whether Stripe answers now: probes find that out again",
    "bulk_jobs": "the progress of a person's jobs: each action that a job took is a fact",
    "pace": "the instant of the next call: obsolete after a second",
    "check_runs": "the newest end of each check, for the overview: no money depends on it",
    "found_differences": (
        "the newest reconciliation's findings: each is read again at Stripe before a decision"
    ),
    "signed_out_sessions": "sessions of the console that were signed out in the last hours",
    "process_loops": "the progress of running processes: they report again within seconds",
    "money_samples": "the trend of the overview: the present amounts come from the read models",
    "webhook_polls": (
        "the progress of the polls for lost webhooks: if set back, events are read again, and "
        "stored once"
    ),
    "webhook_inbox": (
        "comes from outside, before any fact; invariants check that facts and webhooks refer to "
        "each other"
    ),
}
"""Tables that facts do not determine, and why; every other table has an entry in
`projections.registry.DERIVED`."""

NOT_FOLDED = dict.fromkeys(
    ("seller_transfers", "refunds", "orders"), frozenset({"leased_by", "leased_until"})
)
"""Columns that facts do not determine: leases belong to the workers."""


class IntegrityFinding(NamedTuple):
    """A violation: `check` names the invariant, `id` or `position` the place, `what` the
    violation."""

    check: str
    id: str
    what: str
    position: int | None = None
    columns: dict[str, tuple[str | None, str | None]] | None = None
    """Of a row: column → (stored, expected)."""


@dataclass(slots=True)
class Verified:
    """The result of a verification."""

    position: int = 0
    digest: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    findings: list[IntegrityFinding] = field(default_factory=list)
    """At most `REPORTED` of each kind of check; `omitted` counts the rest."""
    omitted: int = 0

    def take(self, found: Iterable[IntegrityFinding]) -> None:
        """Add findings, up to a readable number: a wholly falsified ledger has millions."""
        several = iter(found)
        self.findings += islice(several, REPORTED)
        self.omitted += sum(1 for _ in several)


def verify(
    database_url: str, seals: Sequence[Seal], key: bytes | None, on_progress: OnProgress
) -> Verified:
    """Verify everything. Raises psycopg.Error."""
    with snapshot(database_url) as seen:
        verified = Verified(seen.position, _link_at(seen.connection, seen.position))
        verified.take(_chain(seen, lambda done, total: on_progress(done, 2 * total)))
        for seal in seals:
            verified.take(_seal(seen, seal, key))
            if key is None and seal.signature is not None:
                verified.notes.append(
                    f"The signature of the seal at position {seal.position} was not checked: no "
                    "key was given."
                )
        _rows(seen, verified, lambda done, total: on_progress(total + done, 2 * total))
        verified.take(_invariants(seen.connection))
    return verified


def _chain(seen: DatabaseSnapshot, on_progress: OnProgress) -> Iterator[IntegrityFinding]:
    for found in breaks(_in_order(seen, on_progress)):
        yield IntegrityFinding(
            "hash_chain", f"position {found.position}", found.what, found.position
        )


def _in_order(seen: DatabaseSnapshot, on_progress: OnProgress) -> Iterator[RecordedFact]:
    after = 0
    while chunk := _read(seen, after):
        yield from chunk
        after = chunk[-1].position
        on_progress(after, seen.position)


def _read(seen: DatabaseSnapshot, after: int) -> list[RecordedFact]:
    with seen.connection.cursor(binary=True, row_factory=args_row(RecordedFact)) as cursor:
        cursor.execute(SQL["in_order"], {"after": after, "position": seen.position, "limit": CHUNK})
        return cursor.fetchall()


def _link_at(connection: Blocking, position: int) -> str | None:
    row = connection.execute(SQL["link_at"], (position,)).fetchone()
    return row[0].hex() if row else None


def _seal(seen: DatabaseSnapshot, seal: Seal, key: bytes | None) -> Iterator[IntegrityFinding]:
    where, position = f"seal at position {seal.position}", seal.position
    if key is not None and not seal.is_signed_with(key):
        yield IntegrityFinding(
            "seal",
            where,
            "the seal is not signed with this key: it was changed or forged",
            position,
        )
    if (found := _another_database(seen.connection, seal)) is not None:
        yield IntegrityFinding("seal", where, found, position)
    link = _link_at(seen.connection, position)
    if link is None and position > seen.position:
        what = (
            f"positions {seen.position + 1} to {position} were deleted: the ledger ends at "
            f"position {seen.position}"
        )
        yield IntegrityFinding("seal", where, what, seen.position + 1)
    elif link != seal.digest:
        what = (
            f"the chain has the link {link} instead of the sealed link {seal.digest}: facts up "
            "to here were rewritten"
        )
        yield IntegrityFinding("seal", where, what, position)


def _another_database(connection: Blocking, seal: Seal) -> str | None:
    """Compare the bindings: a value that was unknown when the seal was made may be known by now, a
    known value stays."""
    sealed, now = (seal.mode, seal.account, seal.bound_at), bound(connection)
    if any(
        before is not None and before != after for before, after in zip(sealed, now, strict=True)
    ):
        return (
            f"the seal is of a database bound to {_named(sealed)}, this database is bound to "
            f"{_named(now)}"
        )
    return None


def _named(binding: tuple[str | None, ...]) -> str:
    return " ".join(part or "-" for part in binding)


def _rows(seen: DatabaseSnapshot, verified: Verified, on_progress: OnProgress) -> None:
    result = compared(seen, DERIVED, on_progress)
    verified.rows = {table: found.rows for table, found in result.tables.items()}
    verified.omitted += result.count - len(result.differences)
    verified.take(
        IntegrityFinding("facts", str(one.stream), one.why, one.position)
        for one in result.unreadable
    )
    verified.take(map(_difference, result.differences.values()))


def _difference(difference: RowDifference) -> IntegrityFinding:
    return IntegrityFinding(
        difference.table, difference.id, difference.sentence, columns=difference.columns
    )


def _invariants(connection: Blocking) -> Iterator[IntegrityFinding]:
    connection.execute("set enable_seqscan = on")  # each invariant reads everything
    for name, query in INVARIANTS.items():
        try:
            with connection.transaction():  # a savepoint: falsified values may make the query fail
                found = connection.execute(query).fetchall()
        except psycopg.DataError as error:
            yield IntegrityFinding(
                name, "every row", f"the query failed: {error.diag.message_primary}"
            )
        else:
            for id_, what in found:
                yield IntegrityFinding(name, id_, what)
