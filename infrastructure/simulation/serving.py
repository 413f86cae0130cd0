"""A process with all loops of `serve`, which also takes commands and webhooks."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

import orjson

from application.command_handler import CommandHandler
from application.commands import Commands, commands_on
from application.loop import Loop as SteppedLoop
from application.missed_webhooks.poller import Poller, Times
from application.missed_webhooks.psp import MissedPspEvents
from application.missed_webhooks.stripe_events import MissedStripeEvents
from application.ports import EventLog
from application.process_managers.circuit_breaker import BreakerMonitor, OutageOfStripeIgnored
from application.process_managers.funding import FundingProcess
from application.process_managers.refunds import RefundProcess
from application.process_managers.worker import Worker, WorkerLimits
from application.webhooks.handler import EventHandler, WebhookHandler
from application.webhooks.hyperswitch.disputes import HyperswitchDisputes
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from application.webhooks.inbox_worker import LONGEST_SLEEP, InboxLoop
from application.webhooks.stripe.account_pauses import AccountPauses
from application.webhooks.stripe.accounts import StripeAccounts
from application.webhooks.stripe.event_object import StripeObjects
from application.webhooks.stripe.external_changes import ExternalChanges
from application.webhooks.stripe.handlers_by_event_type import stripe_handlers
from application.webhooks.stripe.refunds_disputes import StripeRefundsDisputes
from application.webhooks.stripe.transfers import StripeTransfers
from infrastructure.clock import DatabaseClock
from infrastructure.hyperswitch import signature as hyperswitch
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.simulation.fleet import Loop, Process
from infrastructure.simulation.in_memory.alarms import MemoryAlarms
from infrastructure.simulation.in_memory.circuit_breaker import MemoryCircuitBreaker
from infrastructure.simulation.in_memory.directory import MemoryDirectory
from infrastructure.simulation.in_memory.inbox import MemoryInbox
from infrastructure.simulation.in_memory.webhook_polls import MemoryWebhookPolls
from infrastructure.simulation.in_memory.work_queue import MemoryRateLimiter, MemoryWork
from infrastructure.stripe import signature as stripe
from infrastructure.stripe.gateway import StripeGateway

T = TypeVar("T")

RARELY = 600.0
"""Seconds."""


class Gateways(Protocol):
    """Makes the gateways of a new process."""

    def stripe(self) -> StripeGateway: ...

    def psp(self) -> HyperswitchGateway: ...


class ProcessGone(OSError):
    """The process ended before it answered."""


class TrustingMonitor(BreakerMonitor):
    """A monitor that reads the state rarely: the notifications of the database in memory are never
    lost, and reading every five seconds would take most of a virtual week."""

    async def sleep(self, seconds: float) -> None:
        """Sleep until woken; while the breaker is open, at most `seconds`."""
        await super().sleep(seconds if self.state.outage else RARELY)


class TrustingInbox(InboxLoop):
    """An inbox worker that looks rarely while nothing is due, for the same reason."""

    async def sleep(self, seconds: float) -> None:
        """Sleep until woken; without due webhooks longer than in production."""
        await super().sleep(seconds if seconds < LONGEST_SLEEP else RARELY)


@dataclass
class ServingProcess(Process):
    """A process as `serve` runs it."""

    gateways: Gateways = field(kw_only=True)
    _monitor: ClassVar[type[BreakerMonitor]] = TrustingMonitor
    _inbox_worker: ClassVar[type[InboxLoop]] = InboxLoop
    commands: Commands = field(init=False)
    clock: DatabaseClock = field(init=False)
    alive: bool = field(init=False, default=False)

    def start(self) -> None:
        """Start as a new process, without memory."""
        super().start()
        self.alive = True

    async def kill(self) -> None:
        """Kill the process as `kill -9` does."""
        self.alive = False
        await super().kill()

    async def ask(self, act: Callable[[Commands], Awaitable[T]]) -> T:
        """Send a command to the process. Raises ProcessGone if it ends before it answers."""
        return await self._answered(act(self.commands))

    async def take(self, provider: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Check and store a webhook, and return the status of the answer. Raises ProcessGone."""
        settings = self.fleet.settings
        if provider == "stripe":
            secrets = settings.stripe_webhook_secrets
            stripe.verify(body, headers[stripe.HEADER], secrets, self.clock.now())
            named = orjson.loads(body)
            event = named["id"], named["type"]
        else:
            secrets = settings.hyperswitch_webhook_secrets
            hyperswitch.verify(body, headers[hyperswitch.HEADER], secrets)
            named = orjson.loads(body)
            event = named["event_id"], named["event_type"]
        inbox = self.connection.to(MemoryInbox(self.fleet.database))
        await self._answered(inbox.put(provider, *event, body, self.clock.now()))
        return 200

    async def _answered(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except asyncio.CancelledError:  # the cut connection, seen from outside
            raise ProcessGone(f"{self.name} is gone") from None

    # --- its loops --------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Listen as `serve` does."""
        on = self.fleet.database.on
        for loop in self.loops:
            match loop:
                case InboxLoop():
                    on("webhook_inbox", loop.wake)
                case BreakerMonitor():
                    on("ledger_work", loop.wake)
                case Worker():
                    on("ledger_events", loop.wake)
                    on("ledger_work", loop.wake)

    def _loops(self) -> list[Loop]:
        clock = self.clock = self._clock()
        ledger = self.connection.to(self._event_log())
        directory = self.connection.to(MemoryDirectory(self.fleet.database))
        gateway = self.connection.to(self.gateways.stripe())
        psp = self.connection.to(self.gateways.psp())
        work = self.connection.to(MemoryWork(self.fleet.database))
        self.commands = commands_on(ledger, directory, clock, work)
        watch = self._watch(ledger, gateway, clock)
        handler = WebhookHandler(
            hyperswitch=self._hyperswitch(directory, psp),
            stripe=self._stripe(CommandHandler(ledger, clock), directory, gateway),
        )
        return [
            self._inbox_loop(handler, clock),
            watch,
            self._poller(gateway, psp, directory, clock),
            *self._workers(ledger, gateway, watch, clock),
            *self._workers_of_streams(ledger, gateway, psp, watch, clock),
        ]

    def _workers_of_streams(
        self,
        ledger: EventLog,
        gateway: StripeGateway,
        psp: HyperswitchGateway,
        watch: BreakerMonitor,
        clock: DatabaseClock,
    ) -> list[Loop]:
        """Build the workers that read charges and request refunds."""
        settings, database, to = self.fleet.settings, self.fleet.database, self.connection.to
        funding = FundingProcess(gateway, settings.policy(settings.transfers))
        refunding = RefundProcess(psp, settings.refund_policy)
        limiter = to(MemoryRateLimiter(database, settings.stripe_max_rps))
        slots = asyncio.Semaphore(settings.stripe_max_concurrency)
        limits = WorkerLimits(64, settings.lease, settings.transfers.check_interval)
        orders, refunds = to(MemoryWork(database, "orders")), to(MemoryWork(database, "refunds"))
        at_psp = OutageOfStripeIgnored(watch)
        return [
            Worker(funding, ledger, orders, limiter, watch, clock, slots, limits),
            Worker(refunding, ledger, refunds, limiter, at_psp, clock, slots, limits),
        ]

    def _hyperswitch(
        self, directory: MemoryDirectory, psp: HyperswitchGateway
    ) -> Mapping[str, EventHandler]:
        policy = self.fleet.settings.dispute_policy
        return {
            **HyperswitchPaymentsRefunds(self.commands, directory, psp).handlers(),
            **HyperswitchDisputes(self.commands, directory, policy).handlers(),
        }

    def _stripe(
        self, handler: CommandHandler, directory: MemoryDirectory, gateway: StripeGateway
    ) -> Mapping[str, EventHandler]:
        objects, policy = StripeObjects(gateway), self.fleet.settings.dispute_policy
        return stripe_handlers(
            StripeRefundsDisputes(self.commands, directory, objects, policy),
            StripeTransfers(ExternalChanges(handler), directory, gateway),
            StripeAccounts(AccountPauses(handler, directory), directory, objects),
        )

    def _inbox_loop(self, handler: WebhookHandler, clock: DatabaseClock) -> SteppedLoop:
        database, settings = self.fleet.database, self.fleet.settings
        return self._inbox_worker(
            self.connection.to(MemoryInbox(database)),
            handler,
            self.connection.to(MemoryAlarms(database)),
            clock,
            parked_deadline=settings.parked_deadline,
            lease=settings.lease,
        )

    def _poller(
        self,
        gateway: StripeGateway,
        psp: HyperswitchGateway,
        directory: MemoryDirectory,
        clock: DatabaseClock,
    ) -> SteppedLoop:
        database, settings, to = self.fleet.database, self.fleet.settings, self.connection.to
        limiter = to(MemoryRateLimiter(database, settings.stripe_max_rps))
        inbox = to(MemoryInbox(database))
        providers = (
            MissedStripeEvents(gateway, to(MemoryCircuitBreaker(database)), limiter),
            MissedPspEvents(psp, directory, inbox, limiter),
        )
        times = Times(settings.missed_check_interval, settings.missed_grace)
        alarms, polls = to(MemoryAlarms(database)), to(MemoryWebhookPolls(database.polls))
        return Poller(polls, inbox, alarms, clock, providers, times)
