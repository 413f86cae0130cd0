"""The marketplace, its buyers and their banks in a run with faults: they act as planned."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress

from application.commands.refunds import RefundRequest
from domain.errors import Refused
from domain.order.state import Share
from infrastructure.simulation.faults.schedule import (
    PlannedDispute,
    PlannedOrder,
    PlannedRefund,
    Schedule,
)
from infrastructure.simulation.faults.world import FaultWorld
from infrastructure.simulation.virtual_time import BEGINNING, epoch_seconds
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.hyperswitch.requests import CreateRefundRequest, PaymentRequest
from infrastructure.simulators.hyperswitch.rows import PspRefundRow

CURRENCY = "EUR"
TRIES, BETWEEN = 8, 1800.0
"""Number of times that the marketplace asks for a refund that is refused, and seconds between."""


def account(seller: str) -> str:
    """Return the id of the seller's account at Stripe."""
    return f"acct_1{seller}"


async def until(at: float) -> None:
    """Sleep until an instant in seconds from the beginning."""
    await asyncio.sleep(max(0.0, BEGINNING.timestamp() + at - epoch_seconds()))


class Actors:
    """Everybody who acts by the plan besides operators and faults."""

    def __init__(self, world: FaultWorld) -> None:
        self._world, self._schedule = world, world.schedule
        self._psp = world.psp.world
        self._by_ledger = {one.name: one for one in self._schedule.refunds if one.by_ledger}
        world.refund_made = self._decide_new_refunds

    def stories(self) -> Iterator[Coroutine[object, object, None]]:
        """Yield all that they do."""
        schedule: Schedule = self._schedule
        known = {order.name: order for order in schedule.orders}
        for order in schedule.orders:
            yield self._register(order)
            yield self._pay(order)
        for refund in schedule.refunds:
            if refund.order in known:
                story = self._request if refund.by_ledger else self._refund
                yield story(refund, known[refund.order])
        for dispute in schedule.disputes:
            if dispute.order in known:
                yield self._dispute(dispute, known[dispute.order])

    async def _register(self, order: PlannedOrder) -> None:
        await until(order.at)
        await self.register(order)

    async def register(self, order: PlannedOrder) -> None:
        """Register an order, again after a restore."""
        shares = [
            Share(seller_id=seller, destination=account(seller), amount=amount)
            for seller, amount in order.shares.items()
        ]
        await self._world.ask(
            lambda commands: commands.orders.register(
                order_id=order.name,
                currency=CURRENCY,
                amount=order.amount,
                shares=shares,
                payment_id=order.payment_id,
            )
        )
        details = {
            "amount": order.amount,
            "currency": CURRENCY,
            "payment_id": order.payment_id,
            "shares": dict(order.shares),
        }
        self._world.promise("register", order.name, details)
        self._world.tell(f"marketplace registers {order.name}: {order.amount} {dict(order.shares)}")

    async def _pay(self, order: PlannedOrder) -> None:
        await until(max(0.0, order.at + order.paid_after))
        request = PaymentRequest(
            payment_id=order.payment_id,
            amount=order.amount + order.surcharge,
            currency=CURRENCY,
            metadata={"order_id": order.name},
        )
        payment = self._psp.books.create_payment(request)
        self._world.tell(f"buyer pays {request.amount} for {order.name}")
        self._psp.books.settle_payment(payment, "succeeded")
        self._psp.commit()

    # --- refunds ----------------------------------------------------------------------------------

    async def _refund(self, planned: PlannedRefund, order: PlannedOrder) -> None:
        """Refund in the PSP's dashboard."""
        await until(planned.at)
        request = CreateRefundRequest(
            refund_id=planned.name, payment_id=order.payment_id, amount=planned.amount
        )
        with suppress(Refusal):  # the payment came later, or other refunds took the money
            refund = self._psp.books.create_refund(request)
            self._world.tell(f"a person refunds {planned.amount} of {order.name} at the PSP")
            self._psp.commit()
            await self._settle(planned, refund)

    async def _request(self, planned: PlannedRefund, order: PlannedOrder) -> None:
        """Request a refund from the ledger, until it is accepted."""
        await until(planned.at)
        for _ in range(TRIES):
            with suppress(Refused):
                await self.request(planned, order)
                return
            await asyncio.sleep(BETWEEN)
        self._world.tell(f"marketplace gives up {planned.name}")

    async def request(self, planned: PlannedRefund, order: PlannedOrder) -> None:
        """Request a refund, again after a restore. Raises Refused."""
        request = RefundRequest(planned.name, order.name, planned.amount)
        await self._world.ask(lambda commands: commands.refunds.request(request))
        details = {"order_id": order.name, "amount": planned.amount}
        self._world.promise("refund", planned.name, details)
        self._world.tell(f"marketplace requests {planned.name}: {planned.amount} of {order.name}")

    def _decide_new_refunds(self) -> None:
        """Let the connector decide later about the refunds that the ledger has requested."""
        for name in [name for name in self._by_ledger if name in self._psp.books.refunds]:
            planned = self._by_ledger.pop(name)
            self._world.chore(self._settle(planned, self._psp.books.refunds[name]))

    async def _settle(self, planned: PlannedRefund, refund: PspRefundRow) -> None:
        if planned.reviewed:
            await asyncio.sleep(planned.ends_after)
            self._decide(refund, "review")
        await asyncio.sleep(planned.ends_after)
        self._decide(refund, "succeeded" if planned.succeeds else "failed")
        if planned.succeeds and planned.fails_after is not None:
            await asyncio.sleep(planned.fails_after)
            self._decide(refund, "failed")

    def _decide(self, refund: PspRefundRow, status: str) -> None:
        self._world.tell(f"the PSP decides {refund.refund_id}: {status}")
        self._psp.books.settle_refund(refund, status)
        self._psp.commit()
        self._world.decided_outside()

    async def _dispute(self, planned: PlannedDispute, order: PlannedOrder) -> None:
        await until(planned.at)
        with suppress(Refusal):
            payment = self._psp.books.payment(order.payment_id)
            dispute = self._psp.books.open_dispute(payment, None)
            self._world.tell(f"a bank disputes {order.name}")
            self._psp.commit()
            if planned.challenged:
                await asyncio.sleep(planned.ends_after)
                self._psp.books.settle_dispute(dispute, "challenged")
                self._psp.commit()
            await asyncio.sleep(planned.ends_after)
            won = "cancelled" if planned.challenged and planned.seed % 2 else "won"
            status = "lost" if planned.lost else won
            self._world.tell(f"the bank decides about {order.name}: {status}")
            self._psp.books.settle_dispute(dispute, status)
            self._psp.commit()
