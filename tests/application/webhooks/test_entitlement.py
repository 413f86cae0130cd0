"""Who may say what: every refund, dispute and transfer event of both providers, by sender and by
the payment of the order, through the real handlers."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from application.missed_webhooks import psp_refunds
from application.webhooks.entitlement import TABLE, rule_of
from domain.lifecycle import TransferStatus
from domain.provider_call.psp_objects import PaymentAtPsp, RefundAtPsp
from domain.provider_call.stripe_objects import TransferAtStripe
from tests.support.told_ledger import ACCOUNT, OWN_ACCOUNT, SHARE, ToldLedger, told_ledger

DOCS = Path(__file__).parents[3] / "docs"
TAKEN = 360
"""Anna's share of 400 of 1000."""


@pytest.fixture
async def ledger() -> AsyncIterator[ToldLedger]:
    async with told_ledger() as ledger:
        yield ledger


SENDERS: Mapping[str, Mapping[str, object]] = {
    "platform": {},
    "platform named": {"context": OWN_ACCOUNT},
    "platform null": {"account": None, "context": None},
    "account": {"account": ACCOUNT},
    "context": {"context": ACCOUNT},
    "context path": {"context": f"{OWN_ACCOUNT}/{ACCOUNT}"},
    "user_id": {"user_id": ACCOUNT},
    "unreadable": {"account": {"id": ACCOUNT}},
}
ENTITLED = ("platform", "platform named", "platform null")

REFUND: Mapping[str, object] = {
    "object": "refund", "amount": 400, "currency": "eur", "status": "succeeded",
    "metadata": {"order_id": "o1"},
}  # fmt: skip
DISPUTE: Mapping[str, object] = {
    "object": "dispute", "amount": 400, "currency": "eur", "status": "needs_response",
    "metadata": {"order_id": "o1"},
}  # fmt: skip
STRIPES_EVENTS: Mapping[str, Mapping[str, object]] = {
    "refund.created": REFUND,
    "refund.updated": REFUND,
    "charge.refund.updated": REFUND,
    "charge.dispute.funds_withdrawn": DISPUTE,
    "charge.refunded": {"object": "charge", "amount_refunded": 400, "metadata": {"order_id": "o1"}},
}


@dataclass(frozen=True)
class Payment:
    """The payment of the order, the payment in the report, and whether it is the same one."""

    paid: Mapping[str, str | None]
    told: Mapping[str, object]
    match: str


STRIPES_PAYMENTS: Mapping[str, Payment] = {
    "same intent": Payment({"payment_id": "pi_1"}, {"payment_intent": "pi_1"}, "same"),
    "same charge": Payment(
        {"charge": "ch_1"}, {"charge": "ch_1", "payment_intent": "pi_1"}, "same"
    ),
    "other intent": Payment({"payment_id": "pi_1"}, {"payment_intent": "pi_2"}, "other"),
    "other charge": Payment({"charge": "ch_1"}, {"charge": "ch_2"}, "other"),
    "other of both": Payment(
        {"payment_id": "pi_1", "charge": "ch_1"}, {"payment_intent": "pi_2"}, "other"
    ),
    "charge for intent": Payment({"payment_id": "pi_1"}, {"charge": "ch_2"}, "unknown"),
    "order's unknown": Payment({}, {"payment_intent": "pi_2", "charge": "ch_2"}, "unknown"),
    "report's null": Payment(
        {"payment_id": "pi_1"}, {"payment_intent": None, "charge": None}, "unknown"
    ),
    "of the PSP": Payment({"payment_id": "pay_1"}, {"payment_intent": "pi_2"}, "PSP"),
}


@pytest.mark.parametrize("form", ["snapshot", "thin"])
@pytest.mark.parametrize("payment", STRIPES_PAYMENTS)
@pytest.mark.parametrize("event_type", STRIPES_EVENTS)
async def test_stripe_report_counts_from_entitled_senders_only(
    ledger: ToldLedger, event_type: str, payment: str, form: str
) -> None:
    """A report takes from the seller only if the platform's own account tells it, and never for a
    payment that is known to be another one."""
    case = STRIPES_PAYMENTS[payment]
    await ledger.sells(payment_id=case.paid.get("payment_id"), charge=case.paid.get("charge"))
    told = {"id": "re_1", **STRIPES_EVENTS[event_type], **case.told}
    for sender in [name for name in SENDERS if name not in ENTITLED]:
        assert await tells(ledger, form, event_type, told, SENDERS[sender]) == "ignored", sender
    assert await ledger.taken() == 0
    counts = case.match in ("same", "unknown") and event_type != "charge.refunded"
    for sender in ENTITLED:
        await tells(ledger, form, event_type, told, SENDERS[sender])
        assert await ledger.taken() == (TAKEN if counts else 0), sender
    surplus = case.match == "other" and event_type != "charge.refunded"
    kind = "dispute" if "dispute" in event_type else "refund"
    alarms = [alarm for alarm in await ledger.alarms() if "surplus" in alarm]
    assert set(alarms) == ({f"{kind}_of_surplus_payment"} if surplus else set())


