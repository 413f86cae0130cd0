"""Verify: is anything in this database not what it must be? Everything is read in one snapshot, and nothing is changed.

The chain is recomputed from the facts, every table that facts determine is derived anew, and the laws that must always hold
are asked of the whole. Every finding names its position in the ledger, or the id of its row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import psycopg
from psycopg.rows import args_row

from infrastructure.postgres.event_store import Recorded
from infrastructure.postgres.integrity.hash_chain import breaks
from infrastructure.postgres.integrity.rebuild import REPORTED, compared
from infrastructure.postgres.integrity.replay import CHUNK, SQL, Blocking
from infrastructure.postgres.integrity.row_diff import Difference
from infrastructure.postgres.integrity.seals import Seal, bound
from infrastructure.postgres.integrity.snapshot import OnProgress, Snapshot, snapshot
from infrastructure.postgres.named_queries import queries
from projections.registry import DERIVED

LAWS = queries("invariants")

NOT_DERIVED = {
    "ledger_events": "the facts themselves: the hash chain and the seals speak for them",
    "ledger_migrations": "which migrations were applied is no fact of the ledger; `migrate status` compares it with the files",
    "ledger_binding": "decided by the first start, before any fact; a seal carries it along",
    "breaker": "whether Stripe answers now: found out anew by probes",
    "pace": "when the next call may go out: forgotten after a second",
    "webhook_polls": "how far providers were asked what webhooks should have told: behind, it is asked again, and stored once",
    "webhook_inbox": "comes from outside before there is any fact; that facts and webhooks name each other is checked by laws",
}
"""Tables that facts do not determine, and why; every other table has an entry in `projections.registry.DERIVED`."""

NOT_FOLDED = dict.fromkeys(("seller_transfers", "refunds"), frozenset({"leased_by", "leased_until"}))
"""Columns that facts do not determine: a lease belongs to the workers."""


class Finding(NamedTuple):
    """Something that is not as it must be. `check` says which law, `id` or `position` where, `what` in which way."""

    check: str
    id: str
    what: str
    position: int | None = None
    columns: dict[str, tuple[str | None, str | None]] | None = None
    """Of a row: column → (as it is, as its facts have it)."""


@dataclass(slots=True)
class Verified:
    """What was looked at, and what was found."""

    position: int = 0
    digest: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    """At most `REPORTED` of each kind of check; `omitted` counts the rest."""
    omitted: int = 0

    def take(self, found: Iterable[Finding]) -> None:
        """Keep what is worth reading: of a wholly falsified ledger that is not every line."""
        several = iter(found)
        self.findings += islice(several, REPORTED)
        self.omitted += sum(1 for _ in several)


def verify(database_url: str, seals: Sequence[Seal], key: bytes | None, on_progress: OnProgress) -> Verified:
    """Look at everything. Raises psycopg.Error."""
    with snapshot(database_url) as seen:
        verified = Verified(seen.position, _link_at(seen.connection, seen.position))
        verified.take(_chain(seen, lambda done, total: on_progress(done, 2 * total)))
        for seal in seals:
            verified.take(_seal(seen, seal, key))
            if key is None and seal.signature is not None:
                verified.notes.append(f"The signature of the seal at position {seal.position} was not checked: no key was given.")
        _rows(seen, verified, lambda done, total: on_progress(total + done, 2 * total))
        verified.take(_laws(seen.connection))
    return verified


def _chain(seen: Snapshot, on_progress: OnProgress) -> Iterator[Finding]:
    for found in breaks(_in_order(seen, on_progress)):
        yield Finding("hash_chain", f"position {found.position}", found.what, found.position)


def _in_order(seen: Snapshot, on_progress: OnProgress) -> Iterator[Recorded]:
    after = 0
    while chunk := _read(seen, after):
        yield from chunk
        after = chunk[-1].position
        on_progress(after, seen.position)


def _read(seen: Snapshot, after: int) -> list[Recorded]:
    with seen.connection.cursor(binary=True, row_factory=args_row(Recorded)) as cursor:
        cursor.execute(SQL["in_order"], {"after": after, "position": seen.position, "limit": CHUNK})
        return cursor.fetchall()


def _link_at(connection: Blocking, position: int) -> str | None:
    row = connection.execute(SQL["link_at"], (position,)).fetchone()
    return row[0].hex() if row else None


def _seal(seen: Snapshot, seal: Seal, key: bytes | None) -> Iterator[Finding]:
    where, position = f"seal at position {seal.position}", seal.position
    if key is not None and not seal.is_signed_with(key):
        yield Finding("seal", where, "it is not signed with this key: the seal itself was changed or forged", position)
    if (found := _another_database(seen.connection, seal)) is not None:
        yield Finding("seal", where, found, position)
    link = _link_at(seen.connection, position)
    if link is None and position > seen.position:
        what = f"positions {seen.position + 1} to {position} were cut off: the ledger ends at position {seen.position}"
        yield Finding("seal", where, what, seen.position + 1)
    elif link != seal.digest:
        what = f"the chain does not pass through the sealed link {seal.digest}, it has {link}: facts up to here were rewritten"
        yield Finding("seal", where, what, position)


def _another_database(connection: Blocking, seal: Seal) -> str | None:
    """What was not known when the seal was made may be known by now; what was known stays."""
    sealed, now = (seal.mode, seal.account, seal.bound_at), bound(connection)
    if any(before is not None and before != after for before, after in zip(sealed, now, strict=True)):
        return f"it was made of a database bound to {_named(sealed)}, this one is bound to {_named(now)}"
    return None


def _named(binding: tuple[str | None, ...]) -> str:
    return " ".join(part or "-" for part in binding)


def _rows(seen: Snapshot, verified: Verified, on_progress: OnProgress) -> None:
    result = compared(seen, DERIVED, on_progress)
    verified.rows = {table: found.rows for table, found in result.tables.items()}
    verified.omitted += result.count - len(result.differences)
    verified.take(Finding("facts", str(one.stream), one.why, one.position) for one in result.unreadable)
    verified.take(map(_difference, result.differences.values()))


def _difference(difference: Difference) -> Finding:
    return Finding(difference.table, difference.id, difference.sentence, columns=difference.columns)


def _laws(connection: Blocking) -> Iterator[Finding]:
    connection.execute("set enable_seqscan = on")  # each law reads everything
    for law, query in LAWS.items():
        try:
            with connection.transaction():  # a savepoint: what is falsified may be beyond asking
                found = connection.execute(query).fetchall()
        except psycopg.DataError as error:
            yield Finding(law, "every row", f"it cannot be asked: {error.diag.message_primary}")
        else:
            for id_, what in found:
                yield Finding(law, id_, what)
