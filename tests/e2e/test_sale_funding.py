"""A sale funds its own transfers: the charge of a PSP payment is read at Stripe, and becomes the
source of the sellers' transfers, which then need no balance of the platform."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from application.command_handler import NO_EXTRAS
from application.commands import Commands
from application.commands.refunds import RefundReport
from domain.identity import order_stream
from domain.order.facts import ChargeFound, ChargeNotFound, ChargeReadDeferred
from domain.pause import scope_of_work
from domain.provider_call.psp_objects import ConnectorPayment
from domain.seller_transfer.facts import CallStarted, SourceDecided
from infrastructure.bootstrap import running
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.service import Service
from infrastructure.settings import SIMULATOR_KEY, WorkSettings
from infrastructure.simulators.hyperswitch import HyperswitchConfig, running_hyperswitch
from infrastructure.simulators.stripe import SimulatorControl
from projections.alarms import alarms
from projections.registry import sentence
from projections.seller_transfers import SellerTransferRow
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, CURRENCY, QUICK, SystemUnderTest, account

READ_INTENT = "payment_intents.retrieve"


class PspSale:
    """Orders that the PSP reports as paid, with the name of the payment at its connector."""

    def __init__(self, service: Service, view: LedgerView) -> None:
        self.commands: Commands = service.commands
        self.view = view

    async def order(self, order_id: str = "o1", amount: int = 1_000, **shares: int) -> None:
        named = shares or {"anna": 600, "bert": 300}
        await self.commands.orders.register(
            order_id=order_id,
            currency=CURRENCY,
            amount=amount,
            shares=[
                {"seller_id": seller, "destination": account(seller), "amount": share}
                for seller, share in named.items()
            ],
        )

    async def paid(
        self, payment: str | None, order_id: str = "o1", connector: str | None = "stripe"
    ) -> None:
        await self.commands.orders.record_payment(
            order_id,
            f"pay_{order_id}",
            None,
            "test",
            connector=ConnectorPayment(connector, payment),
        )

    async def sold(self, payment: str | None, connector: str | None = "stripe") -> None:
        await self.order()
        await self.paid(payment, connector=connector)

    async def retry(self, row: SellerTransferRow) -> None:
        await self.commands.operator.retry(row.transfer_id, "ops", "it is time")

    async def refund(self, name: str, amount: int) -> None:
        await self.commands.refunds.succeeded(RefundReport(name, "o1", amount, CURRENCY, "test"))


@asynccontextmanager
async def _at_work(
    system: SystemUnderTest, view: LedgerView, transfers: WorkSettings = QUICK
) -> AsyncIterator[PspSale]:
    async with running(replace(system.settings, transfers=transfers)) as service:
        yield PspSale(service, view)


@pytest.fixture
async def sale(
    system: SystemUnderTest, view: LedgerView, stripe: SimulatorControl
) -> AsyncIterator[PspSale]:
    """A ledger at work, on a platform without any money."""
    await stripe.drain("eur")
    async with _at_work(system, view) as sale:
        yield sale


async def intent(stripe: SimulatorControl, amount: int = 1_000, **settings: object) -> Json:
    """Make a payment at Stripe, whose money is available in a week."""
    return await stripe.add_payment("eur", amount, **{"available_in": 7 * 86_400, **settings})


async def sources(stripe: SimulatorControl) -> list[str | None]:
    """Return the sources of the transfers at Stripe, by destination."""
    held = (await stripe.ledger())["transfers"]
    held.sort(key=lambda transfer: str(transfer["destination"]))
    return [transfer["source_transaction"] for transfer in held]


async def order_facts(view: LedgerView, order_id: str = "o1") -> list[str]:
    return [sentence(fact, CURRENCY) for fact in await view.facts(order_stream(order_id))]


def waits_for(view: LedgerView, reason: str) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        rows = await view.transfers("o1")
        return {(row.next_retry_at, row.waiting_for) for row in rows} == {(None, reason)}

    return there


async def test_sale_pays_its_sellers_on_an_empty_platform(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe)
    await sale.sold(made["id"])
    rows = await view.reached("o1", "completed", "completed")
    assert {row.source_transaction for row in rows} == {made["latest_charge"]}
    held = (await stripe.ledger())["transfers"]
    assert {transfer["transfer_group"] for transfer in held} == {f"group_{made['id']}"}
    assert len(await stripe.requests(READ_INTENT)) == 1
    assert [post["status"] for post in await stripe.requests(CREATE)] == [200, 200]
    found = await view.happened(order_stream("o1"), ChargeFound)
    assert (found.charge, found.settled_currency, found.sourced) == (
        made["latest_charge"],
        "EUR",
        2,
    )
    assert await view.alarms() == set()


async def test_payment_named_twice_is_read_once(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe)
    await sale.sold(made["id"])
    await sale.paid(made["id"])
    await view.reached("o1", "completed", "completed")
    await sale.paid(made["id"])
    assert len(await stripe.requests(READ_INTENT)) == 1


@pytest.mark.parametrize("answer", ["not found", "forbidden"])
async def test_unreadable_payment_is_paid_from_the_balance_with_an_alarm(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView, answer: str
) -> None:
    await stripe.fund("eur", 10_000)
    if answer == "forbidden":
        await stripe.tune(forbidden={SIMULATOR_KEY: ("payment_intents.*",)})
    made = await intent(stripe)
    await sale.sold("pi_of_another_account" if answer == "not found" else made["id"])
    await view.reached("o1", "completed", "completed")
    assert await sources(stripe) == [None, None]
    lost = await view.happened(order_stream("o1"), ChargeNotFound)
    assert (lost.unfunded, lost.amount) == (2, 900)
    assert await view.alarms() == {"charge_not_readable"}
    assert len(await stripe.requests(READ_INTENT)) == 1


async def test_operator_closes_the_alarm_by_reading_again(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    """The platform has no money, the key may not read payments; then the key is corrected."""
    await stripe.tune(forbidden={SIMULATOR_KEY: ("payment_intents.*",)})
    made = await intent(stripe)
    await sale.sold(made["id"])
    await view.reached("o1", "failed", "failed")
    assert "charge_not_readable" in await view.alarms()
    await stripe.tune(forbidden={})
    await sale.commands.orders.read_charge("o1", "ops", "the key may read payments now")
    rows = await view.reached("o1", "completed", "completed")
    assert await sources(stripe) == [made["latest_charge"]] * 2
    assert await view.alarms() == set()
    bodies = [
        fact for fact in await view.facts(rows[0].transfer_id) if isinstance(fact, CallStarted)
    ]
    assert [fact.epoch for fact in bodies] == [1, 2]


async def test_connector_other_than_stripe_is_told_only_in_the_history(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    await stripe.fund("eur", 10_000)
    await sale.sold("8835511210681324", connector="adyen")
    await view.reached("o1", "completed", "completed")
    assert await stripe.requests(READ_INTENT) == []
    assert await view.alarms() == set()
    (paid,) = [told for told in await order_facts(view) if told.startswith("The buyer paid")]
    assert "the connector 'adyen' names '8835511210681324', which is no payment at Stripe" in paid


@pytest.mark.parametrize("status", [500, 429, 401])
async def test_unanswered_read_decides_nothing(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView, status: int
) -> None:
    made = await intent(stripe)
    await stripe.fault("error", operation=READ_INTENT, times=2, status=status)
    await sale.sold(made["id"])
    deferred = await view.happened(order_stream("o1"), ChargeReadDeferred, 2)
    assert deferred.reads == 2
    await view.reached("o1", "completed", "completed")
    assert await sources(stripe) == [made["latest_charge"]] * 2
    assert await view.alarms() == set()


async def test_paused_reads_wait(sale: PspSale, stripe: SimulatorControl, view: LedgerView) -> None:
    scope = scope_of_work("funding")
    await sale.commands.operator.pause(scope, "ops", "a test")
    made = await intent(stripe)
    await sale.sold(made["id"])
    await sale.order("o2")
    await sale.paid(None, "o2", connector=None)
    await stripe.fund("eur", 900)
    await view.reached("o2", "completed", "completed")
    assert await waits_for(view, "charge")()
    assert await stripe.requests(READ_INTENT) == []
    await sale.commands.operator.resume(scope, "ops", "a test")
    await view.reached("o1", "completed", "completed")


async def test_shares_above_the_charge_are_paid_from_the_balance(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    await stripe.fund("eur", 300)
    made = await intent(stripe, 700)
    await sale.sold(made["id"])
    rows = await view.reached("o1", "completed", "completed")
    assert await sources(stripe) == [made["latest_charge"], None]
    decided = await view.happened(rows[1].transfer_id, SourceDecided)
    assert "has 1.00 EUR left" in decided.why


async def test_used_up_charge_is_left_out_under_the_next_key(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    await stripe.fund("eur", 300)
    made = await intent(stripe)
    await stripe.external_transfer(
        account("other"), 400, "eur", source_transaction=made["latest_charge"]
    )
    await sale.order(anna=600, bert=300)
    await sale.commands.operator.pause("seller:bert", "ops", "so that anna is first")
    await sale.paid(made["id"])
    await view.until(_paid(view, "anna"), "anna is paid")
    await sale.commands.operator.resume("seller:bert", "ops", "go on")
    rows = await view.reached("o1", "completed", "completed")
    bodies = [
        fact for fact in await view.facts(rows[1].transfer_id) if isinstance(fact, CallStarted)
    ]
    assert [(fact.epoch, "source_transaction" in fact.body) for fact in bodies] == [
        (1, True),
        (2, False),
    ]
    assert rows[1].source_transaction is None


def _paid(view: LedgerView, seller_id: str) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        rows = {row.seller_id: row.status for row in await view.transfers("o1")}
        return rows.get(seller_id) == "completed"

    return there


async def test_charge_settled_in_another_currency_waits_for_a_person(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe, settled_currency="cad", settled_amount=1_356)
    await sale.sold(made["id"])
    rows = await view.reached("o1", "permanently_failed", "permanently_failed")
    assert await stripe.requests(CREATE) == []
    assert "source_currency: The charge" in (rows[0].last_error or "")
    assert await view.alarms() == {"permanently_failed"}
    await stripe.fund("eur", 900)
    for row in rows:
        await sale.retry(row)
    await view.reached("o1", "completed", "completed")
    assert await sources(stripe) == [None, None]
    assert await view.alarms() == set()


async def test_pending_charge_that_fails_later_leaves_its_transfers(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    """An asynchronous method: the sent transfer stays, the unsent one is held, and the alarm tells
    both."""
    made = await intent(stripe, status="pending")
    await sale.order()
    await sale.commands.operator.pause("seller:bert", "ops", "so that one is unsent")
    await sale.paid(made["id"])
    await view.until(_paid(view, "anna"), "anna is paid")
    await stripe.fail_charge(made["latest_charge"])
    await sale.commands.orders.record_payment_failure(
        "o1", "pay_o1", "the bank refused it", "test", NO_EXTRAS
    )
    await sale.commands.operator.resume("seller:bert", "ops", "go on")
    anna, bert = await view.transfers("o1")
    assert (anna.status, bert.status, bert.waiting_for) == ("completed", "pending", "payment")
    assert {"payment_failed_after_paid", "held_back"} <= await view.alarms()
    assert await sources(stripe) == [made["latest_charge"]]


async def test_charge_that_has_failed_holds_the_transfers_back(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe, status="pending")
    await stripe.fail_charge(made["latest_charge"])
    await sale.sold(made["id"])
    await view.until(waits_for(view, "payment"), "held back")
    assert await stripe.requests(CREATE) == []
    assert {"payment_failed_after_paid", "held_back"} <= await view.alarms()


async def test_charge_that_comes_later_is_read_again(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe, status=None)
    await sale.sold(made["id"])
    await view.happened(order_stream("o1"), ChargeReadDeferred)
    await stripe.charge_payment(made["id"])
    await view.reached("o1", "completed", "completed")
    assert None not in await sources(stripe)


async def test_charge_that_never_comes_ends_in_an_alarm(
    system: SystemUnderTest, stripe: SimulatorControl, view: LedgerView
) -> None:
    quick = replace(QUICK, max_retries=2)
    made = await intent(stripe, status=None)
    async with _at_work(system, view, transfers=quick) as sale:
        await sale.sold(made["id"])
        await view.reached("o1", "completed", "completed")
    lost = await view.happened(order_stream("o1"), ChargeNotFound)
    assert lost.why == "no_charge"
    assert len(await stripe.requests(READ_INTENT)) == 3
    assert await view.alarms() == {"charge_not_readable"}


async def test_unread_charge_raises_an_alarm_after_an_hour(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe)
    await stripe.fault("error", operation=READ_INTENT, status=500)
    await sale.sold(made["id"])
    await view.happened(order_stream("o1"), ChargeReadDeferred)
    deferred = await view.happened(order_stream("o1"), ChargeReadDeferred)
    late = ChargeReadDeferred(
        originator_id=deferred.originator_id,
        originator_version=deferred.originator_version,
        timestamp=deferred.since + timedelta(hours=1),
        connector_payment=deferred.connector_payment,
        why=deferred.why,
        detail=deferred.detail,
        reads=deferred.reads,
        since=deferred.since,
        read_charge_at=deferred.read_charge_at,
    )
    (raised,) = alarms([late], troubled=False)
    assert raised.kind == "charge_unread"
    await stripe.clear_faults()
    await view.reached("o1", "completed", "completed")


async def test_refund_before_the_payment_reduces_the_sourced_transfers(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe)
    await sale.order()
    await sale.refund("r1", 500)
    await sale.paid(made["id"])
    rows = await view.reached("o1", "completed", "completed")
    assert [row.amount for row in rows] == [300, 150]
    assert None not in await sources(stripe)


async def test_refund_while_the_charge_is_read_reduces_or_cancels(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe)
    await stripe.hold(READ_INTENT)
    await sale.sold(made["id"])
    await stripe.wait_until_held(READ_INTENT)
    await sale.refund("r1", 500)
    await stripe.release(READ_INTENT)
    rows = await view.reached("o1", "completed", "completed")
    assert [row.amount for row in rows] == [300, 150]
    assert await sources(stripe) == [made["latest_charge"]] * 2


async def test_full_refund_while_the_charge_is_read_sends_nothing(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe)
    await stripe.hold(READ_INTENT)
    await sale.sold(made["id"])
    await stripe.wait_until_held(READ_INTENT)
    await sale.refund("r1", 1_000)
    await stripe.release(READ_INTENT)
    await view.happened(order_stream("o1"), ChargeFound)
    await view.reached("o1", "cancelled", "cancelled")
    assert await stripe.requests(CREATE) == []


async def test_charge_told_by_the_api_is_not_read(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    await sale.order()
    await sale.commands.orders.record_payment("o1", "pay_o1", "ch_given", "api")
    rows = await view.reached("o1", "completed", "completed")
    assert {row.source_transaction for row in rows} == {"ch_given"}
    assert await stripe.requests(READ_INTENT) == []


async def test_payment_that_the_api_told_first_is_funded_by_the_webhook(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    made = await intent(stripe)
    await sale.order()
    await sale.commands.orders.record_payment("o1", "pay_o1", None, "api")
    await view.reached("o1", "failed", "failed")
    await sale.paid(made["id"])
    await view.reached("o1", "completed", "completed")
    assert await sources(stripe) == [made["latest_charge"]] * 2
    assert await view.alarms() == set()


async def test_revoked_refund_is_compensated_from_the_balance(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView
) -> None:
    """Compensations carry no source: the charge belongs to the sale."""
    made = await intent(stripe, available_in=0)
    await sale.sold(made["id"])
    await view.reached("o1", "completed", "completed")
    await sale.refund("r1", 1_000)
    await view.reached("o1", "reversed", "reversed")
    await sale.commands.refunds.failed(RefundReport("r1", "o1", 1_000, CURRENCY, "test"))
    await view.reached("o1", "reversed", "completed", "reversed", "completed")
    assert (await sources(stripe)).count(None) == 2


async def test_answer_of_the_psp_names_the_payment(
    sale: PspSale, stripe: SimulatorControl, view: LedgerView, psp_config: HyperswitchConfig
) -> None:
    """The webhook is lost, and the checkout asks for the payment again."""
    async with (
        running_hyperswitch(psp_config) as (_, control),
        HyperswitchGateway("snd_1", control.url, 10) as psp,
    ):
        await sale.order()
        made = await sale.commands.orders.create_payment(psp, "o1")
        await control.settle_payment(made.payment_id, "succeeded", announce=False)
        await sale.commands.orders.create_payment(psp, "o1")
        await view.reached("o1", "completed", "completed")
    assert None not in await sources(stripe)
