"""Hyperswitch's reports of split payments and split refunds: the money that Stripe has moved with
them is read and recorded first, then the report is handled like any other.

A destination charge has made the transfer to the seller, and a refund with `revert_transfer` has
reversed it. Neither is sent a second time: while Stripe does not show it, the report waits. A
direct charge never touches the platform's balance, so a person has to decide.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import orjson

from application.commands.split_money import SplitMoneyCommands
from application.commands.subjects import subject_of_order
from application.gateways import StripeBooks
from application.ports import Clock, Directory
from application.split_members import DESTINATION, DIRECT, reverts_transfer, split_payment
from application.unit_of_work import UnitOfWork
from application.webhooks.handler import (
    EventHandler,
    Later,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookResult,
)
from application.webhooks.hyperswitch.events import PAYMENT_EVENT, REFUND_EVENT, content_of
from application.webhooks.order_of_event import READ_WITHIN, order_of
from domain.identity import refund_stream
from domain.order.aggregate import Order
from domain.order.split import DoesNotFit, NotMadeYet
from domain.provider_call.outcome import LookUpFailed, NotAtStripe
from domain.provider_call.psp_objects import SplitPayment
from domain.provider_call.stripe_objects import TransferAtStripe

PAID = ("succeeded", "partially_captured", "partially_captured_and_capturable")
SOON = timedelta(seconds=15)
"""Wait for a movement that Stripe does not show yet."""
BEFORE = timedelta(days=30)
"""A charge may be this much older than its order is here."""

Members = Mapping[str, object]


class SplitReads(StripeBooks, Protocol):
    """Stripe's books, and any single object."""

    async def get_object(self, path: str, account: str | None = None) -> Members: ...


class OrdersWithTransfers(Protocol):
    """Loads an order and all its transfers."""

    async def load_order_with_transfers(self, order_id: str) -> UnitOfWork: ...


