"""The only place where everything meets: real parts are built here, started in order, and drained in reverse."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import structlog

from application.hyperswitch_reactions import HyperswitchReactions
from application.inbox import InboxLoop
from application.ledger import TransferLedger
from application.recording import Recorder
from application.reversing import Reversing
from application.settlements import Errand, Forgiven
from application.traffic import TrafficWatch
from application.transferring import Transferring
from application.webhooks import WebhookReactions
from application.working import Limits, Worker
from domain.outcomes import LookUpFailed
from domain.switch import UNSEEN
from infrastructure.clock import DatabaseClock
from infrastructure.logs import name_mode
from infrastructure.postgres import migrate
from infrastructure.postgres.alarms import Alarms
from infrastructure.postgres.binding import bind
from infrastructure.postgres.connections import Pool, new_pool
from infrastructure.postgres.embedded import EmbeddedPostgres
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.history import History
from infrastructure.postgres.inbox import Inbox
from infrastructure.postgres.ledger import PostgresDirectory, PostgresLedger
from infrastructure.postgres.listen import Listener
from infrastructure.postgres.pace import Pace
from infrastructure.postgres.traffic import Traffic
from infrastructure.postgres.work import Work
from infrastructure.settings import SIMULATOR_KEY, STRIPE, Settings, WorkSettings
from infrastructure.stripe.builtin import BuiltinSimulator
from infrastructure.stripe.gateway import StripeGateway

DATA = Path(".data")
DRAIN_MARGIN = timedelta(seconds=5)
ACCOUNT_WITHIN = 5.0
"""Seconds for asking Stripe whose key this is; a start does not wait for an outage to end."""

log = structlog.get_logger()


@dataclass(slots=True)
class Storage:
    """The ledger's database, migrated and open: all that commands need which call nobody at Stripe."""

    settings: Settings
    database_url: str
    pool: Pool
    store: EventStore
    inbox: Inbox
    alarms: Alarms
    clock: DatabaseClock
    ledger: TransferLedger


@dataclass(slots=True)
class Service(Storage):
    """A running ledger: what the web, the command line and the tests work with."""

    stripe_url: str
    gateway: StripeGateway
    workers: Sequence[Worker] = ()
    loops: Sequence[asyncio.Task[None]] = ()
    draining: bool = field(default=False)

    async def ready(self) -> list[str]:
        """Why this process cannot serve now; empty when it can."""
        reasons = ["it is shutting down"] if self.draining else []
        reasons += [f"the loop {task.get_name()} has ended" for task in self.loops if task.done()]
        try:
            async with asyncio.timeout(2), self.pool.connection() as connection:
                await connection.execute("select 1")
        except (psycopg.Error, TimeoutError):  # psycopg_pool's own errors are psycopg errors
            reasons.append("the database does not answer")
        return reasons


@asynccontextmanager
async def stored(settings: Settings) -> AsyncIterator[Storage]:
    """The ledger's database, migrated.

    Raises MigrationError, EmbeddedPostgresError, psycopg.OperationalError.
    """
    async with AsyncExitStack() as stack:
        yield await _storage(settings, stack)


@asynccontextmanager
async def running(settings: Settings, *, loops: bool = True, look_up_first: bool = False) -> AsyncIterator[Service]:
    """A ledger that is migrated, bound to its mode, and at work; on leaving it is drained.

    `look_up_first`, after a restore from a backup: nobody of the fleet sends what was not looked up at Stripe before.
    Raises WrongBinding, SimulatorNotStarted, and what `stored` raises.
    """
    name_mode(settings.mode)
    async with AsyncExitStack() as stack:
        storage = await _storage(settings, stack)
        service = await _service(storage, stack)
        await bind(service.pool, settings.mode)  # before a live key is used for anything at all
        await bind(service.pool, settings.mode, await _account(service))
        if settings.mode == "simulator":
            log.warning("no STRIPE_API_KEY: transfers go to the simulator, no money moves", stripe=service.stripe_url)
        if look_up_first:
            await _look_up_first(service)
        if loops:
            await stack.enter_async_context(_at_work(service))
        yield service


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The database's URL, as it is: neither migrated nor bound. Raises EmbeddedPostgresError."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    embedded = EmbeddedPostgres(DATA / "postgres")
    try:
        yield embedded.acquire()
    finally:
        embedded.release()


async def _database(settings: Settings, stack: AsyncExitStack) -> str:
    opened = database(settings)
    stack.callback(opened.__exit__, None, None, None)
    return await asyncio.to_thread(opened.__enter__)


async def _stripe(settings: Settings, stack: AsyncExitStack) -> tuple[str, str]:
    """Key and base URL. Without a key: the built-in simulator, one for each database, or the one that is named."""
    if settings.stripe_api_key is not None:
        return settings.stripe_api_key, settings.stripe_api_base or STRIPE
    if settings.stripe_api_base is not None:
        return SIMULATOR_KEY, settings.stripe_api_base
    suffix = f"-{hashlib.sha256(settings.database_url.encode()).hexdigest()[:12]}" if settings.database_url else ""
    simulator = BuiltinSimulator(DATA / f"simulator{suffix}")
    stack.callback(simulator.release)
    return SIMULATOR_KEY, await asyncio.to_thread(simulator.acquire)


