"""The audit trail, read from the facts and the webhooks behind them."""

from uuid import UUID

from infrastructure.postgres.as_of import Past
from infrastructure.postgres.fact_reader import History
from projections.audit_trail.entries import Entry, PositionedFact, trail


class AuditTrail:
    """Entries oldest first; empty where there is nothing to tell of."""

    def __init__(self, past: Past, history: History) -> None:
        self._past, self._history = past, history

    async def of_order(self, order_id: str) -> list[Entry]:
        """An order, its refunds and its transfers, merged by position."""
        return await self._told(await self._past.history_of_order(order_id))

    async def of_stream(self, stream: UUID) -> list[Entry]:
        """One transfer, order or refund. The whole order is read: who was behind a fact may only be said beside it."""
        told = await self._history.of(stream)
        order_id = getattr(told[0].fact, "order_id", None) if told else None
        whole = await self._past.history_of_order(order_id) if isinstance(order_id, str) else told
        return [entry for entry in await self._told(whole) if entry.stream_id == stream]

    async def _told(self, told: list[PositionedFact]) -> list[Entry]:
        return list(trail(told, await self._past.webhooks_behind(told))) if told else []
