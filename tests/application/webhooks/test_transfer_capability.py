"""Accounts that can receive transfers by any one of several capabilities, in both of Stripe's
APIs."""

from collections.abc import AsyncIterator, Mapping

import pytest

from application.webhooks.stripe.accounts import V2_UPDATED
from application.webhooks.stripe.events import AccountObject
from application.webhooks.stripe.transfer_capability import (
    TransferState,
    account_of_v2,
    transfer_state,
)
from tests.support.told_ledger import ACCOUNT, OWN_ACCOUNT, ToldLedger, told_ledger

PATH = f"/v1/accounts/{ACCOUNT}"
V2_PATH = f"/v2/core/accounts/{ACCOUNT}?include[0]=configuration.recipient"


@pytest.fixture
async def ledger() -> AsyncIterator[ToldLedger]:
    async with told_ledger() as ledger:
        await ledger.sells(charge="ch_1")
        yield ledger


@pytest.mark.parametrize(
    ("capabilities", "state"),
    [
        ({"transfers": "active"}, TransferState.ALLOWED),
        ({"transfers": "inactive"}, TransferState.NOT_ALLOWED),
        ({"transfers": "inactive", "crypto_transfers": "active"}, TransferState.ALLOWED),
        ({"transfers": "pending", "legacy_payments": "active"}, TransferState.ALLOWED),
        ({"legacy_payments": "active"}, TransferState.ALLOWED),
        ({"transfers": "inactive", "legacy_payments": "pending"}, TransferState.NOT_ALLOWED),
        ({"transfers": "inactive", "card_payments": "active"}, TransferState.NOT_ALLOWED),
        ({"transfers": "inactive", "legacy_payments": "of the future"}, TransferState.UNKNOWN),
        ({"card_payments": "active"}, TransferState.UNKNOWN),
        ({}, TransferState.UNKNOWN),
    ],
)
def test_account_is_paid_by_any_active_capability(
    capabilities: dict[str, str], state: TransferState
) -> None:
    assert transfer_state(AccountObject(ACCOUNT, capabilities)) is state


async def test_seller_with_another_capability_is_not_paused(ledger: ToldLedger) -> None:
    shown = {"transfers": "inactive", "legacy_payments": "active"}
    told = {"id": ACCOUNT, "object": "account", "capabilities": shown}
    assert await ledger.stripe_tells("account.updated", told, account=ACCOUNT) == "done"
    assert not await ledger.is_paused()


async def test_capability_event_reads_the_whole_account(ledger: ToldLedger) -> None:
    """`transfers` is not active any more, but Stripe shows another one that is."""
    shown = {"transfers": "inactive", "crypto_transfers": "active"}
    ledger.stripe.objects[PATH] = {"id": ACCOUNT, "capabilities": shown}
    await capability_told(ledger, "transfers", "inactive")
    assert not await ledger.is_paused()
    ledger.stripe.objects[PATH] = {"id": ACCOUNT, "capabilities": {"transfers": "inactive"}}
    await capability_told(ledger, "crypto_transfers", "inactive")
    assert await ledger.is_paused()
    ledger.stripe.objects[PATH] = {"id": ACCOUNT, "capabilities": {"legacy_payments": "active"}}
    await capability_told(ledger, "legacy_payments", "active")
    assert not await ledger.is_paused()


async def test_capabilities_of_an_unread_account_are_remembered(ledger: ToldLedger) -> None:
    """Each event tells one capability, and the seller is paused only when none is active."""
    await capability_told(ledger, "legacy_payments", "active")
    await capability_told(ledger, "transfers", "inactive")
    assert not await ledger.is_paused()
    await capability_told(ledger, "crypto_transfers", "pending")
    assert not await ledger.is_paused()
    await capability_told(ledger, "legacy_payments", "inactive")
    assert await ledger.is_paused()
    await capability_told(ledger, "crypto_transfers", "active")
    assert not await ledger.is_paused()


async def test_whole_unread_account_replaces_what_is_remembered(ledger: ToldLedger) -> None:
    await capability_told(ledger, "legacy_payments", "active")
    told = {"id": ACCOUNT, "object": "account", "capabilities": {"transfers": "inactive"}}
    assert await ledger.stripe_tells("account.updated", told, account=ACCOUNT) == "done"
    assert await ledger.is_paused()


