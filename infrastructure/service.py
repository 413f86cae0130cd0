"""The running ledger: its open storage, its gateways and its loops."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from application.commands import Commands
from application.loop import Loop
from application.overdue_work import DueWork, NextDue
from infrastructure.clock import DatabaseClock
from infrastructure.fact_news import FactNews
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.postgres.alarms import PostgresAlarms
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.work_queue import PostgresWorkQueue
from infrastructure.readiness import Readiness
from infrastructure.settings import Settings
from infrastructure.stripe.gateway import StripeGateway


@dataclass(slots=True)
class Storage:
    """The database of the ledger, migrated and open: enough for commands that do not call a
    provider."""

    settings: Settings
    database_url: str = field(repr=False)
    pool: Pool
    store: EventStore
    inbox: PostgresInbox
    alarms: PostgresAlarms
    clock: DatabaseClock
    commands: Commands


@dataclass(slots=True)
class Service(Storage):
    """A running ledger, for the web, the command line and the tests."""

    stripe_url: str
    gateway: StripeGateway
    psp: HyperswitchGateway | None = None
    """None: no PSP is configured for payments and refunds."""
    psp_url: str | None = None
    psp_builtin: bool = False
    ledger_id: str | None = None
    """The identity of the database, in idempotency keys and in metadata at Stripe."""
    workers: Sequence[Loop] = ()
    running: Sequence[tuple[Loop, asyncio.Task[None]]] = ()
    draining: bool = field(default=False)
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a loop has ended unasked: the process has to drain and to end with an error."""
    news: FactNews = field(default_factory=FactNews)
    _readiness: Readiness | None = None

    @property
    def due_work(self) -> DueWork:
        transfers, refunds, orders = (
            PostgresWorkQueue(self.pool, "seller_transfers"),
            PostgresWorkQueue(self.pool, "refunds"),
            PostgresWorkQueue(self.pool, "orders"),
        )
        kinds: dict[str, NextDue] = {
            "transferring": partial(transfers.next_due, "transferring"),
            "reversing": partial(transfers.next_due, "reversing"),
            "refunding": partial(refunds.next_due, "refunding"),
            "funding": partial(orders.next_due, "funding"),
            "webhooks": self.inbox.next_due,
        }
        return DueWork(kinds, self.clock)

    async def ready(self) -> list[str]:
        """Return the reasons why this process cannot serve now; empty if it can."""
        if self._readiness is None:
            self._readiness = Readiness(self.pool, self.store, self.inbox)
        reasons = ["it is shutting down"] if self.draining else []
        return reasons + await self._readiness.reasons(self.running)
