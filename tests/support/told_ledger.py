"""A ledger in memory that handles webhooks with the real handlers, and a Stripe that only shows
objects."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count

from application.command_handler import CommandHandler
from application.commands import commands_on
from application.gateways import PaymentGateway
from application.webhooks.entitlement import Entitlement
from application.webhooks.handler import EventHandler, WebhookHandler
from application.webhooks.hyperswitch.disputes import HyperswitchDisputes
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from application.webhooks.inbox_worker import InboxLoop
from application.webhooks.stripe.account_pauses import AccountPauses
from application.webhooks.stripe.accounts import StripeAccounts
from application.webhooks.stripe.event_object import StripeObjects
from application.webhooks.stripe.external_changes import ExternalChanges
from application.webhooks.stripe.handlers_by_event_type import stripe_handlers
from application.webhooks.stripe.refunds_disputes import StripeRefundsDisputes
from application.webhooks.stripe.transfers import StripeTransfers
from application.webhooks.stripe.unconfirmed_refunds import UnconfirmedRefunds
from domain.dispute import DisputePolicy
from domain.identity import pause_stream, transfer_stream
from domain.order.state import Share
from domain.pause import scope_of_seller
from domain.provider_call.outcome import NotAtStripe
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from infrastructure.clock import DatabaseClock
from infrastructure.simulation.in_memory.inbox import MemoryInbox
from tests.support.storage import Storage, in_memory

AMOUNT, SHARE, ACCOUNT = 1_000, 900, "acct_anna"
OWN_ACCOUNT = "acct_platform"


class ShownStripe:
    """Objects by path; everything else is unknown to Stripe."""

    def __init__(self) -> None:
        self.objects: dict[str, Mapping[str, object]] = {}
        self.transfers: dict[str, TransferAtStripe] = {}
        self.asked: list[tuple[str, str | None]] = []

    async def get_object(self, path: str, account: str | None = None) -> Mapping[str, object]:
        self.asked.append((path, account))
        if path not in self.objects:
            raise NotAtStripe(f"No such object: {path}")
        return self.objects[path]

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        if stripe_transfer_id not in self.transfers:
            raise NotAtStripe(f"No such transfer: {stripe_transfer_id}")
        return self.transfers[stripe_transfer_id]


class ToldLedger:
    """A ledger in test mode with orders of 1000, of which Anna has 900."""

    def __init__(self, storage: Storage, psp: PaymentGateway | None = None) -> None:
        self.storage, self.stripe, self._numbers = storage, ShownStripe(), count(1)
        directory = storage.directory
        clock = DatabaseClock()
        self.commands = commands_on(storage.ledger, directory, clock)
        self._commands = CommandHandler(storage.ledger, clock)
        objects = StripeObjects(self.stripe, OWN_ACCOUNT)  # type: ignore[arg-type]
        policy, commands = DisputePolicy.WITHDRAWAL, self.commands
        unconfirmed = UnconfirmedRefunds(
            commands, objects, storage.inbox, clock, timedelta(hours=24)
        )
        self._handlers: dict[str, Mapping[str, EventHandler]] = {
            "hyperswitch": {
                **HyperswitchPaymentsRefunds(commands, directory, psp).handlers(),
                **HyperswitchDisputes(commands, directory, policy, psp).handlers(),
            },
            "stripe": stripe_handlers(
                StripeRefundsDisputes(commands, directory, objects, policy, unconfirmed),
                StripeTransfers(ExternalChanges(self._commands), directory, self.stripe),  # type: ignore[arg-type]
                StripeAccounts(AccountPauses(self._commands, directory), directory, objects),
            ),
        }
        entitlement = Entitlement(livemode=False, own_account=OWN_ACCOUNT)
        handler = WebhookHandler(entitlement, **self._handlers)
        self._loop = InboxLoop(
            storage.inbox,
            handler,
            storage.alarms,
            clock,
            parked_deadline=timedelta(days=7),
        )

    async def sells(
        self,
        order_id: str = "o1",
        payment_id: str | None = None,
        charge: str | None = None,
        *,
        paid: bool = True,
    ) -> None:
        shares = [Share(seller_id="anna", destination=ACCOUNT, amount=SHARE)]
        await self.commands.orders.register(
            order_id=order_id, currency="EUR", amount=AMOUNT, shares=shares
        )
        if paid:
            await self.commands.orders.record_payment(order_id, payment_id, charge, "api")

    async def hears(self, provider: str, event_type: str, body: Mapping[str, object]) -> str:
        """Handle one event; return the status of its inbox row."""
        event_id = f"evt_{next(self._numbers)}"
        await self.hears_bytes(provider, event_id, event_type, json.dumps(body).encode())
        return self.row(event_id)[0]

    async def hears_bytes(self, provider: str, event_id: str, kind: str, body: bytes) -> None:
        await self.storage.inbox.put(provider, event_id, kind, body, await self.storage.now())
        await self.handles()

    async def handles(self) -> None:
        """Handle the events that are due."""
        await self._loop.turn()
        await self._loop.drain()

    async def stripe_tells(
        self, event_type: str, object_: Mapping[str, object], **envelope: object
    ) -> str:
        body = {"id": "evt", "type": event_type, "livemode": False, "data": {"object": object_}}
        return await self.hears("stripe", event_type, {**body, **envelope})

    async def thin_tells(
        self, event_type: str, url: str, object_: Mapping[str, object], **envelope: object
    ) -> str:
        """Tell a thin event about an object that Stripe shows at `url`."""
        self.stripe.objects[url] = object_
        related = {"id": url.rpartition("/")[2], "type": "any", "url": url}
        body = {"id": "evt", "type": event_type, "livemode": False, "related_object": related}
        return await self.hears("stripe", event_type, {**body, **envelope})

    async def psp_tells(self, event_type: str, object_: Mapping[str, object]) -> str:
        body = {"event_id": "evt", "event_type": event_type, "content": {"object": object_}}
        return await self.hears("hyperswitch", event_type, body)

    def handled(self) -> list[tuple[str, str]]:
        """Return all handled types, each with its provider."""
        return [
            (provider, event_type)
            for provider, handlers in self._handlers.items()
            for event_type in handlers
        ]

    def row(self, event_id: str) -> tuple[str, str]:
        """Return status and reason of an event."""
        inbox = self.storage.inbox
        assert isinstance(inbox, MemoryInbox)
        row = inbox.shown(event_id)
        return row.status, row.reason or ""

    async def transfer(self, order_id: str = "o1") -> SellerTransfer:
        return await self.commands.operator.transfer(transfer_stream(order_id, "anna"))

    async def taken(self, order_id: str = "o1") -> int:
        """Return the amount by which Anna's transfer is reduced or to be reversed."""
        return (await self.transfer(order_id)).taken

    async def alarms(self) -> list[str]:
        return [alarm.kind for alarm in await self.storage.alarms.raised()]

    async def is_paused(self) -> bool:
        scope = scope_of_seller("anna", "transferring")
        pause = (await self.storage.ledger.load([pause_stream(scope)])).pause(scope)
        return pause is not None and pause.paused


@asynccontextmanager
async def told_ledger(psp: PaymentGateway | None = None) -> AsyncIterator[ToldLedger]:
    async with in_memory() as storage:
        yield ToldLedger(storage, psp)
