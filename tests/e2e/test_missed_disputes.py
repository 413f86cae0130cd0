"""Lost webhooks of disputes: the poller finds each status in the PSP's list of disputes, and the
sellers bear their shares once."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pytest

from infrastructure.simulators.hyperswitch import (
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from tests.support.ledger_view import LedgerView
from tests.support.missed_webhooks import (
    AFTER_GRACE,
    PSP,
    LedgerWithoutWebhooks,
    ledger_without_webhooks,
    with_both_providers,
)
from tests.support.service import CURRENCY, SystemUnderTest

WEEK = timedelta(days=7)


@pytest.fixture
async def psp(psp_config: HyperswitchConfig) -> AsyncIterator[HyperswitchControl]:
    async with running_hyperswitch(psp_config) as (_, control):
        yield control


@pytest.fixture
async def ledger(
    system: SystemUnderTest, psp: HyperswitchControl
) -> AsyncIterator[LedgerWithoutWebhooks]:
    async with ledger_without_webhooks(with_both_providers(system.settings, psp.url)) as ledger:
        yield ledger


async def _found(
    ledger: LedgerWithoutWebhooks, ahead: timedelta = AFTER_GRACE
) -> Mapping[str, int]:
    """Poll the PSP, and return the missed disputes by event type."""
    found = await ledger.check(PSP, ahead)
    assert found.failure is None
    return {kind: count for kind, count in found.types.items() if kind.startswith("dispute")}


async def _is_not_open(view: LedgerView) -> bool:
    return "dispute_open" not in await view.alarms()


async def test_missed_dispute_takes_the_shares_once(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    """Neither the opening nor the loss is ever delivered."""
    await ledger.order(psp)
    await view.reached("o1", "completed")
    dispute = await psp.open_dispute("pay_o1", 500)
    assert await _found(ledger) == {"dispute_opened": 1}
    await view.until(lambda: _known(view, "opened"), "the dispute is recorded")
    assert await _found(ledger, 2 * AFTER_GRACE) == {}, "the ledger knows this status"

    await psp.settle_dispute(dispute, "lost", announce=False)
    assert await _found(ledger, WEEK) == {"dispute_lost": 1}
    await view.until(lambda: _is_not_open(view), "the dispute is lost")
    (transfer,) = await view.reached("o1", "partially_reversed")
    assert transfer.amount_reversed == 450
    assert await _found(ledger, 2 * WEEK) == {}


async def test_missed_win_returns_nothing_and_clears_the_alarm(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.order(psp)
    await view.reached("o1", "completed")
    dispute = await psp.open_dispute("pay_o1")
    assert await _found(ledger) == {"dispute_opened": 1}
    await psp.settle_dispute(dispute, "won", announce=False)
    assert await _found(ledger, WEEK) == {"dispute_won": 1}
    await view.until(lambda: _is_not_open(view), "the dispute is won")
    (transfer,) = await view.transfers("o1")
    assert (transfer.status, transfer.amount_reversed) == ("completed", 0)


async def test_psp_without_list_of_disputes_hides_no_payment(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    """A PSP of an older version answers 404."""
    await psp.fault("status", "disputes.list", status=404)
    await ledger.register()
    await psp.take_payment("pay_o1", 1_000, CURRENCY, metadata={"order_id": "o1"})
    found = await ledger.check(PSP)
    assert (dict(found.types), found.failure) == ({"payment_succeeded": 1}, None)


async def _known(view: LedgerView, status: str) -> bool:
    return [row["status"] for row in await view.select("select status from disputes")] == [status]
