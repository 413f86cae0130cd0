"""Audit trail, read from the facts and the webhooks that caused them."""

from uuid import UUID

from infrastructure.postgres.read_side.as_of import AsOfQueries
from infrastructure.postgres.read_side.fact_reader import FactReader
from projections.audit_trail.entries import Entry, PositionedFact, trail


class AuditTrail:
    """Reads entries, oldest first; an unknown order or stream has none."""

    def __init__(self, past: AsOfQueries, facts: FactReader) -> None:
        self._past, self._facts = past, facts

    async def of_order(self, order_id: str) -> list[Entry]:
        """Return the entries of an order, its refunds and its transfers, merged by position."""
        return await self._entries(await self._past.history_of_order(order_id))

    async def of_stream(self, stream: UUID) -> list[Entry]:
        """Return the entries of one transfer, order or refund.

        The facts of the whole order are read: the cause of a fact may be in another stream of the
        order.
        """
        facts = await self._facts.of(stream)
        order_id = getattr(facts[0].fact, "order_id", None) if facts else None
        whole = await self._past.history_of_order(order_id) if isinstance(order_id, str) else facts
        return [entry for entry in await self._entries(whole) if entry.stream_id == stream]

    async def _entries(self, facts: list[PositionedFact]) -> list[Entry]:
        return list(trail(facts, await self._past.webhooks_behind(facts))) if facts else []