async def test_account_and_capability_told_together_do_not_pause(ledger: ToldLedger) -> None:
    """Stripe tells one change by both events."""
    shown = {"transfers": "inactive", "crypto_transfers": "active"}
    told = {"id": ACCOUNT, "object": "account", "capabilities": shown}
    await ledger.stripe_tells("account.updated", told, account=ACCOUNT)
    await capability_told(ledger, "transfers", "inactive")
    assert not await ledger.is_paused()


async def test_one_inactive_capability_of_an_unread_account_pauses_nobody(
    ledger: ToldLedger,
) -> None:
    """`transfers`, which nearly all accounts use, was not told, and may be active."""
    assert await capability_told(ledger, "legacy_payments", "inactive") == "ignored"
    assert not await ledger.is_paused()
    assert await capability_told(ledger, "transfers", "inactive") == "done"
    assert await ledger.is_paused()
    assert await capability_told(ledger, "crypto_transfers", "active") == "done"
    assert not await ledger.is_paused()


async def capability_told(ledger: ToldLedger, name: str, status: str) -> str:
    told = {"id": name, "object": "capability", "account": ACCOUNT, "status": status}
    return await ledger.stripe_tells("capability.updated", told, account=ACCOUNT)


# --- the v2 API -----------------------------------------------------------------------------------


def a_v2_account(status: str, **members: object) -> dict[str, object]:
    transfers = {"stripe_balance": {"stripe_transfers": {"status": status}}}
    return {"id": ACCOUNT, "configuration": {"recipient": {"capabilities": transfers}}, **members}


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (a_v2_account("active"), TransferState.ALLOWED),
        (a_v2_account("active", closed=True), TransferState.NOT_ALLOWED),
        (a_v2_account("restricted"), TransferState.NOT_ALLOWED),
        (a_v2_account("unsupported"), TransferState.NOT_ALLOWED),
        (a_v2_account("pending"), TransferState.NOT_ALLOWED),
        ({"id": ACCOUNT, "configuration": None}, TransferState.UNKNOWN),
        ({"id": ACCOUNT, "closed": True}, TransferState.NOT_ALLOWED),
    ],
)
def test_v2_account_is_read(shown: Mapping[str, object], state: TransferState) -> None:
    assert transfer_state(account_of_v2(ACCOUNT, shown)) is state


@pytest.mark.parametrize("context", [None, ACCOUNT, f"{OWN_ACCOUNT}/{ACCOUNT}", OWN_ACCOUNT])
@pytest.mark.parametrize("event_type", V2_UPDATED)
async def test_v2_event_reads_the_account(
    ledger: ToldLedger, event_type: str, context: str | None
) -> None:
    ledger.stripe.objects[PATH] = {"id": ACCOUNT, "capabilities": {"transfers": "inactive"}}
    assert await v2_told(ledger, event_type, context) == "done"
    assert await ledger.is_paused()
    ledger.stripe.objects[PATH] = {"id": ACCOUNT, "capabilities": {"transfers": "active"}}
    assert await v2_told(ledger, event_type, context) == "done"
    assert not await ledger.is_paused()


async def test_v2_event_of_another_account_is_ignored(ledger: ToldLedger) -> None:
    ledger.stripe.objects[PATH] = {"id": ACCOUNT, "capabilities": {"transfers": "inactive"}}
    for event_type in V2_UPDATED:
        assert await v2_told(ledger, event_type, "acct_ben") == "ignored"
    assert (await ledger.is_paused(), ledger.stripe.asked) == (False, [])


async def test_account_that_only_the_v2_api_shows_is_read_there(ledger: ToldLedger) -> None:
    ledger.stripe.objects[V2_PATH] = a_v2_account("restricted")
    assert await v2_told(ledger, V2_UPDATED[3], ACCOUNT) == "done"
    assert await ledger.is_paused()


@pytest.mark.parametrize("event_type", V2_UPDATED)
async def test_unreadable_v2_account_is_paused_only_if_closed(
    ledger: ToldLedger, event_type: str
) -> None:
    closed = event_type == "v2.core.account.closed"
    assert await v2_told(ledger, event_type, ACCOUNT) == ("done" if closed else "ignored")
    assert (await ledger.is_paused(), await ledger.alarms()) == (closed, ["paused"] * closed)


async def v2_told(ledger: ToldLedger, event_type: str, context: str | None) -> str:
    url = f"/v2/core/accounts/{ACCOUNT}"
    related = {"id": ACCOUNT, "type": "v2.core.account", "url": url}
    body = {"id": "evt", "object": "v2.core.event", "type": event_type, "livemode": False}
    return await ledger.hears(
        "stripe", event_type, {**body, "context": context, "related_object": related}
    )
