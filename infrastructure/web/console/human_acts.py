"""Acts of people, found among the newest facts by their kind."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from domain.pause import LEDGER
from infrastructure.postgres.connections import fetch_rows
from infrastructure.postgres.event_store import RecordedFact
from infrastructure.postgres.ledger import FactCodec
from infrastructure.postgres.named_queries import queries
from infrastructure.service import Storage
from projections.registry import sentence

SQL = queries("console")
TOPICS: Final = [
    "ledger.seller_transfer.retry_requested",
    "ledger.seller_transfer.reopened",
    "ledger.seller_transfer.resolved",
    "ledger.seller_transfer.redirected",
    "ledger.seller_transfer.stripe_transfer_id_backfilled",
    "ledger.seller_transfer.alarm_acknowledged",
    "ledger.order.alarm_acknowledged",
    "ledger.refund.alarm_acknowledged",
    "ledger.order.set_aside_decided",
    "ledger.order.charge_read_requested",
    "ledger.dispute.part_decided",
    "ledger.finding.adopted",
    "ledger.finding.ignored",
    "ledger.finding.ignore_taken_back",
    "ledger.seller_account.moved",
    "ledger.switch.paused",
    "ledger.switch.resumed",
    "ledger.webhook.discarded",
    "ledger.webhook.replay_requested",
]
"""Facts that a person causes, and that name the person."""
PAGE: Final = 100
WINDOW: Final = 50_000
"""Positions that one page looks at: acts of people are rare, and no index finds them."""


class HumanAct(NamedTuple):
    """One act. `stream` is the kind of its object."""

    position: int
    stream: str
    stream_id: UUID
    at: datetime
    actor: str
    sentence: str


async def human_acts(storage: Storage, before: int | None) -> tuple[list[HumanAct], int | None]:
    """Return acts before a position, newest first, and the position before which older ones may
    be."""
    before = await storage.store.head() + 1 if before is None else before
    after = max(0, before - 1 - WINDOW)
    values = {"after": after, "before": before, "topics": TOPICS, "limit": PAGE}
    rows = await fetch_rows(storage.pool, RecordedFact, SQL["human_acts"], values)
    acts = [act for row in rows if (act := _act(row)) is not None]
    oldest = rows[-1].position if len(rows) == PAGE else after + 1
    return acts, oldest if oldest > 1 else None


def _act(row: RecordedFact) -> HumanAct | None:
    fact = FactCodec().fact(row)
    actor = getattr(fact, "actor", None)
    if not isinstance(actor, str) or actor == LEDGER or actor.startswith("stripe:"):
        return None
    return HumanAct(
        row.position,
        row.topic.split(".")[1],
        row.originator_id,
        fact.timestamp,
        actor,
        sentence(fact, None),
    )