async def tells(
    ledger: ToldLedger,
    form: str,
    event_type: str,
    told: Mapping[str, object],
    envelope: Mapping[str, object],
) -> str:
    if form == "snapshot":
        return await ledger.stripe_tells(event_type, told, **envelope)
    return await ledger.thin_tells(f"v1.{event_type}", "/v1/objects/re_1", told, **envelope)


PSPS_EVENTS: Mapping[str, tuple[int, str]] = {
    "refund_succeeded": (TAKEN, "refund_of_surplus_payment"),
    "refund_failed": (0, ""),
    "refund_review": (0, ""),
    "dispute_opened": (0, "dispute_of_surplus_payment"),
    "dispute_lost": (TAKEN, "dispute_of_surplus_payment"),
    "dispute_won": (0, ""),
    "dispute_cancelled": (0, ""),
}
"""The amount taken for the order's own payment, and the alarm for another one."""
PSPS_PAYMENTS = {
    "same": ("pay_1", "pay_1"),
    "other": ("pay_1", "pay_2"),
    "unknown": (None, "pay_2"),
}


@pytest.mark.parametrize(("event_type", "payment"), list(product(PSPS_EVENTS, PSPS_PAYMENTS)))
async def test_psp_report_counts_for_the_orders_payment_only(
    ledger: ToldLedger, event_type: str, payment: str
) -> None:
    paid_by, told = PSPS_PAYMENTS[payment]
    await ledger.sells(payment_id=paid_by)
    taken, alarm = PSPS_EVENTS[event_type]
    await ledger.psp_tells(event_type, {**AT_PSP, "payment_id": told})
    other = payment == "other"
    assert await ledger.taken() == (0 if other else taken)
    raised = [kind for kind in await ledger.alarms() if "surplus" in kind]
    assert raised == ([alarm] if other and alarm else [])


AT_PSP: Mapping[str, object] = {
    "refund_id": "ref_1", "dispute_id": "dp_1", "amount": 400, "currency": "EUR",
    "status": "succeeded", "metadata": {"order_id": "o1"},
}  # fmt: skip


async def test_alarm_of_a_surplus_refund_names_what_to_do(ledger: ToldLedger) -> None:
    await ledger.sells(payment_id="pay_1")
    await ledger.psp_tells("refund_succeeded", {**AT_PSP, "payment_id": "pay_2"})
    (alarm,) = await ledger.storage.alarms.raised()
    named = ("'o1'", "pay_1", "pay_2", "4.00 EUR", "`inbox discard 1`")
    assert [part for part in named if part not in alarm.detail] == []


async def test_refund_goes_to_the_order_of_its_payment(ledger: ToldLedger) -> None:
    """The metadata names another order than the payment: it is only a hint."""
    await ledger.sells("o1", payment_id="pay_1")
    await ledger.sells("o2", payment_id="pay_2")
    await ledger.psp_tells("refund_succeeded", {**AT_PSP, "payment_id": "pay_2"})
    assert (await ledger.taken("o1"), await ledger.taken("o2")) == (0, TAKEN)


async def test_stripe_refund_goes_to_the_order_of_its_refund_id(ledger: ToldLedger) -> None:
    """The order that recorded the refund first keeps it, whatever its metadata says now."""
    await ledger.sells("o1", charge="ch_1")
    await ledger.sells("o2")
    named = {**REFUND, "id": "re_1", "charge": "ch_1"}
    await ledger.stripe_tells("refund.created", {**named, "metadata": {}})
    renamed = {**named, "charge": None, "metadata": {"order_id": "o2"}}
    assert await ledger.stripe_tells("refund.failed", {**renamed, "status": "failed"}) == "done"
    assert (await ledger.commands.orders.order("o1")).refunded == 0
    assert await ledger.taken("o2") == 0


