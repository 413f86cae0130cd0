"""The books of a run, read for an oracle."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields

from infrastructure.simulation.book_comparison import Snapshot, compared
from infrastructure.simulation.faults.books import (
    Acknowledged,
    HeldDispute,
    HeldPayment,
    HeldRefund,
    HeldReversal,
    HeldTransfer,
    Json,
    StoredFactView,
    StripeRequest,
)
from infrastructure.simulation.faults.world import FaultWorld
from infrastructure.simulation.in_memory.constraints import KINDS
from infrastructure.simulation.in_memory.inbox import Webhook
from infrastructure.simulation.virtual_time import epoch_seconds

_INBOX = [column.name for column in fields(Webhook)]


class WorldBooks:
    """See `books.Books`."""

    def __init__(self, world: FaultWorld) -> None:
        self._world = world

    @property
    def now(self) -> float:
        return epoch_seconds()

    @property
    def step(self) -> str:
        return self._world.story[-1] if self._world.story else ""

    @property
    def era(self) -> int:
        return self._world.era

    @property
    def phase(self) -> str:
        return self._world.phase

    @property
    def transfers(self) -> Sequence[HeldTransfer]:
        books = self._world.stripe.world.books
        reversals = books.reversals.by_id
        return [
            HeldTransfer(
                row.id,
                row.amount,
                row.amount_reversed,
                row.currency,
                row.destination,
                row.source_transaction,
                row.created,
                row.metadata,
                [
                    HeldReversal(
                        one.id, one.transfer, one.amount, one.status, one.created, one.metadata
                    )
                    for one in map(reversals.__getitem__, row.reversals)
                ],
            )
            for row in books.transfers
        ]

    @property
    def requests(self) -> Sequence[StripeRequest]:
        return self._world.requests

    @property
    def stripe_violations(self) -> Sequence[str]:
        return self._world.stripe.violations

    @property
    def available(self) -> Mapping[str, Mapping[str, int]]:
        holders = self._world.stripe.world.books.balances.by_holder()
        return {holder: buckets["available"] for holder, buckets in holders.items()}

    @property
    def payments(self) -> Sequence[HeldPayment]:
        return [
            HeldPayment(
                row.payment_id,
                (row.metadata or {}).get("order_id"),
                row.amount,
                row.amount_received,
                row.currency,
                row.status,
            )
            for row in self._world.psp.world.books.payments.values()
        ]

    @property
    def refunds(self) -> Sequence[HeldRefund]:
        return [
            HeldRefund(row.refund_id, row.payment_id, row.amount, row.currency, row.status)
            for row in self._world.psp.world.books.refunds.values()
        ]

    @property
    def disputes(self) -> Sequence[HeldDispute]:
        return [
            HeldDispute(row.dispute_id, row.payment_id, row.amount, row.currency, row.status)
            for row in self._world.psp.world.books.disputes.values()
        ]

    @property
    def acknowledged(self) -> Sequence[Acknowledged]:
        return self._world.acknowledged

    def facts(self, after: int = 0) -> Sequence[StoredFactView]:
        return self._world.facts[after:]

    def rows(self, table: str) -> Sequence[Json]:
        database = self._world.fleet.database
        if table == "alarms":
            return [row._asdict() for row in database.alarms.rows()]
        if table == "webhook_inbox":
            return [
                {column: getattr(row, column) for column in _INBOX}
                for row in database.inbox.rows.values()
            ]
        return [row._asdict() for row in database.tables[table].values()]

    @property
    def comparison(self) -> Sequence[str]:
        database = self._world.fleet.database
        rows = {table: list(database.tables[table].values()) for table in KINDS}
        inbox = Counter(row.status for row in database.inbox.rows.values())
        snapshot = Snapshot(database.recorded, rows, inbox)
        stripe, restored = self._world.stripe, self._world.era > 0
        return compared(snapshot, stripe.transfers, stripe.violations, restored=restored)
