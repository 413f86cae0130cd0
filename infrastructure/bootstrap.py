"""Composition root: the only place that builds the real parts, starts them in order, and drains
them in reverse."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta

import structlog

from application.commands import commands_on
from domain.pause import LOOK_UP_FIRST
from domain.provider_call.outcome import LookUpFailed
from domain.seller_transfer.opening_facts import LONG_AGO
from infrastructure.clock import DatabaseClock
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.log_config import name_mode
from infrastructure.postgres import migrate
from infrastructure.postgres.alarms import PostgresAlarms
from infrastructure.postgres.bound_account import bind, require_binding
from infrastructure.postgres.connections import Pool, connect, fetch_one, new_pool
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.embedded.client import EmbeddedPostgres
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.ledger import LEDGER, NEWER_RELEASE, PostgresEventLog
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.postgres.rights import require_rights
from infrastructure.postgres.server_checks import await_server, open_pool
from infrastructure.postgres.work_queue import PostgresWorkQueue
from infrastructure.runtime import at_work
from infrastructure.service import Service, Storage
from infrastructure.settings import Settings
from infrastructure.simulators.selection import made_secret, providers
from infrastructure.stripe.gateway import StripeGateway

MOST_READ = 100
"""Number of last facts that tell when the backup was made."""
ACCOUNT_WITHIN = 5.0
"""Seconds for reading the account of the key at Stripe; a start does not wait for the end of an
outage."""


log = structlog.get_logger()


@asynccontextmanager
async def stored(settings: Settings, *, writes: bool = False) -> AsyncIterator[Storage]:
    """Open the ledger's database for a command, as it is: not migrated, not bound.

    `writes`: the command decides, so its role needs the rights of the app. Raises NotNow,
    UnusableServer, MissingRight, MigrationError, EmbeddedPostgresError, psycopg.OperationalError.
    """
    async with AsyncExitStack() as stack:
        database_url = await _database(settings, stack)
        await require_ledger(database_url, writes=writes)
        yield await _storage(settings, database_url, stack)


@asynccontextmanager
async def running(
    settings: Settings, *, loops: bool = True, look_up_first: bool = False, writes: bool = False
) -> AsyncIterator[Service]:
    """Run a ledger: migrated, bound to its mode, and at work; drained at the end.

    Without `loops`, for a command: neither migrated nor bound. `look_up_first`, after a restore
    from a backup: no process sends a request before it has looked for it at Stripe. Raises
    WrongBinding, SimulatorNotStarted, and the errors of `stored`.
    """
    name_mode(settings.mode)
    async with AsyncExitStack() as stack:
        database_url = await _database(settings, stack)
        if loops:
            await await_server(database_url, settings.start_timeout, writable=True)
            await asyncio.to_thread(migrate.up, database_url)
        await require_ledger(database_url, writes=loops or writes)
        service = await _service(await _storage(settings, database_url, stack), stack)
        compare = bind if loops else require_binding
        bound = await compare(service.pool, settings.mode)  # before the first use of a live key
        service.ledger_id = str(bound.ledger_id) if bound is not None else None
        await compare(service.pool, settings.mode, await _account(service))
        if settings.mode == "simulator":
            log.warning(
                "no STRIPE_API_KEY: transfers go to the simulator, no money moves",
                stripe=service.stripe_url,
            )
        if settings.psp_mode == "simulator":
            log.warning(
                "payments and refunds go to the simulated payment provider", psp=service.psp_url
            )
        if look_up_first:
            await _look_up_first(service)
        if loops:
            await service.alarms.clear(NEWER_RELEASE, LEDGER)
            await stack.enter_async_context(at_work(service))
        yield service


async def require_ledger(database_url: str, *, writes: bool = False) -> None:
    """Compare server, rights and schema with the needs of a command, and change nothing."""
    await await_server(database_url, timedelta(0), writable=False)
    connection = await connect(database_url)
    try:
        await require_rights(connection, writes=writes)
    finally:
        await connection.close()
    await asyncio.to_thread(migrate.require_newest, database_url)


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """Yield the database's URL, without migrating or binding the database. Raises
    EmbeddedPostgresError."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    embedded = EmbeddedPostgres(settings.data_dir / "postgres")
    try:
        yield embedded.acquire()
    finally:
        embedded.release()


@contextmanager
def checked_database(settings: Settings) -> Iterator[str]:
    """Yield the database's URL for a reading command without an event loop, after
    `require_ledger`."""
    with database(settings) as url:
        asyncio.run(require_ledger(url))
        yield url


async def _database(settings: Settings, stack: AsyncExitStack) -> str:
    opened = database(settings)
    stack.callback(opened.__exit__, None, None, None)
    return await asyncio.to_thread(opened.__enter__)


async def _storage(settings: Settings, database_url: str, stack: AsyncExitStack) -> Storage:
    pool = new_pool(database_url)
    stack.push_async_callback(pool.close)
    await open_pool(pool, database_url, settings.start_timeout)
    store = EventStore(database_url, pool)
    inbox = PostgresInbox(database_url, pool, measured=store.measured)
    for opened in (store, inbox):
        await opened.start()
        stack.push_async_callback(opened.aclose)
    clock = DatabaseClock()
    await _measure(clock, pool)
    commands = commands_on(
        PostgresEventLog(store), PostgresDirectory(pool), clock, PostgresWorkQueue(pool)
    )
    return Storage(
        settings, database_url, pool, store, inbox, PostgresAlarms(pool), clock, commands
    )


async def _measure(clock: DatabaseClock, pool: Pool) -> None:
    """Measure the database's clock before the first fact: the clock of this host may be wrong."""
    asked = clock.now()
    row = await fetch_one(pool, b"select clock_timestamp()")
    assert row, "the statement always returns a row"
    clock.observe(asked, row[0])


async def _service(storage: Storage, stack: AsyncExitStack) -> Service:
    settings = storage.settings
    named = await providers(settings, stack)
    timeout = settings.stripe_timeout.total_seconds()
    gateway = await stack.enter_async_context(
        StripeGateway(named.stripe_key, named.stripe_url, timeout, settings.stripe_max_concurrency)
    )
    psp = None
    if named.psp_url is not None:
        psp = await stack.enter_async_context(
            HyperswitchGateway(named.psp_key, named.psp_url, timeout)
        )
    if named.psp_builtin and not settings.hyperswitch_webhook_secrets:
        settings = replace(settings, hyperswitch_webhook_secrets=made_secret())
    return Service(
        settings,
        storage.database_url,
        storage.pool,
        storage.store,
        storage.inbox,
        storage.alarms,
        storage.clock,
        storage.commands,
        named.stripe_url,
        gateway,
        psp,
        named.psp_url,
        named.psp_builtin,
    )


async def _account(service: Service) -> str | None:
    try:
        async with asyncio.timeout(ACCOUNT_WITHIN):
            return await service.gateway.account()
    except (LookUpFailed, TimeoutError) as unread:
        log.warning("the account of the key at Stripe is unknown", error=str(unread))
        return None


async def _look_up_first(service: Service) -> None:
    """Make every call start with a look-up: Stripe may have requests from after the last fact of
    the backup."""
    last = await FactReader(service.store).last(MOST_READ)
    # the earliest of several, since one may have been stamped by a clock that was ahead
    since = min([fact.timestamp for fact in last], default=LONG_AGO)
    await service.commands.operator.pause(
        LOOK_UP_FIRST, "serve --look-up-first", "Stripe may know more", lost_since=since
    )
    log.warning(
        "every call starts with a look-up",
        lost_since=since.isoformat(),
        end="transfer-ledger resume --look-up-first",
    )
