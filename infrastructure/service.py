"""The running ledger: its open storage, its gateways and its loops."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from application.commands import Commands
from application.loop import Loop
from infrastructure.clock import DatabaseClock
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.postgres.alarms import PostgresAlarms
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.settings import Settings
from infrastructure.stripe.gateway import StripeGateway


@dataclass(slots=True)
class Storage:
    """The database of the ledger, migrated and open: enough for commands that do not call a
    provider."""

    settings: Settings
    database_url: str
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
    loops: Sequence[asyncio.Task[None]] = ()
    draining: bool = field(default=False)

    async def ready(self) -> list[str]:
        """Return the reasons why this process cannot serve now; empty if it can."""
        reasons = ["it is shutting down"] if self.draining else []
        reasons += [f"the loop {task.get_name()} has ended" for task in self.loops if task.done()]
        try:
            async with asyncio.timeout(2), self.pool.connection() as connection:
                await connection.execute("select 1")
        except (psycopg.Error, TimeoutError):  # psycopg_pool's own errors are psycopg errors
            reasons.append("the database does not answer")
        return reasons
