"""Loops of `serve` and `worker`: inbox, workers, circuit breaker, and the poller for missed
webhooks."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import structlog

from application.bulk import BulkLoop
from application.command_handler import CommandHandler
from application.commands.split_money import SplitMoneyCommands
from application.gateways import PaymentGateway
from application.loop import Loop
from application.missed_webhooks.poller import Poller, Times
from application.missed_webhooks.ports import Provider
from application.missed_webhooks.psp import MissedPspEvents
from application.missed_webhooks.stripe_events import MissedStripeEvents
from application.overdue_work import OverdueWork
from application.process_managers.circuit_breaker import BreakerMonitor, OutageOfStripeIgnored
from application.process_managers.funding import FundingProcess
from application.process_managers.outcome_recorder import OutcomeRecorder
from application.process_managers.process import Answer, ProcessManager
from application.process_managers.refunds import RefundProcess
from application.process_managers.reversals import ReversalProcess
from application.process_managers.transfers import TransferProcess
from application.process_managers.worker import Worker, WorkerLimits
from application.webhooks.entitlement import Entitlement
from application.webhooks.handler import EventHandler
from application.webhooks.hyperswitch.disputes import HyperswitchDisputes
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from application.webhooks.hyperswitch.split_money import SplitMoney
from application.webhooks.inbox_worker import InboxLoop
from application.webhooks.retention import RetentionLoop
from application.webhooks.stripe.account_pauses import AccountPauses
from application.webhooks.stripe.accounts import StripeAccounts
from application.webhooks.stripe.event_object import StripeObjects
from application.webhooks.stripe.external_changes import ExternalChanges
from application.webhooks.stripe.handlers_by_event_type import stripe_handlers
from application.webhooks.stripe.refunds_disputes import StripeRefundsDisputes
from application.webhooks.stripe.transfers import StripeTransfers
from application.webhooks.stripe.unconfirmed_refunds import UnconfirmedRefunds
from infrastructure.bulk_webhooks import webhook_actions
from infrastructure.postgres.bound_account import binding
from infrastructure.postgres.bulk_jobs import PostgresBulkJobs
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.listener import Listener
from infrastructure.postgres.old_transactions import OldTransactionWatch
from infrastructure.postgres.process_reports import ProcessReports
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.webhook_polls import PostgresWebhookPolls
from infrastructure.postgres.work_queue import PostgresWorkQueue, WorkTable
from infrastructure.service import Service
from infrastructure.settings import Settings, WorkSettings
from infrastructure.traced_webhooks import TracedHandler

DRAIN_MARGIN = timedelta(seconds=5)
PSP_CONCURRENCY = 20
PSP_MAX_RPS = 40.0
"""Half of the PSP's limit, which other clients share."""
PROVIDERS = (MissedStripeEvents.name, MissedPspEvents.name)

log = structlog.get_logger()


@asynccontextmanager
async def at_work(service: Service) -> AsyncIterator[None]:
    """Run the loops; on leaving, record the calls in flight first."""
    bound = await binding(service.pool)
    own_account = bound.account if bound is not None else None
    inbox, monitor = _inbox_loop(service, own_account), breaker_monitor(service)
    poller = poller_of(service)
    await monitor.refresh()  # nothing is claimed before the pauses are known
    service.workers = _workers(service, monitor)
    listener = Listener(service.database_url)
    listener.on("webhook_inbox", inbox.wake)
    listener.on("ledger_work", monitor.wake)
    listener.on("ledger_events", service.news.wake)
    bulk = BulkLoop(
        PostgresBulkJobs(service.pool),
        f"bulk-{uuid4()}",
        service.commands.operator.retry,
        webhook_actions(service),
    )
    listener.on("ledger_work", bulk.wake)
    for worker in service.workers:
        for channel in ("ledger_events", "ledger_work"):
            listener.on(channel, worker.wake)
    await listener.start()
    overdue = OverdueWork(service.due_work, service.alarms, service.settings.overdue_after)
    transactions = OldTransactionWatch(service.pool, service.alarms)
    loops: list[Loop] = [inbox, monitor, poller, overdue, transactions, bulk, *service.workers]
    if service.settings.inbox_retention is not None:
        loops.append(RetentionLoop(service.inbox, service.settings.inbox_retention))
    loops.append(ProcessReports(service.pool, loops))
    service.running = [(loop, _started(loop, service)) for loop in loops]
    try:
        yield
    finally:
        service.draining = True
        service.news.end()
        for loop in loops:
            loop.stop()
        tasks = [task for _, task in service.running]
        longest = (service.settings.stripe_timeout + DRAIN_MARGIN).total_seconds()
        await asyncio.wait(tasks, timeout=longest)
        await _cancel(tasks)
        await listener.aclose()


