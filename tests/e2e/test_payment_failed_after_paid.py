"""Payments that are reported as failed after they had succeeded: unsent transfers wait for a
person."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from application.command_handler import CommandHandler
from application.webhooks.stripe.account_pauses import AccountPauses
from domain.identity import order_stream
from domain.lifecycle import TransferStatus
from domain.order.facts import PaymentDoubted
from domain.pause import EVERYTHING
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer.facts import HeldBack
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.simulators.hyperswitch import (
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from infrastructure.simulators.stripe import SimulatorControl
from tests.support import ledger_process
from tests.support.idempotency_keys import without_ledger
from tests.support.ledger_view import LedgerView
from tests.support.missed_webhooks import (
    LedgerWithoutWebhooks,
    deliver_webhook,
    ledger_without_webhooks,
    with_both_providers,
)
from tests.support.service import CREATE, CURRENCY, SystemUnderTest


@pytest.fixture
async def psp(psp_config: HyperswitchConfig) -> AsyncIterator[HyperswitchControl]:
    async with running_hyperswitch(psp_config) as (_, control):
        yield control


@pytest.fixture
async def ledger(
    system: SystemUnderTest, psp: HyperswitchControl
) -> AsyncIterator[LedgerWithoutWebhooks]:
    async with ledger_without_webhooks(
        replace(with_both_providers(system.settings, psp.url), stripe_timeout=timedelta(minutes=1))
    ) as ledger:
        yield ledger


async def unsent(ledger: LedgerWithoutWebhooks, psp: HyperswitchControl) -> None:
    """Make an order that is paid, while nothing is sent."""
    await ledger.service.commands.operator.pause(EVERYTHING, "test", "so that something is unsent")
    await ledger.order(psp)


async def fails(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, shown: str = "failed"
) -> None:
    """Send the webhook, and set the payment provider's own state."""
    await psp.settle_payment("pay_o1", shown, announce=False)
    await deliver_webhook(
        ledger,
        "evt_failed",
        "payment_failed",
        ledger_process.payment("o1", 1_000) | {"status": "failed"},
    )


async def goes_on(ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView) -> None:
    """Work goes on, and everything that was due before has had its turn."""
    await ledger.service.commands.operator.resume(EVERYTHING, "test", "goes on")
    await ledger.order(psp, "o2")
    await view.reached("o2", "completed")


def waits(view: LedgerView) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        row = await view.transfer("o1")
        return (row.next_retry_at, row.waiting_for) == (None, "payment")

    return there


async def test_unsent_transfer_is_held_until_retry(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    system: SystemUnderTest,
    view: LedgerView,
) -> None:
    await unsent(ledger, psp)
    await fails(ledger, psp)
    await view.until(waits(view), "it is held back")
    await goes_on(ledger, psp, view)
    row = await view.transfer("o1")
    assert (row.status, row.last_error) == (
        "pending",
        "The payment 'pay_o1' of order 'o1' was recorded as succeeded, and is now reported as "
        "failed; "
        "the payment provider shows it as 'failed'",
    )
    alarms = await ledger.alarms()
    assert alarms["payment_failed_after_paid"].endswith(
        "shows it as 'failed'. Transfers held back: 1; paid already: 0."
    )
    assert alarms["held_back"].endswith(
        "Nothing is sent before the transfer is retried or resolved."
    )

    await ledger.service.commands.operator.retry(row.transfer_id, "olga", "the bank has the money")
    await view.reached("o1", "completed")
    assert [without_ledger(call["key"]) for call in await system.posts(CREATE)].count(
        f"transfer:{row.transfer_id}:e1"
    ) == 1
    assert "held_back" not in await ledger.alarms()


