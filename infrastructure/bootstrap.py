"""The only place where everything meets: real parts are built here, started in order, and drained in reverse."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import psycopg
import structlog

from application.hyperswitch_disputes import HyperswitchDisputes
from application.hyperswitch_reactions import HyperswitchReactions
from application.inbox import InboxLoop
from application.ledger import TransferLedger
from application.out_of_band import StripesBooks
from application.payment_gateway import PaymentGateway
from application.recording import Recorder
from application.refunding import Refunding, Unheard
from application.reversing import Reversing
from application.sellers_work import SellersWork
from application.settlements import Errand, Forgiven, Settlement
from application.stripe_accounts import StripeAccounts
from application.stripe_objects import StripesObjects
from application.stripe_payments import StripePayments
from application.stripe_reactions import stripe_reactions
from application.stripe_transfers import StripeTransfers
from application.traffic import TrafficWatch
from application.transferring import Transferring
from application.webhooks import Reaction, WebhookReactions
from application.working import Limits, Worker
from domain.outcomes import LookUpFailed
from domain.refunding import FOR_EVER
from domain.seller_transfer import SellerTransfer
from domain.switch import UNSEEN
from infrastructure.clock import DatabaseClock
from infrastructure.hyperswitch.gateway import HyperswitchGateway
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
from infrastructure.postgres.refund_work import RefundWork
from infrastructure.postgres.traffic import Traffic
from infrastructure.postgres.work import Work
from infrastructure.providers import DATA, made_secret, providers
from infrastructure.settings import Settings, WorkSettings
from infrastructure.stripe.gateway import StripeGateway

DRAIN_MARGIN = timedelta(seconds=5)
ACCOUNT_WITHIN = 5.0
"""Seconds for asking Stripe whose key this is; a start does not wait for an outage to end."""

PSP_CONCURRENCY = 20
PSP_MAX_RPS = 40.0
"""Half of what the PSP takes, which others use too."""

log = structlog.get_logger()


class Loop(Protocol):
    """What runs until it is stopped, and may be woken."""

    async def run(self) -> None: ...
    def wake(self) -> None: ...
    def stop(self) -> None: ...


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
    psp: HyperswitchGateway | None = None
    """None: nobody can be asked for payments and refunds."""
    psp_url: str | None = None
    psp_builtin: bool = False
    workers: Sequence[Loop] = ()
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
        if settings.psp_mode == "simulator":
            log.warning("payments and refunds go to the simulated payment provider", psp=service.psp_url)
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
    named = await providers(settings, stack)
    timeout = settings.stripe_timeout.total_seconds()
    gateway = await stack.enter_async_context(
        StripeGateway(named.stripe_key, named.stripe_url, timeout, settings.stripe_max_concurrency)
    )
    psp = None
    if named.psp_url is not None:
        psp = await stack.enter_async_context(HyperswitchGateway(named.psp_key, named.psp_url, timeout))
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
        storage.ledger,
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
    running: list[Loop] = [inbox, watch, *service.workers]
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
    settings = service.settings
    reactions = WebhookReactions(
        hyperswitch={
            **HyperswitchReactions(service.ledger, directory, service.psp).by_type(),
            **HyperswitchDisputes(service.ledger, directory, settings.dispute_policy).by_type(),
        },
        stripe=_stripe_reactions(service, directory),
    )
    return InboxLoop(
        service.inbox,
        reactions,
        service.alarms,
        service.clock,
        parked_deadline=settings.parked_deadline,
        lease=settings.lease,
    )


def _stripe_reactions(service: Service, directory: PostgresDirectory) -> Mapping[str, Reaction]:
    ledger, objects = PostgresLedger(service.store), StripesObjects(service.gateway)
    return stripe_reactions(
        StripePayments(service.ledger, directory, objects, service.settings.dispute_policy),
        StripeTransfers(StripesBooks(ledger, service.clock), directory, service.gateway),
        StripeAccounts(SellersWork(ledger, directory, service.clock), directory, objects),
    )


def traffic_watch(service: Service) -> TrafficWatch:
    """What listens to Stripe's answers together, and knows what is paused."""
    ledger = PostgresLedger(service.store)
    recorder = Recorder(ledger, service.clock)

    async def forgive(transfer_id: UUID, what: str, attempt: int) -> None:
        await recorder.record(transfer_id, await ledger.load([transfer_id]), Forgiven(what, attempt))

    return TrafficWatch(Traffic(service.pool), service.gateway, service.alarms, forgive=forgive, stop=service.ledger.pause)


def _workers(service: Service, watch: TrafficWatch) -> list[Loop]:
    settings = service.settings
    slots = asyncio.Semaphore(settings.stripe_max_concurrency)
    errands: list[tuple[Errand[SellerTransfer, Settlement], WorkSettings]] = [
        (Transferring(service.gateway, settings.policy(settings.transfers)), settings.transfers),
        (Reversing(service.gateway, settings.policy(settings.reversals)), settings.reversals),
    ]
    workers: list[Loop] = [_worker(service, watch, errand, work, slots) for errand, work in errands if work.enabled]
    return [*workers, _refunding(service, service.psp, watch)] if service.psp is not None else workers


def _worker(
    service: Service,
    watch: TrafficWatch,
    errand: Errand[SellerTransfer, Settlement],
    work: WorkSettings,
    slots: asyncio.Semaphore,
) -> Loop:
    settings, pool = service.settings, service.pool
    capacity = 2 * settings.stripe_max_concurrency
    limits = Limits(capacity, settings.lease, work.check_interval)
    pace = Pace(pool, settings.stripe_max_rps)
    return Worker(errand, PostgresLedger(service.store), Work(pool), pace, watch, service.clock, slots, limits)


def _refunding(service: Service, psp: PaymentGateway, watch: TrafficWatch) -> Loop:
    """With the patience of transfers; the PSP keeps names for ever, and its client reads back what is refused."""
    settings, pool = service.settings, service.pool
    patience = settings.policy(settings.transfers)
    policy = replace(patience, key_lifetime=FOR_EVER, call_timeout=2 * settings.stripe_timeout)
    limits = Limits(2 * PSP_CONCURRENCY, settings.lease, settings.transfers.check_interval)
    slots = asyncio.Semaphore(PSP_CONCURRENCY)
    errand, ledger = Refunding(psp, policy, service.ledger), PostgresLedger(service.store)
    return Worker(errand, ledger, RefundWork(pool), Pace(pool, PSP_MAX_RPS), Unheard(watch), service.clock, slots, limits)