def _started(loop: Loop, service: Service) -> asyncio.Task[None]:
    task = asyncio.create_task(loop.run(), name=type(loop).__name__)

    def ended(_: asyncio.Task[None]) -> None:
        if not service.draining:
            why = None if task.cancelled() else task.exception()
            service.failed.set()  # before the log, which may be the cause
            log.error("a loop has ended, the process drains", loop=task.get_name(), error=repr(why))

    task.add_done_callback(ended)
    return task


async def _cancel(loops: Sequence[asyncio.Task[None]]) -> None:
    """Cancel loops that have not drained: their intents are stored, so another process goes on
    under the same keys."""
    for task in loops:
        task.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


def _inbox_loop(service: Service, own_account: str | None) -> InboxLoop:
    directory = PostgresDirectory(service.pool)
    settings = service.settings
    handler = TracedHandler(
        Entitlement(settings.mode == "live", own_account),
        hyperswitch={
            **_split_money(
                service,
                directory,
                HyperswitchPaymentsRefunds(service.commands, directory, service.psp).handlers(),
            ),
            **HyperswitchDisputes(
                service.commands, directory, settings.dispute_policy, service.psp
            ).handlers(),
        },
        stripe=_stripe_handlers(service, directory, own_account),
    )
    return InboxLoop(
        service.inbox,
        handler,
        service.alarms,
        service.clock,
        parked_deadline=settings.parked_deadline,
        lease=settings.lease,
    )


def _split_money(
    service: Service, directory: PostgresDirectory, inner: Mapping[str, EventHandler]
) -> Mapping[str, EventHandler]:
    """Let split payments and refunds be read at Stripe before they are recorded."""
    orders = CommandHandler(PostgresEventLog(service.store), service.clock)
    return SplitMoney(
        inner,
        SplitMoneyCommands(orders),
        orders,
        directory,
        service.gateway,
        service.clock,
        service.ledger_id,
    ).handlers()


def _stripe_handlers(
    service: Service, directory: PostgresDirectory, own_account: str | None
) -> Mapping[str, EventHandler]:
    handler = CommandHandler(PostgresEventLog(service.store), service.clock)
    objects, settings = StripeObjects(service.gateway, own_account), service.settings
    unconfirmed = UnconfirmedRefunds(
        service.commands, objects, service.inbox, service.clock, settings.refund_undecided_after
    )
    return stripe_handlers(
        StripeRefundsDisputes(
            service.commands, directory, objects, settings.dispute_policy, unconfirmed
        ),
        StripeTransfers(ExternalChanges(handler), directory, service.gateway, service.ledger_id),
        StripeAccounts(AccountPauses(handler, directory), directory, objects),
    )


def breaker_monitor(service: Service) -> BreakerMonitor:
    """Build the monitor that observes Stripe's answers and knows the pauses."""
    recorder = OutcomeRecorder(PostgresEventLog(service.store), service.clock)
    breaker = PostgresCircuitBreaker(service.pool)
    return BreakerMonitor(
        breaker,
        service.gateway,
        service.alarms,
        forgive=recorder.forgive,
        stop=service.commands.operator.pause,
    )