class SplitMoney:
    """Handlers that see to split money, around the handlers of payments and refunds."""

    def __init__(
        self,
        inner: Mapping[str, EventHandler],
        commands: SplitMoneyCommands,
        orders: OrdersWithTransfers,
        directory: Directory,
        stripe: SplitReads,
        clock: Clock,
        ledger_id: str | None = None,
    ) -> None:
        self._inner, self._commands, self._orders = inner, commands, orders
        self._directory, self._stripe, self._clock = directory, stripe, clock
        self._ledger_id = ledger_id

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return all handlers by event type; those of other events are unchanged."""
        around = {
            name: self._around(handler, self._payment)
            for name, handler in self._inner.items()
            if name.startswith("payment_")
        }
        refund = self._around(self._inner["refund_succeeded"], self._refund)
        return {**self._inner, **around, "refund_succeeded": refund}

    def _around(self, inner: EventHandler, first: "SplitHandler") -> EventHandler:
        async def handle(event: StoredEvent) -> WebhookResult:
            try:
                stopped = await first(event, _object(event.body))
            except DoesNotFit as refused:
                return Parked(f"event:{event.event_id}", str(refused), WebhookAlarm.SPLIT_MONEY)
            except NotMadeYet as early:
                return Later(str(early), SOON)
            except (LookUpFailed, NotAtStripe, TimeoutError) as unread:
                return Later(f"the split could not be read at Stripe: {unread}", SOON)
            return stopped if stopped is not None else await inner(event)

        return handle

    async def _payment(self, event: StoredEvent, shown: Members) -> WebhookResult | None:
        split = split_payment(shown)
        if split is None or shown.get("status") not in PAID:
            return None
        payment = content_of(event.body, PAYMENT_EVENT)
        order_id = order_of(
            await self._directory.find_order(
                order_ids=payment.named_orders, payment_ids=[payment.payment_id]
            )
        )
        if order_id is None:
            return None
        if split.charge_type != DESTINATION:
            return Parked(subject_of_order(order_id), _undecided(split), WebhookAlarm.SPLIT_MONEY)
        order = (await self._orders.load_order_with_transfers(order_id)).order(order_id)
        made = await self._transfer_of(order, split, shown.get("connector_transaction_id"))
        await self._commands.learn_transfer(order_id, made, event.source)
        return None

    async def _refund(self, event: StoredEvent, shown: Members) -> WebhookResult | None:
        if not reverts_transfer(shown):
            return None
        refund = content_of(event.body, REFUND_EVENT)
        matches = await self._directory.find_order(
            refund_id=refund.refund_id,
            order_ids=[refund.named_order] if refund.named_order else [],
            payment_ids=[refund.payment_id],
        )
        order_id = order_of(matches)
        if order_id is None:
            return None
        order = (await self._orders.load_order_with_transfers(order_id)).order(order_id)
        subject = subject_of_order(order_id)
        if not order.paid:
            return Parked(subject, "its payment, whose transfer it reverses, is not recorded yet")
        if not order.made_by_charge:
            reason = (
                f"refund {refund.refund_id!r} reverses a transfer of the payment itself, and no "
                f"such transfer of order {order_id!r} is known"
            )
            return Parked(subject, reason, WebhookAlarm.SPLIT_MONEY)
        stream = matches.refund or refund_stream(refund.refund_id)
        for made in order.made_by_charge.values():
            async with asyncio.timeout(READ_WITHIN):
                seen = await self._stripe.get_transfer(made.stripe_transfer_id)
            await self._commands.learn_reversal(
                order_id, stream, refund.refund_id, refund.amount, seen, event.source
            )
        return None

    # --- the transfer of a charge -----------------------------------------------------------------

    async def _transfer_of(
        self, order: Order, split: SplitPayment, connector_id: object
    ) -> TransferAtStripe:
        """Find the transfer: by the charge, else in the list of the seller's account. Raises
        NotMadeYet, DoesNotFit, and the errors of a read."""
        async with asyncio.timeout(READ_WITHIN):
            charge_id = split.charge_id or await self._charge_of(connector_id)
            named = await self._named_by(charge_id)
            if named is not None:
                return await self._stripe.get_transfer(named)
            accounts = (
                [split.account]
                if split.account
                else sorted({share["destination"] for share in order.shares.values()})
            )
            found = [
                seen
                for account in accounts
                async for seen in self._listed(order.created_on, account)
                if self._may_be(seen, order, charge_id)
            ]
        claimed = await self._directory.claimed(found) if found else {}
        free = [one for one in found if one.stripe_transfer_id not in claimed]
        ours = {one.stripe_transfer_id for one in order.made_by_charge.values()}
        for one in found:
            if one.stripe_transfer_id in ours:
                return one
        exact = [one for one in free if charge_id and one.source_transaction == charge_id]
        chosen = exact or [one for one in free if charge_id is None or not one.source_transaction]
        if len(chosen) > 1:
            names = ", ".join(one.stripe_transfer_id for one in chosen)
            raise DoesNotFit(
                f"Several transfers at Stripe may be the one of the split payment of order "
                f"{order.order_id!r}: {names}. Find out which one the charge has made."
            )
        if not chosen:
            raise NotMadeYet(
                f"The payment of order {order.order_id!r} is split, and Stripe does not show the "
                "transfer that its charge makes yet; nothing is sent."
            )
        return chosen[0]

    def _may_be(self, seen: TransferAtStripe, order: Order, charge_id: str | None) -> bool:
        if seen.transfer_id is not None or seen.is_foreign(self._ledger_id):
            return False
        of_charge = charge_id is not None and seen.source_transaction == charge_id
        return of_charge or any(
            (share["destination"], share["amount"]) == (seen.destination, seen.amount)
            and order.share_currency(seller_id) == seen.currency
            for seller_id, share in order.shares.items()
        )

    async def _charge_of(self, connector_id: object) -> str | None:
        if not isinstance(connector_id, str) or not connector_id.startswith("pi_"):
            return connector_id if isinstance(connector_id, str) else None
        shown = await self._object(f"/v1/payment_intents/{connector_id}")
        return _id_of(shown.get("latest_charge"))

    async def _named_by(self, charge_id: str | None) -> str | None:
        shown = await self._object(f"/v1/charges/{charge_id}") if charge_id else {}
        return _id_of(shown.get("transfer"))

    async def _object(self, path: str) -> Members:
        """Read an object; an empty one if our key may not read it, or Stripe has no such object."""
        try:
            return await self._stripe.get_object(path)
        except (LookUpFailed, NotAtStripe, ValueError):
            return {}

    async def _listed(self, created_on: datetime, account: str) -> AsyncIterator[TransferAtStripe]:
        until, after, more = self._clock.now() + timedelta(days=1), None, True
        while more:
            page = await self._stripe.page(created_on - BEFORE, until, after, account)
            more, after = page.more, page.last
            for one in page.listed:
                yield one.transfer


class SplitHandler(Protocol):
    """First step of an event; a result stops the event, None lets it go on."""

    async def __call__(self, event: StoredEvent, shown: Members) -> WebhookResult | None: ...


def _undecided(split: SplitPayment) -> str:
    if split.charge_type == DIRECT:
        return (
            f"the payment is a direct charge on {split.account or 'the account of a seller'}: its "
            "money never reached the platform, so no seller is paid from it"
        )
    return f"the payment is split in a way that the ledger does not know, {split.charge_type!r}"


def _object(body: bytes) -> Members:
    try:
        shown = orjson.loads(body)["content"]["object"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return shown if isinstance(shown, dict) else {}


def _id_of(value: object) -> str | None:
    found = value.get("id") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) and found else None
