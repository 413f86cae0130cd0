"""Authority over an order's refunds: one refund reported by several providers is recovered from the
sellers once."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import permutations

import pytest

from application.commands import commands_on
from application.commands.refunds import RefundReport, RefundRequest
from application.webhooks.handler import (
    DONE,
    Ignored,
    Parked,
    StoredEvent,
    WebhookHandler,
    WebhookResult,
)
from application.webhooks.hyperswitch.disputes import HyperswitchDisputes
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from domain.dispute import DisputePolicy
from domain.errors import Contradiction, NotTheAuthority, OutdatedAnswer, Refused
from domain.identity import transfer_stream
from domain.order.state import Share
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory

LEASE = timedelta(seconds=10)
SHARES = [Share(seller_id="anna", destination="acct_anna", amount=900)]


class LedgerUnderTest:
    """A ledger with one order of 1000, of which Anna has 900."""

    def __init__(self, storage: Storage) -> None:
        self.storage, self.commands = (
            storage,
            commands_on(storage.ledger, storage.directory, DatabaseClock()),
        )
        hyperswitch = HyperswitchPaymentsRefunds(self.commands, storage.directory).handlers()
        disputes = HyperswitchDisputes(
            self.commands, storage.directory, DisputePolicy.WITHDRAWAL
        ).handlers()
        self._reactions = WebhookHandler(hyperswitch={**hyperswitch, **disputes})

    async def paid(self, payment_id: str | None = None, charge: str | None = None) -> None:
        await self.commands.orders.register(
            order_id="o1", currency="EUR", amount=1_000, shares=SHARES
        )
        await self.commands.orders.record_payment("o1", payment_id, charge, "api")

    async def told(self, provider: str, name: str, amount: int = 400) -> None:
        report = RefundReport(
            name, "o1", amount, "EUR", f"{provider}:evt_{name}", provider=provider
        )
        with suppress(NotTheAuthority):
            await self.commands.refunds.succeeded(report)

    async def settled(self, refund_id: str, psp_refund_id: str, amount: int = 400) -> None:
        wish = RefundRequest(
            refund_id=refund_id, order_id="o1", amount=amount, psp_refund_id=psp_refund_id
        )
        await self.commands.refunds.settle(wish)

    async def hears(
        self, event_id: str, event_type: str, about: Mapping[str, object]
    ) -> WebhookResult:
        body = json.dumps(
            {"event_id": event_id, "event_type": event_type, "content": {"object": about}}
        ).encode()
        await self.storage.inbox.put(
            "hyperswitch", event_id, event_type, body, await self.storage.now()
        )
        (event,) = (await self.storage.inbox.claim("w", 1, LEASE)).events
        return await self._reactions.handle(
            StoredEvent(event.inbox_id, "hyperswitch", event_id, event_type, body)
        )

    async def taken(self) -> int:
        """Return the amount by which Anna's transfer is reduced; it has not been sent."""
        transfer = await self.commands.operator.transfer(transfer_stream("o1", "anna"))
        return 900 - transfer.amount


@pytest.fixture
async def ledger_under_test() -> AsyncIterator[LedgerUnderTest]:
    async with in_memory() as storage:
        yield LedgerUnderTest(storage)


PAYMENT = {
    "payment_id": "pay_1",
    "status": "succeeded",
    "amount": 1_000,
    "currency": "EUR",
    "metadata": {"order_id": "o1"},
}


async def test_payment_id_is_learnt_from_a_later_webhook(
    ledger_under_test: LedgerUnderTest,
) -> None:
    """A dispute that names only its payment finds the order by the id learnt from the webhook."""
    await ledger_under_test.paid()
    assert await ledger_under_test.hears("evt_paid", "payment_succeeded", PAYMENT) == DONE
    lost = {"dispute_id": "dp_1", "payment_id": "pay_1", "amount": "400", "currency": "EUR"}
    assert await ledger_under_test.hears("evt_lost", "dispute_lost", lost) == DONE
    assert await ledger_under_test.taken() == 360


async def test_dispute_takes_the_amount_reported_with_its_money(
    ledger_under_test: LedgerUnderTest,
) -> None:
    """The bank asks about all of the order and takes back a part: the part is recovered."""
    await ledger_under_test.paid("pay_1")
    dispute = {"dispute_id": "dp_1", "payment_id": "pay_1", "amount": "1000", "currency": "EUR"}
    assert await ledger_under_test.hears("evt_1", "dispute_opened", dispute) == DONE
    assert (
        await ledger_under_test.hears("evt_2", "dispute_lost", {**dispute, "amount": "400"}) == DONE
    )
    assert await ledger_under_test.taken() == 360


