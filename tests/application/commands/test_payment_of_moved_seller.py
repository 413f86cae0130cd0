"""A late report of the payment gives money back to a seller who has moved meanwhile."""

import pytest

from application.commands.refunds import RefundReport
from domain.identity import order_stream, transfer_stream
from domain.order.aggregate import Order
from domain.order.payment_match import PaymentNames, psp_payment
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal_outcome import complete_reversal
from domain.seller_transfer.transfer_outcome import complete
from tests.support.storage import Storage, in_memory
from tests.support.told_ledger import AMOUNT, SHARE, ToldLedger

SALE = transfer_stream("o1", "anna")


async def refunded_and_moved(storage: Storage, payment: PaymentNames) -> ToldLedger:
    """Pay Anna, reverse her half for a refund, and let her move to another account."""
    ledger = ToldLedger(storage)
    await ledger.sells()
    uow = await storage.ledger.load([SALE])
    complete(uow.transfer(SALE), "tr_1", SHARE, None, await storage.now())
    await storage.ledger.append(uow)
    report = RefundReport("r1", "o1", AMOUNT // 2, "EUR", "test", payment=payment)
    await ledger.commands.refunds.succeeded(report)
    uow = await storage.ledger.load([SALE])
    reversal = uow.transfer(SALE).in_flight
    assert reversal is not None
    complete_reversal(
        uow.transfer(SALE), reversal.reversal_id, "trr_1", SHARE // 2, None, await storage.now()
    )
    await storage.ledger.append(uow)
    await ledger.commands.seller_accounts.move("anna", "acct_new", "mia", "a new account")
    return ledger


async def compensations(storage: Storage) -> list[tuple[int, str]]:
    order = (await storage.ledger.load([order_stream("o1")])).order("o1")
    assert isinstance(order, Order)
    made: list[SellerTransfer] = (await storage.ledger.load(order.compensations)).transfers()
    return [(transfer.amount, transfer.destination) for transfer in made]


async def test_surplus_refund_goes_back_to_the_new_account() -> None:
    async with in_memory() as storage:
        ledger = await refunded_and_moved(storage, psp_payment("pay_2"))
        await ledger.commands.orders.record_payment("o1", "pay_1", None, "hyperswitch:evt_9")
        assert await compensations(storage) == [(450, "acct_new")]


@pytest.mark.parametrize("payment_id", [None, "pay_1"])
async def test_surcharge_learned_later_goes_to_the_new_account(payment_id: str | None) -> None:
    async with in_memory() as storage:
        ledger = await refunded_and_moved(storage, psp_payment("pay_1"))
        await ledger.commands.orders.record_payment(
            "o1", payment_id, None, "hyperswitch:evt_9", expected=(1_250, "EUR")
        )
        assert await compensations(storage) == [(90, "acct_new")]