def _workers(service: Service, monitor: BreakerMonitor) -> list[Loop]:
    settings, workers = service.settings, list[Loop]()
    slots = asyncio.Semaphore(settings.stripe_max_concurrency)
    if settings.transfers.enabled:
        directory, policy = PostgresDirectory(service.pool), settings.policy(settings.transfers)
        transfers = TransferProcess(service.gateway, directory, policy, ledger_id=service.ledger_id)
        workers.append(_stripe_worker(service, monitor, transfers, settings.transfers, slots))
        funding = FundingProcess(service.gateway, policy)
        workers.append(
            _stripe_worker(service, monitor, funding, settings.transfers, slots, "orders")
        )
    if settings.reversals.enabled:
        reversals = ReversalProcess(
            service.gateway, settings.policy(settings.reversals), ledger_id=service.ledger_id
        )
        workers.append(_stripe_worker(service, monitor, reversals, settings.reversals, slots))
    if service.psp is not None:
        workers.append(_refund_worker(service, service.psp, monitor))
    return workers


def _stripe_worker(
    service: Service,
    monitor: BreakerMonitor,
    process: ProcessManager[Answer],
    work: WorkSettings,
    slots: asyncio.Semaphore,
    table: WorkTable = "seller_transfers",
) -> Worker[Answer]:
    settings, pool = service.settings, service.pool
    limits = WorkerLimits(2 * settings.stripe_max_concurrency, settings.lease, work.check_interval)
    rate_limiter = PostgresRateLimiter(pool, settings.stripe_max_rps)
    return Worker(
        process,
        PostgresEventLog(service.store),
        PostgresWorkQueue(pool, table),
        rate_limiter,
        monitor,
        service.clock,
        slots,
        limits,
    )


def _refund_worker(service: Service, psp: PaymentGateway, monitor: BreakerMonitor) -> Loop:
    """Build the worker for refunds."""
    settings, pool = service.settings, service.pool
    return Worker(
        RefundProcess(psp, settings.refund_policy),
        PostgresEventLog(service.store),
        PostgresWorkQueue(pool, "refunds"),
        PostgresRateLimiter(pool, PSP_MAX_RPS),
        OutageOfStripeIgnored(monitor),
        service.clock,
        asyncio.Semaphore(PSP_CONCURRENCY),
        WorkerLimits(2 * PSP_CONCURRENCY, settings.lease, settings.transfers.check_interval),
    )


def unasked(settings: Settings) -> Mapping[str, str]:
    """Return the providers that are not polled, each with its missing settings.

    A provider without a webhook secret sends no webhooks to this ledger, so none can be missed.
    """
    needed: Mapping[str, Mapping[str, object]] = {
        MissedStripeEvents.name: {"STRIPE_WEBHOOK_SECRETS": settings.stripe_webhook_secrets},
        MissedPspEvents.name: {
            "HYPERSWITCH_WEBHOOK_SECRETS": settings.hyperswitch_webhook_secrets,
            "HYPERSWITCH_BASE_URL": settings.hyperswitch_base_url,
        },
    }
    unset = {
        provider: [name for name, value in names.items() if not value]
        for provider, names in needed.items()
    }
    return {provider: f"{', '.join(names)} not set" for provider, names in unset.items() if names}


def poller_of(service: Service) -> Poller:
    """Build the poller for missed webhooks. Its list of providers may be empty."""
    settings = service.settings
    without = unasked(settings)
    for provider, why in without.items():
        log.info("missed webhooks are not polled", provider=provider, why=why)
    providers = [_provider(name, service) for name in PROVIDERS if name not in without]
    times = Times(settings.missed_check_interval, settings.missed_grace)
    return Poller(
        PostgresWebhookPolls(service.pool),
        service.inbox,
        service.alarms,
        service.clock,
        providers,
        times,
    )


def _provider(name: str, service: Service) -> Provider:
    rate_limiter = PostgresRateLimiter(service.pool, service.settings.stripe_max_rps)
    if name == MissedStripeEvents.name:
        return MissedStripeEvents(
            service.gateway, PostgresCircuitBreaker(service.pool), rate_limiter
        )
    assert service.psp is not None, "its URL is set, see `unasked`"
    return MissedPspEvents(
        service.psp, PostgresDirectory(service.pool), service.inbox, rate_limiter
    )