async def test_second_payment_is_not_taken_for_the_first(
    ledger_under_test: LedgerUnderTest,
) -> None:
    await ledger_under_test.paid()
    await ledger_under_test.hears("evt_1", "payment_succeeded", PAYMENT)
    second = await ledger_under_test.hears(
        "evt_2", "payment_succeeded", {**PAYMENT, "payment_id": "pay_2"}
    )
    assert isinstance(second, Parked)
    assert second.alarm == "payment_disagrees"


async def test_only_the_paying_payment_holds_sellers_when_it_fails(
    ledger_under_test: LedgerUnderTest,
) -> None:
    """The buyer's first attempt fails, the second pays, and the webhook of the first comes late: no
    seller is held."""
    await ledger_under_test.paid("pay_2")
    attempt = {**PAYMENT, "status": "failed"}
    assert isinstance(await ledger_under_test.hears("evt_1", "payment_failed", attempt), Ignored)
    assert (
        await ledger_under_test.hears("evt_2", "payment_failed", {**attempt, "payment_id": "pay_2"})
        == DONE
    )
    assert (
        await ledger_under_test.commands.operator.transfer(transfer_stream("o1", "anna"))
    ).held is not None


async def test_failure_is_not_recorded_over_a_success(ledger_under_test: LedgerUnderTest) -> None:
    """The append decides, so a success recorded between the look and the append is seen as well."""
    await ledger_under_test.paid("pay_1")
    await ledger_under_test.told("hyperswitch", "ref_1")
    failed = RefundReport("ref_1", "o1", 400, "EUR", "hyperswitch:evt_2", provider="hyperswitch")
    with pytest.raises(Contradiction) as refused:
        await ledger_under_test.commands.refunds.failed(failed)
    assert await ledger_under_test.taken() == 360
    asked = refused.value.version
    assert (
        await ledger_under_test.commands.refunds.failed(failed, asked=asked)
    ).refund.status == "failed"


async def test_answer_older_than_a_change_is_refused(ledger_under_test: LedgerUnderTest) -> None:
    """It was on the way while two reports were recorded: it may be older than they are."""
    await ledger_under_test.paid("pay_1")
    await ledger_under_test.told("hyperswitch", "ref_1")
    report = RefundReport("ref_1", "o1", 400, "EUR", "test", provider="hyperswitch")
    refunds = ledger_under_test.commands.refunds
    with pytest.raises(Contradiction) as refused:
        await refunds.failed(report)
    asked = refused.value.version
    await refunds.failed(report, asked=asked)
    taken = await ledger_under_test.taken()
    with pytest.raises(OutdatedAnswer, match="ask again"):
        await refunds.succeeded(report, asked=asked)
    assert await ledger_under_test.taken() == taken


NAMES: dict[str, Callable[[LedgerUnderTest], Awaitable[None]]] = {
    "settled": lambda ledger_under_test: ledger_under_test.settled("r1", "re_1"),
    "stripe": lambda ledger_under_test: ledger_under_test.told("stripe", "re_1"),
    "hyperswitch": lambda ledger_under_test: ledger_under_test.told("hyperswitch", "ref_1"),
}


@pytest.mark.parametrize("told", list(permutations(NAMES)), ids=", ".join)
@pytest.mark.parametrize("charge", [None, "ch_1"])
async def test_unattributed_refund_with_three_names_counts_once(
    ledger_under_test: LedgerUnderTest, told: tuple[str, ...], charge: str | None
) -> None:
    await ledger_under_test.paid(charge=charge)
    for name in told:
        with suppress(
            Refused
        ):  # the caller gives Stripe's name after the PSP has told of it by its own
            await NAMES[name](ledger_under_test)
    assert await ledger_under_test.taken() == 360


async def test_settled_refund_makes_its_reporter_the_authority(
    ledger_under_test: LedgerUnderTest,
) -> None:
    await ledger_under_test.paid()
    await ledger_under_test.settled("r1", "ref_1")
    await ledger_under_test.told("hyperswitch", "ref_1")
    await ledger_under_test.told("stripe", "re_1")
    assert await ledger_under_test.taken() == 360
