"""Explanations of single things, from their rows, alarms and facts."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.read_side.as_of import AsOfQueries
from infrastructure.postgres.read_side.audit_trail import AuditTrail
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.postgres.read_side.overview import OpenAlarm, Overview
from infrastructure.postgres.read_side.read_models import Filters, ReadModels
from infrastructure.postgres.read_side.search import SearchHit
from infrastructure.service import Storage
from projections.alarm_causes import cause_of
from projections.audit_trail.entries import Entry
from projections.outlook import Outlook, outlook
from projections.seller_transfers import SellerTransferRow
from scripts.commands.hit_outlook import outlook_of
from scripts.commands.output import money

MOST_TRANSFERS = 20
REPEATED = frozenset({"CallStarted", "AttemptDeferred", "Failed"})
"""Facts of attempts: the waiting began before them."""


class Explanation(NamedTuple):
    """One thing: its state, its future and its facts. `since`: the beginning of the waiting."""

    kind: str
    id: str
    title: str
    waits_for: str
    since: datetime | None
    next: str
    to_do: Sequence[str]
    related: Sequence[str]
    alarms: Sequence[OpenAlarm]
    facts: Sequence[Entry]
    now: datetime


async def explained(storage: Storage, hit: SearchHit) -> Explanation:
    """Explain the thing that a search found."""
    reader = _Reader(storage)
    future, related, facts = await reader.future_of(hit)
    alarms = await reader.alarms_of(hit)
    causes = [cause_of(alarm.kind) for alarm in alarms]
    to_do = [f"{one.sentence} (docs/{one.runbook})" for one in dict.fromkeys(causes)]
    return Explanation(
        hit.kind,
        hit.id,
        _title(hit),
        future.waits_for,
        _waiting_since(facts),
        future.next,
        to_do or [future.to_do],
        related,
        alarms,
        facts,
        storage.clock.now(),
    )


class _Reader:
    """Reader of the rows and facts of one thing."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._reads = storage, ReadModels(storage.pool)
        facts = FactReader(storage.store)
        self._trail = AuditTrail(AsOfQueries(storage.pool, facts), facts)

    async def future_of(self, hit: SearchHit) -> tuple[Outlook, list[str], list[Entry]]:
        """Return the outlook, one line for each transfer that belongs to it, and the facts."""
        match hit.kind:
            case "transfer":
                row = await self._reads.transfer(UUID(hit.id))
                assert row is not None, "the search has found its row"
                facts = await self._trail.of_stream(row.transfer_id)
                return await self._outlook(row), await self._reversals(row), facts
            case "order":
                lines = await self._transfers(Filters(order_id=hit.id))
                return outlook_of(hit), lines, await self._trail.of_order(hit.id)
            case "refund":
                stream = await PostgresDirectory(self._storage.pool).refund_named(hit.id)
                facts = await self._trail.of_stream(stream) if stream is not None else []
                lines = await self._transfers(Filters(order_id=hit.order_id))
                return outlook_of(hit), lines, facts
            case "seller":
                lines = await self._transfers(Filters(seller_id=hit.id))
                return outlook_of(hit), lines, []
            case _:
                return outlook_of(hit), [], []

    async def alarms_of(self, hit: SearchHit) -> list[OpenAlarm]:
        """Return the open alarms about the thing, or about a transfer of an order."""
        every = await Overview(self._storage.pool).alarms()
        return [
            alarm
            for alarm in every
            if (alarm.subject_kind, alarm.subject_id) == (hit.kind, hit.id)
            or (hit.kind in ("order", "refund") and alarm.order_id == hit.order_id)
            or (hit.kind == "seller" and alarm.seller_id == hit.id)
        ]

    async def _outlook(self, row: SellerTransferRow) -> Outlook:
        fleet = await PostgresCircuitBreaker(self._storage.pool).state()
        now = self._storage.clock.now()
        return outlook(row, now, fleet.paused, outage=fleet.outage)

    async def _transfers(self, filters: Filters) -> list[str]:
        rows = await self._reads.transfers(filters, MOST_TRANSFERS)
        return [
            f"transfer   {row.transfer_id} of seller {row.seller_id}: "
            f"{money(row.amount, row.currency)}, {row.status}{_taken(row)}. "
            f"{(await self._outlook(row)).waits_for}"
            for row in rows
        ]

    async def _reversals(self, row: SellerTransferRow) -> list[str]:
        reversals = (await self._reads.reversals([row.transfer_id]))[row.transfer_id]
        return [
            f"reversal   {one.reversal_id} of {money(one.amount, one.currency)} for "
            f"{one.refund_id or 'no refund'}: {one.status} {one.stripe_reversal_id or ''}".rstrip()
            for one in reversals
        ]


def _taken(row: SellerTransferRow) -> str:
    """Tell the amount that came back, if any did."""
    return f", {money(row.amount_reversed, row.currency)} reversed" if row.amount_reversed else ""


def _title(hit: SearchHit) -> str:
    amount = (
        f" of {money(hit.amount, hit.currency)}" if hit.amount is not None and hit.currency else ""
    )
    seller = f", seller {hit.seller_id}" if hit.seller_id and hit.kind != "seller" else ""
    order = f", order {hit.order_id}" if hit.order_id and hit.kind != "order" else ""
    status = f": {hit.status}" if hit.status else ""
    return f"{hit.kind} {hit.id}{amount}{seller}{order}{status}"


def _waiting_since(facts: Sequence[Entry]) -> datetime | None:
    """Return the time of the last fact that is no attempt."""
    return next((entry.at for entry in reversed(facts) if entry.fact not in REPEATED), None)
