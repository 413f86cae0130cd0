"""What runs in `serve` and `worker`: the inbox, the poller, the workers and who listens to Stripe's answers for them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from application.command_handler import CommandHandler
from application.gateways import PaymentGateway
from application.process_managers.circuit_breaker import BreakerMonitor
from application.process_managers.outcome_recorder import Recorder
from application.process_managers.process import CallResult, Forgiven, ProcessManager
from application.process_managers.refunds import RefundProcess, Unheard
from application.process_managers.reversals import ReversalProcess
from application.process_managers.transfers import TransferProcess
from application.process_managers.worker import Limits, Worker
from application.webhooks.handler import EventHandler, WebhookHandler
from application.webhooks.hyperswitch.disputes import HyperswitchDisputes
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPayments
from application.webhooks.inbox_worker import InboxLoop
from application.webhooks.stripe.account_pauses import AccountPauses
from application.webhooks.stripe.accounts import StripeAccounts
from application.webhooks.stripe.external_changes import ExternalChanges
from application.webhooks.stripe.handlers import stripe_handlers
from application.webhooks.stripe.objects import StripeObjects
from application.webhooks.stripe.refunds_disputes import StripeRefundsDisputes
from application.webhooks.stripe.transfers import StripeTransfers
from domain.refund.psp_outcome import FOR_EVER
from domain.seller_transfer.aggregate import SellerTransfer
from infrastructure.polling import poller_of
from infrastructure.postgres.circuit_breaker import CircuitBreaker
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.listener import Listener
from infrastructure.postgres.rate_limiter import RateLimiter
from infrastructure.postgres.refund_work import RefundWork
from infrastructure.postgres.work_queue import Work
from infrastructure.service import Loop, Service, WorkLoop
from infrastructure.settings import WorkSettings

DRAIN_MARGIN = timedelta(seconds=5)
PSP_CONCURRENCY = 20
PSP_MAX_RPS = 40.0
"""Half of what the PSP takes, which others use too."""


@asynccontextmanager
async def at_work(service: Service) -> AsyncIterator[None]:
    """The loops; on leaving, calls in flight are recorded before this returns."""
    inbox, watch, poller = _inbox_loop(service), breaker_monitor(service), poller_of(service)
    await watch.refresh()  # nothing is claimed before it is known what is paused
    service.workers = _workers(service, watch)
    listener = Listener(service.database_url)
    listener.on("webhook_inbox", inbox.wake)
    listener.on("ledger_work", watch.wake)
    for worker in service.workers:
        for channel in ("ledger_events", "ledger_work"):
            listener.on(channel, worker.wake)
    await listener.start()
    running: list[Loop] = [inbox, watch, poller, *service.workers]
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
    handler = WebhookHandler(
        hyperswitch={
            **HyperswitchPayments(service.commands, directory, service.psp).handlers(),
            **HyperswitchDisputes(service.commands, directory, settings.dispute_policy).handlers(),
        },
        stripe=_stripe_handlers(service, directory),
    )
    return InboxLoop(
        service.inbox,
        handler,
        service.alarms,
        service.clock,
        parked_deadline=settings.parked_deadline,
        lease=settings.lease,
    )


def _stripe_handlers(service: Service, directory: PostgresDirectory) -> Mapping[str, EventHandler]:
    handler = CommandHandler(PostgresEventLog(service.store), service.clock)
    objects = StripeObjects(service.gateway)
    return stripe_handlers(
        StripeRefundsDisputes(service.commands, directory, objects, service.settings.dispute_policy),
        StripeTransfers(ExternalChanges(handler), directory, service.gateway),
        StripeAccounts(AccountPauses(handler, directory), directory, objects),
    )


def breaker_monitor(service: Service) -> BreakerMonitor:
    """What listens to Stripe's answers together, and knows what is paused."""
    ledger = PostgresEventLog(service.store)
    recorder = Recorder(ledger, service.clock)

    async def forgive(transfer_id: UUID, what: str, attempt: int) -> None:
        await recorder.record(transfer_id, await ledger.load([transfer_id]), Forgiven(what, attempt))

    return BreakerMonitor(
        CircuitBreaker(service.pool), service.gateway, service.alarms, forgive=forgive, stop=service.commands.operator.pause
    )


def _workers(service: Service, watch: BreakerMonitor) -> list[WorkLoop]:
    settings = service.settings
    slots = asyncio.Semaphore(settings.stripe_max_concurrency)
    errands: list[tuple[ProcessManager[SellerTransfer, CallResult], WorkSettings]] = [
        (
            TransferProcess(service.gateway, PostgresDirectory(service.pool), settings.policy(settings.transfers)),
            settings.transfers,
        ),
        (ReversalProcess(service.gateway, settings.policy(settings.reversals)), settings.reversals),
    ]
    workers: list[WorkLoop] = [_worker(service, watch, errand, work, slots) for errand, work in errands if work.enabled]
    return [*workers, _refunding(service, service.psp, watch)] if service.psp is not None else workers


def _worker(
    service: Service,
    watch: BreakerMonitor,
    errand: ProcessManager[SellerTransfer, CallResult],
    work: WorkSettings,
    slots: asyncio.Semaphore,
) -> WorkLoop:
    settings, pool = service.settings, service.pool
    capacity = 2 * settings.stripe_max_concurrency
    limits = Limits(capacity, settings.lease, work.check_interval)
    rate_limiter = RateLimiter(pool, settings.stripe_max_rps)
    return Worker(errand, PostgresEventLog(service.store), Work(pool), rate_limiter, watch, service.clock, slots, limits)


def _refunding(service: Service, psp: PaymentGateway, watch: BreakerMonitor) -> WorkLoop:
    """With the patience of transfers; the PSP keeps names for ever, and its client reads back what is refused."""
    settings, pool = service.settings, service.pool
    patience = settings.policy(settings.transfers)
    policy = replace(patience, key_lifetime=FOR_EVER, call_timeout=2 * settings.stripe_timeout)
    limits = Limits(2 * PSP_CONCURRENCY, settings.lease, settings.transfers.check_interval)
    slots = asyncio.Semaphore(PSP_CONCURRENCY)
    errand, ledger = RefundProcess(psp, policy, service.commands.refunds), PostgresEventLog(service.store)
    return Worker(errand, ledger, RefundWork(pool), RateLimiter(pool, PSP_MAX_RPS), Unheard(watch), service.clock, slots, limits)
