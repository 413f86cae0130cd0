"""Recorded transfers, as an import compares its rows with them."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from psycopg.rows import class_row

from application.legacy_import.importer import LegacyRow
from domain.fact import Fact
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.ledger import FactCodec
from infrastructure.postgres.named_queries import queries
from projections.seller_transfers import SellerTransferRow, evolve

SQL = queries("read_models")


class ImportedTransfers:
    """The port `application.legacy_import.importer.RecordedTransfers` on PostgreSQL."""

    def __init__(self, store: EventStore, pool: Pool) -> None:
        self._store, self._pool, self._codec = store, pool, FactCodec()

    async def first_facts(self, ids: Collection[UUID]) -> Mapping[UUID, Fact]:
        """Return the first fact of each of these transfers that exists."""
        recorded = await self._store.load(ids)
        return {stream: self._codec.fact(facts[0]) for stream, facts in recorded.items()}

    async def differing_columns(self, rows: Sequence[LegacyRow]) -> Mapping[int, Sequence[str]]:
        """Return by row number the columns of `seller_transfers` that differ from the row."""
        found = await self._rows([row.fact.originator_id for row in rows])
        return {
            row.number: names
            for row in rows
            if (names := _differing(row, found.get(row.fact.originator_id)))
        }

    async def _rows(self, ids: Sequence[UUID]) -> Mapping[UUID, SellerTransferRow]:
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(SellerTransferRow)) as cursor,
        ):
            await cursor.execute(SQL["some_transfers"], (list(ids),))
            return {row.transfer_id: row for row in await cursor.fetchall()}


def _differing(row: LegacyRow, found: SellerTransferRow | None) -> list[str]:
    if found is None:
        return ["all columns, as the row is missing"]
    if found.version > 1:
        return []
    expected = evolve(None, row.fact)
    ignored = {"updated_at"} | ({"next_retry_at"} if row.due_now else set())
    ignored |= {"created_at"} if row.fact.created_at is None else set()
    return [
        name
        for name in SellerTransferRow._fields
        if name not in ignored and getattr(expected, name) != getattr(found, name)
    ]