async def test_failure_report_is_stale_when_payment_succeeded(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await unsent(ledger, psp)
    await fails(ledger, psp, shown="succeeded")
    await view.until(lambda: _is(ledger, "ignored"), "it is ignored")
    await ledger.service.commands.operator.resume(EVERYTHING, "test", "goes on")
    await view.reached("o1", "completed")
    assert await ledger.alarms() == {}
    ((_, reason),) = [
        row.values() for row in await view.select("select status, reason from webhook_inbox")
    ]
    assert reason == "the payment provider was asked, and payment 'pay_o1' has succeeded"


async def _is(ledger: LedgerWithoutWebhooks, status: str) -> bool:
    return [row[2] for row in await ledger.inbox()] == [status]


async def test_failure_report_is_believed_when_provider_is_silent(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await unsent(ledger, psp)
    await psp.fault("status", "payments.retrieve", status=503)
    await fails(ledger, psp, shown="succeeded")
    await view.until(waits(view), "it is held back")
    assert "could not tell" in (await ledger.alarms())["payment_failed_after_paid"]


async def test_failure_of_other_payment_holds_nothing(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await unsent(ledger, psp)
    shown = ledger_process.payment("o1", 1_000) | {
        "payment_id": "pay_first_try",
        "status": "failed",
    }
    await deliver_webhook(ledger, "evt_failed", "payment_failed", shown)
    await view.until(lambda: _is(ledger, "ignored"), "it is ignored")
    await ledger.service.commands.operator.resume(EVERYTHING, "test", "goes on")
    await view.reached("o1", "completed")


@pytest.mark.parametrize(
    ("amount", "status", "left"), [(1_000, "cancelled", 900), (500, "pending", 450)]
)
async def test_refund_during_hold_reduces_amount_and_sends_nothing(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    system: SystemUnderTest,
    view: LedgerView,
    amount: int,
    status: str,
    left: int,
) -> None:
    await unsent(ledger, psp)
    await fails(ledger, psp)
    await view.until(waits(view), "it is held back")
    await deliver_webhook(
        ledger, "evt_refund", "refund_succeeded", ledger_process.refund("r1", "o1", amount)
    )
    await view.until(lambda: _refunded(view), "the refund is recorded")
    await goes_on(ledger, psp, view)
    row = await view.transfer("o1")
    assert (row.status, row.amount, row.next_retry_at) == (status, left, None)
    assert [call["status"] for call in await system.posts(CREATE)] == [200], (
        "only the other order's"
    )
    if status == "pending":
        await ledger.service.commands.operator.retry(
            row.transfer_id, "olga", "the bank has the money"
        )
        (row,) = await view.reached("o1", "completed")
        assert row.amount == left
    assert "held_back" not in await ledger.alarms()


async def _refunded(view: LedgerView) -> bool:
    return bool(await view.select("select from refunds where status = 'succeeded'"))


async def test_call_in_flight_is_decided_by_its_outcome(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    stripe: SimulatorControl,
    view: LedgerView,
) -> None:
    await stripe.hold(CREATE, point="after_commit")
    await ledger.order(psp)
    await stripe.wait_until_held(CREATE)
    await fails(ledger, psp)
    (row,) = await view.transfers("o1")
    await view.happened(row.transfer_id, HeldBack)
    await stripe.release(CREATE)
    await view.reached("o1", "completed")
    assert "held_back" not in await ledger.alarms()


async def test_refused_call_in_flight_is_not_repeated(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    stripe: SimulatorControl,
    system: SystemUnderTest,
    view: LedgerView,
) -> None:
    await stripe.hold(CREATE)
    await ledger.order(psp)
    await stripe.wait_until_held(CREATE)
    await fails(ledger, psp)
    (row,) = await view.transfers("o1")
    await view.happened(row.transfer_id, HeldBack)
    await stripe.drain(CURRENCY.lower())
    await stripe.release(CREATE)
    await view.happened(row.transfer_id, HeldBack, times=2)
    await stripe.fund(CURRENCY.lower(), 1_000_000)
    await goes_on(ledger, psp, view)
    assert (await view.transfer("o1")).waiting_for == "payment"
    assert (
        len(
            [
                call
                for call in await system.posts(CREATE)
                if without_ledger(call["key"]) == f"transfer:{row.transfer_id}:e1"
            ]
        )
        == 1
    )


async def test_paid_transfers_are_reported_and_held_ones_resolvable(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    stripe: SimulatorControl,
    view: LedgerView,
) -> None:
    await stripe.change_account("acct_1ben", transfers_capability="inactive")
    await ledger.order(psp, anna=500, ben=300)
    await view.reached("o1", "completed", "failed")
    await fails(ledger, psp)
    doubted = await view.happened(order_stream("o1"), PaymentDoubted)
    assert (doubted.held, doubted.sent) == (1, 1)
    (_, ben) = await view.transfers("o1")
    assert ben.waiting_for == "payment"
    service = ledger.service
    await service.commands.operator.resolve(
        service.gateway, ben.transfer_id, "olga", "the buyer never paid", "ticket-7"
    )
    await view.reached("o1", "completed", "permanently_failed")
    assert set(await ledger.alarms()) == {"payment_failed_after_paid"}


async def test_ready_account_does_not_release_payment_hold(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    stripe: SimulatorControl,
    view: LedgerView,
) -> None:
    """A worker that claimed a transfer waiting for the account just before the hold must not send
    it."""
    await stripe.change_account("acct_1anna", transfers_capability="inactive")
    await ledger.order(psp)
    (row,) = await view.reached("o1", "failed")
    await fails(ledger, psp)
    await view.until(waits(view), "it is held back")

    class LookedBefore(PostgresDirectory):
        async def waiting(
            self, status: str, waiting_for: str, account: str | None, after: UUID | None
        ) -> list[UUID]:
            return [row.transfer_id] if after is None else []

    service = ledger.service
    work = AccountPauses(
        CommandHandler(PostgresEventLog(service.store), service.clock), LookedBefore(service.pool)
    )
    await work.retry(
        TransferStatus.FAILED,
        WaitingFor.ACCOUNT,
        "acct_1anna",
        "stripe:evt_1",
        "its account may be paid again",
    )
    assert await waits(view)()


async def test_repeated_failure_report_holds_no_released_transfer(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await unsent(ledger, psp)
    await fails(ledger, psp)
    await view.until(waits(view), "it is held back")
    row = await view.transfer("o1")
    await ledger.service.commands.operator.retry(row.transfer_id, "olga", "the bank has the money")
    await deliver_webhook(
        ledger,
        "evt_again",
        "payment_failed",
        ledger_process.payment("o1", 1_000) | {"status": "failed"},
    )
    await view.until(lambda: _all_done(ledger), "it is handled")
    await ledger.service.commands.operator.resume(EVERYTHING, "test", "goes on")
    await view.reached("o1", "completed")


async def _all_done(ledger: LedgerWithoutWebhooks) -> bool:
    return all(status == "done" for _, _, status in await ledger.inbox())