@pytest.mark.parametrize("paid_first", [True, False])
async def test_refund_before_the_payment_is_known_is_revoked(
    ledger: ToldLedger, *, paid_first: bool
) -> None:
    """A refund of pay_2 is told before pay_1 pays the order, or before its id is known."""
    await ledger.sells(paid=paid_first)
    await ledger.psp_tells("refund_succeeded", {**AT_PSP, "payment_id": "pay_2"})
    assert await ledger.commands.orders.order("o1")
    payment = {"payment_id": "pay_1", "status": "succeeded", "amount": 1_000, "currency": "EUR"}
    await ledger.psp_tells("payment_succeeded", {**payment, "metadata": {"order_id": "o1"}})
    order = await ledger.commands.orders.order("o1")
    sent = [
        await ledger.commands.operator.transfer(transfer_id) for transfer_id in order.transfer_ids()
    ]
    assert sum(transfer.amount for transfer in sent) == SHARE
    assert order.set_aside == {"ref_1": 400}
    assert await ledger.alarms() == ["refund_set_aside"]


async def test_dispute_before_the_payment_is_known_is_revoked(ledger: ToldLedger) -> None:
    await ledger.sells()
    told = {**DISPUTE, "id": "dp_1", "payment_intent": "pi_2"}
    assert await ledger.stripe_tells("charge.dispute.funds_withdrawn", told) == "done"
    assert await ledger.taken() == TAKEN
    await ledger.commands.orders.record_payment("o1", "pi_1", None, "api")
    order = await ledger.commands.orders.order("o1")
    sent = [
        await ledger.commands.operator.transfer(transfer_id) for transfer_id in order.transfer_ids()
    ]
    assert sum(transfer.amount for transfer in sent) == SHARE
    assert "dispute_set_aside" in await ledger.alarms()
    assert await ledger.stripe_tells("charge.dispute.updated", told) == "parked"
    assert "dispute_of_surplus_payment" in await ledger.alarms()


async def test_won_dispute_of_a_surplus_payment_needs_no_decision(ledger: ToldLedger) -> None:
    """Else a person could still decide that the sellers pay for a dispute that was won."""
    await ledger.sells()
    told = {**AT_PSP, "payment_id": "pay_2"}
    await ledger.psp_tells("dispute_lost", told)
    await ledger.commands.orders.record_payment("o1", "pay_1", None, "hyperswitch:evt_1")
    assert "dispute_set_aside" in await ledger.alarms()
    assert await ledger.psp_tells("dispute_won", told) == "done"
    order = await ledger.commands.orders.order("o1")
    assert (order.set_aside, "dispute_set_aside" in await ledger.alarms()) == ({}, False)
    assert not any(dispute.effective for dispute in order.disputes.values())


async def test_polled_refund_of_a_surplus_payment_takes_nothing(ledger: ToldLedger) -> None:
    """The poller's event passes the same check as a webhook."""
    await ledger.sells(payment_id="pay_1")
    seen = RefundAtPsp("ref_1", "pay_2", 400, "EUR", "succeeded", order_id="o1")
    event_id, event_type, body = psp_refunds._event(seen, None)
    await ledger.hears_bytes("hyperswitch", event_id, event_type, body)
    assert (await ledger.taken(), await ledger.alarms()) == (0, ["refund_of_surplus_payment"])


async def test_unnamed_second_payment_is_asked_for_at_the_psp() -> None:
    """Neither the refund nor the dispute names an order, but the payment at the PSP does."""
    async with told_ledger(PaymentsAtPsp()) as ledger:  # type: ignore[arg-type]
        await ledger.sells(payment_id="pay_1")
        told = {**AT_PSP, "payment_id": "pay_2", "metadata": None}
        await ledger.psp_tells("refund_succeeded", told)
        await ledger.psp_tells("dispute_lost", told)
        kinds = {"refund_of_surplus_payment", "dispute_of_surplus_payment"}
        assert (await ledger.taken(), set(await ledger.alarms())) == (0, kinds)


class PaymentsAtPsp:
    """A PSP that shows each payment with our order in its metadata."""

    async def payment(self, payment_id: str) -> PaymentAtPsp:
        return PaymentAtPsp(payment_id, 1_000, "EUR", "succeeded", order_id="o1")


async def test_recorded_refund_that_fails_gives_back(ledger: ToldLedger) -> None:
    await ledger.sells(payment_id="pay_1")
    await ledger.psp_tells("refund_succeeded", {**AT_PSP, "payment_id": "pay_1"})
    failed = {**AT_PSP, "payment_id": "pay_1", "status": "failed"}
    assert await ledger.psp_tells("refund_failed", failed) == "done"
    order = await ledger.commands.orders.order("o1")
    assert order.refunded == 0