async def _storage(settings: Settings, stack: AsyncExitStack) -> Storage:
    database_url = await _database(settings, stack)
    await asyncio.to_thread(migrate.up, database_url)
    pool = new_pool(database_url)
    stack.push_async_callback(pool.close)
    await pool.open(wait=True)
    store, inbox = EventStore(database_url, pool), Inbox(database_url, pool)
    for opened in (store, inbox):
        await opened.start()
        stack.push_async_callback(opened.aclose)
    clock = DatabaseClock()
    ledger = TransferLedger(PostgresLedger(store), PostgresDirectory(pool), clock)
    return Storage(settings, database_url, pool, store, inbox, Alarms(pool), clock, ledger)


async def _service(storage: Storage, stack: AsyncExitStack) -> Service:
    settings = storage.settings
    key, stripe_url = await _stripe(settings, stack)
    timeout = settings.stripe_timeout.total_seconds()
    gateway = await stack.enter_async_context(StripeGateway(key, stripe_url, timeout, settings.stripe_max_concurrency))
    return Service(
        settings,
        storage.database_url,
        storage.pool,
        storage.store,
        storage.inbox,
        storage.alarms,
        storage.clock,
        storage.ledger,
        stripe_url,
        gateway,
    )


async def _account(service: Service) -> str | None:
    try:
        async with asyncio.timeout(ACCOUNT_WITHIN):
            return await service.gateway.account()
    except (LookUpFailed, TimeoutError) as unread:
        log.warning("Stripe did not say whose key this is", error=str(unread))
        return None


async def _look_up_first(service: Service) -> None:
    """Stripe may hold what came after the last fact of the backup."""
    newest = await History(service.store).newest()
    now = service.clock.now()
    since = newest.timestamp if newest is not None else now
    await service.ledger.pause(UNSEEN, "serve --look-up-first", "restored from a backup", lost_since=since)
    log.warning("looks come first", lost_since=since.isoformat(), end="transfer-ledger resume --look-up-first")


@asynccontextmanager
async def _at_work(service: Service) -> AsyncIterator[None]:
    """The loops; on leaving, calls in flight are recorded before this returns."""
    inbox, watch = _inbox_loop(service), traffic_watch(service)
    await watch.refresh()  # nothing is claimed before it is known what is paused
    service.workers = _workers(service, watch)
    listener = Listener(service.database_url)
    listener.on("webhook_inbox", inbox.wake)
    listener.on("ledger_work", watch.wake)
    for worker in service.workers:
        for channel in ("ledger_events", "ledger_work"):
            listener.on(channel, worker.wake)
    await listener.start()
    running: list[InboxLoop | TrafficWatch | Worker] = [inbox, watch, *service.workers]
    service.loops = [asyncio.create_task(loop.run(), name=type(loop).__name__) for loop in running]
    try:
        yield
    finally:
        service.draining = True
        for loop in running:
            loop.stop()
        longest = (service.settings.stripe_timeout + DRAIN_MARGIN).total_seconds()
        await asyncio.wait(service.loops, timeout=longest)
        await _end(service.loops)
        await listener.aclose()


async def _end(loops: Sequence[asyncio.Task[None]]) -> None:
    """What has not drained by now is cut: its intents are stored, so whoever comes next goes on under the same keys."""
    for task in loops:
        task.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


def _inbox_loop(service: Service) -> InboxLoop:
    directory = PostgresDirectory(service.pool)
    reactions = WebhookReactions(hyperswitch=HyperswitchReactions(service.ledger, directory).by_type())
    settings = service.settings
    return InboxLoop(
        service.inbox,
        reactions,
        service.alarms,
        service.clock,
        parked_deadline=settings.parked_deadline,
        lease=settings.lease,
    )


def traffic_watch(service: Service) -> TrafficWatch:
    """What listens to Stripe's answers together, and knows what is paused."""
    ledger = PostgresLedger(service.store)
    recorder = Recorder(ledger, service.clock)

    async def forgive(transfer_id: UUID, what: str, attempt: int) -> None:
        await recorder.record(transfer_id, await ledger.load([transfer_id]), Forgiven(what, attempt))

    return TrafficWatch(Traffic(service.pool), service.gateway, service.alarms, forgive=forgive, stop=service.ledger.pause)


def _workers(service: Service, watch: TrafficWatch) -> list[Worker]:
    settings = service.settings
    slots = asyncio.Semaphore(settings.stripe_max_concurrency)
    errands: list[tuple[Errand, WorkSettings]] = [
        (Transferring(service.gateway, PostgresDirectory(service.pool), settings.policy(settings.transfers)), settings.transfers),
        (Reversing(service.gateway, settings.policy(settings.reversals)), settings.reversals),
    ]
    return [_worker(service, watch, errand, work, slots) for errand, work in errands if work.enabled]


def _worker(service: Service, watch: TrafficWatch, errand: Errand, work: WorkSettings, slots: asyncio.Semaphore) -> Worker:
    settings, pool = service.settings, service.pool
    capacity = 2 * settings.stripe_max_concurrency
    limits = Limits(capacity, settings.lease, work.check_interval)
    pace = Pace(pool, settings.stripe_max_rps)
    return Worker(errand, PostgresLedger(service.store), Work(pool), pace, watch, service.clock, slots, limits)
