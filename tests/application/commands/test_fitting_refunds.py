"""Refunds that were set aside, because another refund that had failed meanwhile was still counted."""

from collections.abc import AsyncIterator, Sequence
from itertools import permutations

import pytest

from application.commands import commands_on
from application.commands.decisions import Decision
from application.commands.refunds import RefundReport
from domain.errors import Contradiction
from domain.identity import refund_stream
from domain.order.aggregate import Order
from domain.order.state import Share
from domain.refund.state import RefundStatus
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory

SHARES = [Share(seller_id="anna", destination="acct_anna", amount=900)]
R1 = RefundReport("ref_1", "o1", 600, "EUR", "hyperswitch:evt_1", provider="hyperswitch")
R2 = RefundReport("ref_2", "o1", 1_000, "EUR", "hyperswitch:evt_2", provider="hyperswitch")
SURPLUS = {"psp_payment": "pay_2"}


class Shop:
    """A ledger with one paid order of 1000, of which Anna has 900."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.commands = commands_on(storage.ledger, storage.directory, DatabaseClock())

    async def paid(self, payment_id: str | None = "pay_1") -> None:
        await self.commands.orders.register(
            order_id="o1", currency="EUR", amount=1_000, shares=SHARES
        )
        await self.commands.orders.record_payment("o1", payment_id, None, "api")

    async def succeeded(self, *reports: RefundReport) -> None:
        for report in reports:
            await self.commands.refunds.succeeded(report)

    async def failed(self, report: RefundReport) -> None:
        """Report a failure, and repeat it as the PSP's answer if it contradicts a success."""
        try:
            await self.commands.refunds.failed(report)
        except Contradiction as asked:
            await self.commands.refunds.failed(report, asked=asked.version)

    async def order(self) -> Order:
        order = await self.commands.orders.order("o1")
        assert order is not None
        return order

    async def status(self, report: RefundReport) -> RefundStatus:
        refund = (await self._storage.ledger.load([refund_stream(report.name)])).refund()
        assert refund is not None
        return refund.status

    async def net(self) -> int:
        """Return the amount that Anna gets by all her transfers, none of which is sent."""
        order = await self.order()
        sent = [await self.commands.operator.transfer(one) for one in order.transfer_ids()]
        return sum(one.amount for one in sent if one.status != "cancelled")

    async def alarms(self) -> Sequence[str]:
        return sorted(one.kind for one in await self._storage.alarms.raised())


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with in_memory() as storage:
        yield Shop(storage)


async def test_refund_that_fits_after_a_failure_is_taken(shop: Shop) -> None:
    await shop.paid()
    await shop.succeeded(R1, R2)
    assert (await shop.status(R2), await shop.net()) == ("review", 900 - 540)
    assert await shop.alarms() == ["refund_set_aside"]
    await shop.failed(R1)
    assert (await shop.status(R1), await shop.status(R2)) == ("failed", "succeeded")
    assert (await shop.net(), (await shop.order()).seller_targets) == (0, {"anna": 900})
    assert "refund_set_aside" not in await shop.alarms()
    await shop.failed(R1)
    await shop.succeeded(R2)
    assert await shop.net() == 0, "repeated reports change nothing"


async def test_later_failure_of_the_fitting_refund_gives_back(shop: Shop) -> None:
    await shop.paid()
    await shop.succeeded(R1, R2)
    await shop.failed(R1)
    await shop.failed(R2)
    assert (await shop.net(), (await shop.order()).seller_targets) == (900, {"anna": 0})


@pytest.mark.parametrize("turn", list(permutations(("r1", "r1 fails", "r2"))))
async def test_net_does_not_depend_on_the_order_of_reports(
    shop: Shop, turn: tuple[str, ...]
) -> None:
    await shop.paid()
    failed = False
    for report in turn:
        if report == "r1 fails":
            await shop.failed(R1)
            failed = True
        elif report == "r2" or not failed:  # else the PSP is asked, and says that it has failed
            await shop.succeeded(R1 if report == "r1" else R2)
    assert (await shop.net(), await shop.status(R2)) == (0, "succeeded")


async def test_refund_that_is_still_too_large_stays_set_aside(shop: Shop) -> None:
    await shop.paid()
    small = R1._replace(name="ref_0", amount=100)
    await shop.succeeded(small, R1, R2)
    await shop.failed(R1)
    assert (await shop.status(R2), await shop.net()) == ("review", 900 - 90)
    await shop.failed(small)
    assert (await shop.status(R2), await shop.net()) == ("succeeded", 0)


async def test_oldest_fitting_refund_comes_first(shop: Shop) -> None:
    await shop.paid()
    third = R2._replace(name="ref_3", amount=900)
    await shop.succeeded(R1, R2, third)
    await shop.failed(R1)
    assert (await shop.status(R2), await shop.status(third)) == ("succeeded", "review")
    assert await shop.alarms() == ["refund_failed_after_success", "refund_set_aside"]


async def test_refund_in_another_currency_stays_set_aside(shop: Shop) -> None:
    await shop.paid()
    foreign = R2._replace(currency="USD")
    await shop.succeeded(R1, foreign)
    await shop.failed(R1)
    assert (await shop.status(foreign), await shop.net()) == ("review", 900)


async def test_refund_of_a_surplus_payment_stays_set_aside(shop: Shop) -> None:
    """The order's payment becomes known only after the refund of the other one was set aside."""
    await shop.paid(payment_id=None)
    await shop.succeeded(R1, R2._replace(payment=SURPLUS))
    await shop.commands.orders.record_payment("o1", "pay_1", None, "hyperswitch:evt_3")
    await shop.failed(R1)
    assert (await shop.status(R2), await shop.net()) == ("review", 900)


async def test_revoked_surplus_refund_leaves_room(shop: Shop) -> None:
    await shop.paid(payment_id=None)
    await shop.succeeded(R1._replace(payment=SURPLUS), R2)
    await shop.commands.orders.record_payment("o1", "pay_1", None, "hyperswitch:evt_3")
    assert (await shop.status(R2), await shop.net()) == ("succeeded", 0)


async def test_decision_of_a_person_stands(shop: Shop) -> None:
    await shop.paid()
    await shop.succeeded(R1, R2)
    await shop.commands.decisions.refund("ref_2", Decision({"anna": 100}, "mia", "agreed"))
    await shop.failed(R1)
    assert await shop.net() == 800


async def test_refund_fits_once_more_was_collected(shop: Shop) -> None:
    await shop.paid()
    tip = R2._replace(amount=1_100)
    await shop.succeeded(tip)
    assert (await shop.status(tip), await shop.net()) == ("review", 900)
    await shop.commands.orders.record_payment(
        "o1", "pay_1", None, "hyperswitch:evt_3", expected=(1_100, "EUR")
    )
    assert (await shop.status(tip), await shop.net()) == ("succeeded", 0)


async def test_refund_fits_once_the_collected_amount_is_corrected(shop: Shop) -> None:
    await shop.paid()
    tip = R2._replace(amount=1_100)
    await shop.succeeded(tip)
    await shop.commands.orders.correct_collected("o1", 1_100, "api")
    assert (await shop.status(tip), await shop.net()) == ("succeeded", 0)