# --- transfers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["snapshot", "thin"])
@pytest.mark.parametrize("sender", SENDERS)
async def test_transfer_is_completed_by_the_platform_only(
    ledger: ToldLedger, sender: str, form: str
) -> None:
    """A seller can create a transfer with our ids in its metadata in the own account."""
    await ledger.sells(charge="ch_1")
    ours = str((await ledger.transfer()).id)
    told = {
        "id": "tr_1", "object": "transfer", "amount": SHARE, "amount_reversed": 0,
        "currency": "eur", "destination": ACCOUNT, "metadata": {"transfer_id": ours},
    }  # fmt: skip
    ledger.stripe.transfers["tr_1"] = TransferAtStripe("tr_1", SHARE, 0, "EUR", ACCOUNT, ours)
    if form == "snapshot":
        await ledger.stripe_tells("transfer.created", told, **SENDERS[sender])
    else:
        url = "/v1/transfers/tr_1"
        await ledger.thin_tells("v1.transfer.created", url, told, **SENDERS[sender])
    completed = (await ledger.transfer()).status is TransferStatus.COMPLETED
    assert completed == (sender in ENTITLED)


async def test_thin_transfer_without_an_object_is_parked(ledger: ToldLedger) -> None:
    body = {"id": "evt", "type": "v1.transfer.reversed", "livemode": False}
    assert await ledger.hears("stripe", "v1.transfer.reversed", body) == "parked"
    assert await ledger.alarms() == ["webhook_unreadable"]


# --- accounts, capabilities, payouts ---------------------------------------------------------------

SELF: Mapping[str, tuple[Mapping[str, object], str]] = {
    "account": ({"account": ACCOUNT}, "done"),
    "context path": ({"context": f"{OWN_ACCOUNT}/{ACCOUNT}"}, "done"),
    "user_id": ({"user_id": ACCOUNT}, "done"),
    "another account": ({"account": "acct_ben"}, "ignored"),
    "the platform": ({}, "ignored"),
    "the platform named": ({"context": OWN_ACCOUNT}, "ignored"),
}
ABOUT_ACCOUNTS: Mapping[str, Mapping[str, object]] = {
    "account.updated": {
        "id": ACCOUNT, "object": "account", "capabilities": {"transfers": "inactive"},
    },
    "capability.updated": {
        "id": "transfers", "object": "capability", "account": ACCOUNT, "status": "inactive",
    },
}  # fmt: skip


@pytest.mark.parametrize(("event_type", "sender"), list(product(ABOUT_ACCOUNTS, SELF)))
async def test_account_speaks_about_itself_only(
    ledger: ToldLedger, event_type: str, sender: str
) -> None:
    await ledger.sells(charge="ch_1")
    envelope, status = SELF[sender]
    assert await ledger.stripe_tells(event_type, ABOUT_ACCOUNTS[event_type], **envelope) == status
    assert await ledger.is_paused() == (status == "done")


@pytest.mark.parametrize("event_type", ABOUT_ACCOUNTS)
async def test_thin_event_of_another_account_is_ignored(
    ledger: ToldLedger, event_type: str
) -> None:
    await ledger.sells(charge="ch_1")
    shown = {"id": ACCOUNT, "capabilities": {"transfers": "inactive"}}
    url = f"/v1/accounts/{ACCOUNT}"
    status = await ledger.thin_tells(f"v1.{event_type}", url, shown, context="acct_ben")
    assert (status, await ledger.is_paused()) == ("ignored", False)
    status = await ledger.thin_tells(f"v1.{event_type}", url, shown, context=ACCOUNT)
    assert (status, await ledger.is_paused()) == ("done", True)


async def test_payout_of_the_platform_touches_no_seller(ledger: ToldLedger) -> None:
    await ledger.sells(charge="ch_1")
    payout = {"id": "po_1", "amount": 5, "currency": "eur", "status": "paid"}
    assert await ledger.stripe_tells("payout.paid", payout) == "ignored"
    assert await ledger.stripe_tells("payout.paid", payout, account=ACCOUNT) == "done"


# --- the mode -------------------------------------------------------------------------------------


async def test_event_of_the_other_mode_is_ignored(ledger: ToldLedger) -> None:
    await ledger.sells(charge="ch_1")
    told = ABOUT_ACCOUNTS["account.updated"]
    status = await ledger.stripe_tells("account.updated", told, account=ACCOUNT, livemode=True)
    assert (status, await ledger.is_paused()) == ("ignored", False)
    assert "other mode" in ledger.row("evt_1")[1]


# --- the table ------------------------------------------------------------------------------------


def test_table_of_the_docs_is_the_table_of_the_code() -> None:
    lines = (DOCS / "security.md").read_text().splitlines()
    shown = [
        tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))
        for line in lines
        if line.startswith(("| hyperswitch |", "| stripe |"))
    ]
    assert shown == [tuple(map(str, rule)) for rule in TABLE]


async def test_each_handled_type_has_one_rule(ledger: ToldLedger) -> None:
    for provider, event_type in ledger.handled():
        assert rule_of(provider, event_type) is not None, event_type
