"""The marketplace, its buyers and their banks in a simulated week: they act as planned."""

import asyncio
from collections.abc import Iterable

from domain.order.state import Share
from infrastructure.simulation.virtual_time import BEGINNING, epoch_seconds
from infrastructure.simulation.week.plan import CURRENCY, PlannedOrder, PlannedReturn
from infrastructure.simulation.week.world import WeekWorld
from infrastructure.simulators.hyperswitch.requests import CreateRefundRequest, PaymentRequest


def account(seller: str) -> str:
    """Return the id of the seller's account at Stripe."""
    return f"acct_1{seller.replace('-', '')}"


class WeekMarketplace:
    """Everybody who acts in the week besides the ledger and the providers."""

    def __init__(self, world: WeekWorld) -> None:
        self._world = world
        self._psp = world.psp.world

    async def live(self, orders: Iterable[PlannedOrder]) -> None:
        """Let every order happen at its instant."""
        async with asyncio.TaskGroup() as group:
            for order in orders:
                group.create_task(self._register(order))
                group.create_task(self._pay_and_return(order))

    async def _register(self, order: PlannedOrder) -> None:
        await _until(order.at)
        shares = [
            Share(seller_id=seller, destination=account(seller), amount=amount)
            for seller, amount in order.shares
        ]
        await self._world.ask(
            lambda commands: commands.orders.register(
                order_id=order.order_id,
                currency=CURRENCY,
                amount=order.amount,
                shares=shares,
                payment_id=order.payment_id,
            )
        )

    async def _pay_and_return(self, order: PlannedOrder) -> None:
        await _until(order.paid_at)
        self._pay(order)
        async with asyncio.TaskGroup() as group:
            for refund in order.refunds:
                group.create_task(self._refund(order, refund))
            if order.dispute is not None:
                group.create_task(self._dispute(order, order.dispute))

    def _pay(self, order: PlannedOrder) -> None:
        request = PaymentRequest(
            payment_id=order.payment_id,
            amount=order.amount,
            currency=CURRENCY,
            metadata={"order_id": order.order_id},
        )
        payment = self._psp.books.create_payment(request)
        self._psp.books.settle_payment(payment, "succeeded")
        self._psp.commit()

    async def _refund(self, order: PlannedOrder, planned: PlannedReturn) -> None:
        await _until(planned.at)
        request = CreateRefundRequest(payment_id=order.payment_id, amount=planned.amount)
        refund = self._psp.books.create_refund(request)
        self._psp.commit()
        await asyncio.sleep(planned.ends_after)
        self._psp.books.settle_refund(refund, "succeeded")
        self._psp.commit()

    async def _dispute(self, order: PlannedOrder, planned: PlannedReturn) -> None:
        await _until(planned.at)
        payment = self._psp.books.payment(order.payment_id)
        dispute = self._psp.books.open_dispute(payment, planned.amount)
        self._psp.commit()
        await asyncio.sleep(planned.ends_after)
        self._psp.books.settle_dispute(dispute, "lost" if planned.succeeds else "won")
        self._psp.commit()


async def _until(at: float) -> None:
    await asyncio.sleep(max(0.0, BEGINNING.timestamp() + at - epoch_seconds()))
