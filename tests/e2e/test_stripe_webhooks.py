"""Stripe's own webhooks, signed and delivered by the simulator to a `serve` process: the effect of
each type."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.json_types import Json
from tests.support.ledger_process import LedgerClient, signed
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, CURRENCY, REVERSE, account
from tests.support.stripe_events import a_dispute, a_refund, inbox_row

SECRET = "whsec_of_this_test"
PATIENT = {"TRANSFER_RETRY_BACKOFF_BASE": "1h", "REVERSAL_BACKOFF_BASE": "1h"}


class Shop:
    """A marketplace on a ledger that receives the webhooks of the simulated Stripe."""

    def __init__(self, web: LedgerClient, stripe: SimulatorControl, view: LedgerView) -> None:
        self.web, self.stripe, self.view = web, stripe, view

    async def sells(
        self, order_id: str = "o1", amount: int = 1_000, charge: str | None = "ch_1", **shares: int
    ) -> str:
        """Make an order paid through Stripe, and wait until its sellers are paid; return the Stripe
        id of its first transfer."""
        shares = shares or {"anna": 900}
        await self.orders(order_id, amount, charge, **shares)
        rows = await self.view.reached(order_id, *["completed"] * len(shares))
        return str(rows[0].stripe_transfer_id)

    async def orders(self, order_id: str, amount: int, charge: str | None, **shares: int) -> None:
        if charge is not None:
            await self.stripe.create_charge(charge, CURRENCY.lower(), amount)
        named = [
            {"seller_id": seller, "destination": account(seller), "amount": share}
            for seller, share in shares.items()
        ]
        body = {"order_id": order_id, "currency": CURRENCY, "amount": amount, "shares": named}
        (await self.web.http.post("/v1/orders", json=body)).raise_for_status()
        paid = {"source_transaction": charge} if charge is not None else {}
        (await self.web.http.post(f"/v1/orders/{order_id}/paid", json=paid)).raise_for_status()

    async def hears(
        self, type_: str, object_: Json, ends: str = "done", account: str | None = None
    ) -> Json:
        """Announce the event at Stripe; return its inbox row when it has this status."""
        event = await self.stripe.announce(type_, object_, account=account)
        return await inbox_row(self.view, event["id"], ends)

    async def heard(self, type_: str, ends: str) -> Json:
        """Wait until the latest event of this type has this status; return its inbox row."""

        async def there() -> list[Json]:
            rows = await self.view.select(
                "select * from webhook_inbox where event_type = %s order by inbox_id desc", type_
            )
            return [row for row in rows[:1] if row["status"] == ends]

        (row,) = await self.view.until(there, f"{type_} is {ends}")
        return row

    async def net(self, seller: str = "anna") -> int:
        held = (await self.stripe.ledger())["transfers"]
        return sum(
            t["amount"] - t["amount_reversed"] for t in held if t["destination"] == account(seller)
        )

    async def dispute(self) -> Json:
        (row,) = await self.view.select("select * from disputes")
        return row


OpenShop = Callable[..., Awaitable[Shop]]


@pytest.fixture
async def open_shop(
    processes: Processes, stripe: SimulatorControl, view: LedgerView
) -> AsyncIterator[OpenShop]:
    """All of Stripe's events are handled before the books are checked."""

    async def opened(payload: str = "snapshot", knobs: Json | None = None, **changes: str) -> Shop:
        served = await processes.start(STRIPE_WEBHOOK_SECRETS=SECRET, **changes)
        web = await processes.talk(served)
        for connect in (False, True):
            settings: Json = {"connect": connect, "payload": payload, "knobs": knobs or {}}
            await stripe.add_webhook_endpoint(f"{served.url}/webhooks/stripe", [SECRET], **settings)
        return Shop(web, stripe, view)

    async def handled() -> bool:
        return not await view.select("select from webhook_inbox where status = 'stored'")

    yield opened
    await stripe.flush_webhooks()
    await stripe.webhooks_quiet()
    await view.until(handled, "all webhooks are handled")


# --- disputes -------------------------------------------------------------------------------------


async def test_dispute_takes_withdrawn_funds_and_returns_them(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    await shop.hears("charge.dispute.created", a_dispute("dp_1", 400))
    assert "dispute_open" in await view.alarms()
    assert (await view.transfer("o1")).status == "completed"
    await shop.hears("charge.dispute.funds_withdrawn", a_dispute("dp_1", 400, moved=400))
    (row,) = await view.reached("o1", "partially_reversed")
    (reversal,) = await view.reversals("o1")
    assert (row.amount_reversed, reversal["reason"], reversal["refund_id"]) == (
        360,
        "dispute",
        "dispute dp_1",
    )
    for _ in range(2):
        await shop.hears("charge.dispute.funds_reinstated", a_dispute("dp_1", 400, "won"))
    await shop.hears("charge.dispute.closed", a_dispute("dp_1", 400, "won"))
    await view.reached("o1", "partially_reversed", "completed")
    assert (await shop.net(), (await shop.dispute())["status"]) == (900, "won")
    assert "dispute_open" not in await view.alarms()
    told = (await shop.web.get("/v1/orders/o1/history"))["data"]
    assert {"FundsWithdrawn", "DisputeCounted", "FundsReinstated", "DisputeRevoked", "Won"} <= {
        entry["fact"] for entry in told
    }


async def test_refund_and_dispute_never_exceed_the_share(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    await shop.hears("charge.dispute.funds_withdrawn", a_dispute("dp_1", 1_000, moved=1_000))
    await view.reached("o1", "reversed")
    await shop.hears("refund.updated", a_refund("re_1", 300))
    assert (await shop.net(), await view.alarms()) == (0, {"dispute_open"})
    await shop.hears("charge.dispute.funds_reinstated", a_dispute("dp_1", 1_000, "won"))
    await view.reached("o1", "reversed", "completed")
    assert await shop.net() == 900 - 270


async def test_dispute_reverses_only_when_lost_if_policy_says_so(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop(DISPUTE_POLICY="lost")
    await shop.sells()
    await shop.hears("charge.dispute.funds_withdrawn", a_dispute("dp_1", 400, moved=400))
    assert ((await shop.dispute())["status"], (await view.transfer("o1")).status) == (
        "withdrawn",
        "completed",
    )
    await shop.hears("charge.dispute.closed", a_dispute("dp_1", 400, "lost", moved=400))
    await view.reached("o1", "partially_reversed")
    assert (await shop.net(), (await shop.dispute())["status"]) == (540, "lost")


async def test_partly_reinstated_dispute_waits_for_a_person(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    await shop.hears("charge.dispute.funds_withdrawn", a_dispute("dp_1", 400, moved=400))
    await view.reached("o1", "partially_reversed")
    await shop.hears(
        "charge.dispute.funds_reinstated", a_dispute("dp_1", 400, "won", moved=150), "parked"
    )
    assert "dispute_reinstated_in_part" in await view.alarms()
    assert await shop.net() == 540


async def test_loss_after_reinstatement_is_parked_with_alarm(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    await shop.hears("charge.dispute.funds_reinstated", a_dispute("dp_1", 400, "won"))
    await shop.hears("charge.dispute.closed", a_dispute("dp_1", 400, "lost"), "parked")
    assert "dispute_disagrees" in await view.alarms()
    await shop.hears("charge.dispute.funds_withdrawn", a_dispute("dp_1", 400, moved=400))
    assert await shop.net() == 900


async def test_hyperswitch_dispute_reverses_when_lost_returns_when_won(
    open_shop: OpenShop, view: LedgerView
) -> None:
    web = (await open_shop()).web
    await web.order("o1", 1_000, anna=900)
    await web.pay("o1", 1_000)
    await view.reached("o1", "completed")
    dispute = {
        "dispute_id": "dp_hs",
        "payment_id": "pay_o1",
        "amount": "400",
        "currency": "EUR",
        "dispute_stage": "dispute",
    }
    for number, event_type in enumerate(
        ("dispute_opened", "dispute_challenged", "dispute_lost", "dispute_lost")
    ):
        await web.post(signed(f"evt_dispute_{number}", event_type, "dispute_details", dispute))
    (row,) = await view.reached("o1", "partially_reversed")
    assert row.amount_reversed == 360
    await web.post(signed("evt_won", "dispute_won", "dispute_details", dispute))
    await view.reached("o1", "partially_reversed", "completed")
    (known,) = await view.select("select status, provider from disputes")
    assert known == {"status": "won", "provider": "hyperswitch"}


HYPERSWITCHS_REFUND = signed(
    "evt_hs",
    "refund_succeeded",
    "refund_details",
    {
        "refund_id": "re_hs",
        "payment_id": "pay_1",
        "amount": 400,
        "currency": "EUR",
        "status": "succeeded",
        "metadata": {"order_id": "o1"},
    },
)

# --- one voice ------------------------------------------------------------------------------------


async def test_stripe_is_no_authority_for_hyperswitch_order(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.web.order("o1", 1_000, anna=900)
    await shop.web.pay("o1", 1_000)
    await view.reached("o1", "completed")
    named: Json = {"metadata": {"order_id": "o1"}}
    refund = await shop.hears("refund.updated", a_refund("re_1", 400, **named), "ignored")
    dispute = await shop.hears(
        "charge.dispute.funds_withdrawn", a_dispute("dp_1", 400, moved=400, **named), "ignored"
    )
    hint = await shop.hears(
        "charge.refunded", {"id": "ch_1", "object": "charge", "amount_refunded": 400}, "ignored"
    )
    assert all("not the authority" in row["reason"] for row in (refund, dispute))
    assert "hint" in hint["reason"]
    assert (await view.transfer("o1")).status == "completed"
    assert await view.select("select from refunds union all select from disputes") == []


async def test_hyperswitch_is_no_authority_for_stripe_order(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    await shop.hears("refund.updated", a_refund("re_1", 400))
    await view.reached("o1", "partially_reversed")
    await shop.web.post(HYPERSWITCHS_REFUND)
    row = await inbox_row(view, "evt_hs", "ignored")
    assert "not the authority" in row["reason"]
    assert await shop.net() == 540


async def test_first_refund_reporter_is_authority_of_api_paid_order(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    """A charge behind a connector of the payment provider looks just like one at Stripe; a dispute
    that moved no money tells nothing."""
    shop = await open_shop()
    await shop.sells()
    await shop.hears("charge.dispute.created", a_dispute("dp_1", 400))
    await shop.web.post(HYPERSWITCHS_REFUND)
    await view.reached("o1", "partially_reversed")
    again = await shop.hears("refund.updated", a_refund("re_1", 400), "ignored")
    assert "not the authority" in again["reason"]
    assert await shop.net() == 540


@pytest.mark.parametrize(
    "names",
    [
        {"metadata": {"order_id": "o1"}, "charge": None},
        {"charge": "ch_1"},
        {"transfer_group": "o1", "charge": None},
    ],
)
async def test_stripe_refund_finds_order_by_any_name(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView, names: Json
) -> None:
    shop = await open_shop()
    await shop.sells()
    pending = await shop.hears(
        "refund.created", a_refund("re_1", 400, "pending", **names), "ignored"
    )
    assert "takes nothing yet" in pending["reason"]
    await shop.hears("refund.updated", a_refund("re_1", 400, **names))
    await view.reached("o1", "partially_reversed")
    assert await shop.net() == 540
    await shop.hears("refund.failed", a_refund("re_1", 400, "failed", **names))
    await view.reached("o1", "partially_reversed", "completed")
    assert await shop.net() == 900
    late = await shop.hears("refund.updated", a_refund("re_1", 400, **names), "ignored")
    assert "old report" in late["reason"]


async def test_refund_before_payment_waits_for_it(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    """The payment decides which provider is the authority."""
    shop = await open_shop()
    event = await stripe.announce("refund.updated", a_refund("re_1", 400))
    await inbox_row(view, event["id"], "parked")
    await shop.orders("o1", 1_000, "ch_1", anna=900)
    await inbox_row(view, event["id"], "done")

    async def settled() -> bool:
        return (await view.transfer("o1")).status in (
            "completed",
            "partially_reversed",
        ) and await shop.net() == 540

    await view.until(settled, "540 are left")


# --- transfers ------------------------------------------------------------------------------------


async def test_dashboard_reversal_is_recorded_at_stripe_event(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    """More pages than an event embeds; and made by a refund, which is noted."""
    shop = await open_shop()
    tr = await shop.sells()
    for _ in range(12):
        await stripe.external_reversal(tr, 10)
    await stripe.external_reversal(tr, 30, source_refund="re_9")

    async def recorded() -> bool:
        return (await view.transfer("o1")).amount_reversed == 150

    await view.until(recorded, "150 are recorded")
    rows = await view.reversals("o1")
    assert {row["settled_by"] for row in rows} == {"external"}
    (transfer,) = (await shop.web.get("/v1/transfers", order_id="o1"))["data"]
    history = (await shop.web.get(f"/v1/transfers/{transfer['transfer_id']}/history"))["data"]
    notes = {entry["payload"].get("note") for entry in history}
    assert "made at Stripe by refund re_9 with reverse_transfer" in notes
    await shop.hears("refund.updated", a_refund("re_1", 1_000))
    await view.reached("o1", "reversed")
    assert await shop.net() == 0


async def test_external_reversal_is_attributed_after_own_call(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    tr = await shop.sells()
    await stripe.hold(REVERSE, on_disconnect="execute")
    await shop.hears("refund.updated", a_refund("re_1", 400))
    await stripe.wait_until_held(REVERSE)
    await stripe.external_reversal(tr, 100)

    async def waits() -> bool:
        rows = await view.select(
            "select reason from webhook_inbox where event_type = 'transfer.reversed' and status "
            "= 'stored'"
        )
        return any("its answer comes first" in (row["reason"] or "") for row in rows)

    await view.until(waits, "it waits for our call")
    assert (await view.transfer("o1")).amount_reversed == 0
    await stripe.release(REVERSE)

    async def both() -> bool:
        return (await view.transfer("o1")).amount_reversed == 460

    await view.until(both, "both are recorded")
    assert {(row["amount"], row["settled_by"]) for row in await view.reversals("o1")} == {
        (360, "us"),
        (100, "external"),
    }


async def test_transfer_with_lost_answer_is_claimed_by_event(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop(**PATIENT)
    await stripe.fault("reset_after_commit", CREATE, nth=1)
    await shop.sells()
    assert len(await stripe.requests(CREATE)) == 1


async def test_reversal_with_lost_answer_is_claimed_by_event(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop(**PATIENT)
    await shop.sells()
    await stripe.fault("reset_after_commit", REVERSE, nth=1)
    await shop.hears("refund.updated", a_refund("re_1", 1_000))
    await view.reached("o1", "reversed")
    (reversal,) = await view.reversals("o1")
    assert (reversal["settled_by"], len(await stripe.requests(REVERSE))) == ("us", 1)


async def test_foreign_transfer_event_is_ignored(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await stripe.external_transfer(
        account("anna"), 100, "eur", metadata={"transfer_id": "not a name of ours"}
    )
    row = await shop.heard("transfer.created", "ignored")
    assert row["reason"] == "no transfer of this ledger"


@pytest.mark.parametrize(
    ("fault", "how"), [("status", {"status": 503}), ("latency", {"ms": 60_000})]
)
async def test_event_waits_uncounted_while_stripe_is_unreadable(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView, fault: str, how: Json
) -> None:
    """Also where it is silent: other events are handled in the same batch, and the lease of this
    one ends soon."""
    shop = await open_shop()
    tr = await shop.sells()
    await stripe.fault(fault, "transfers.retrieve", nth=1, **how)
    await stripe.external_reversal(tr, 100)

    async def waits() -> list[Json]:
        rows = await view.select(
            "select * from webhook_inbox where event_type = 'transfer.reversed'"
        )
        return [
            row
            for row in rows
            if row["status"] == "stored" and "could not be read" in (row["reason"] or "")
        ]

    (row,) = await view.until(waits, "it waits for Stripe")
    assert row["attempts"] == 0
    await view.select(
        "update webhook_inbox set due_at = now() where inbox_id = %s returning 1", row["inbox_id"]
    )
    await view.select("select pg_notify('webhook_inbox', '')")
    await view.reached("o1", "partially_reversed")


# --- accounts, balances, payouts ------------------------------------------------------------------


async def test_unready_account_holds_its_seller(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells("o1", anna=900)
    await stripe.change_account(
        account("anna"), transfers_capability="inactive", disabled_reason="requirements.past_due"
    )
    await shop.heard("account.updated", "done")
    (paused,) = (await shop.web.get("/v1/pauses"))["data"]
    assert paused["scope"] == "transferring:anna"
    assert paused["actor"].startswith("stripe:evt_")
    assert (
        paused["reason"]
        == f"account {account('anna')}: its transfers are inactive (requirements.past_due)"
    )
    await shop.orders("o2", 1_000, "ch_2", anna=500)
    await shop.hears("refund.updated", a_refund("re_1", 400))
    await view.reached(
        "o1", "partially_reversed"
    )  # what is owed is taken while there may still be something to take
    assert (await view.transfer("o2")).status == "pending"
    await stripe.change_account(
        account("anna"), transfers_capability="active", disabled_reason=None
    )
    await view.reached("o2", "completed")
    assert (await shop.web.get("/v1/pauses"))["data"] == []


async def test_refused_transfer_is_sent_when_account_is_ready(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    await stripe.change_account(account("anna"), transfers_capability="inactive")
    shop = await open_shop()
    await shop.orders("o1", 1_000, "ch_1", anna=900)
    (row,) = await view.reached("o1", "failed")
    assert row.waiting_for == "account"
    await stripe.change_account(account("anna"), transfers_capability="active")
    (row,) = await view.reached("o1", "completed")
    told = await view.story(row.transfer_id)
    assert "RetryRequested" in told


async def test_manual_pause_is_not_ended_by_event(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    by_mia = {"seller_id": "anna", "actor": "mia", "reason": "fraud?"}
    (await shop.web.http.post("/v1/pause", json=by_mia)).raise_for_status()
    await stripe.change_account(account("anna"), transfers_capability="inactive")
    await shop.heard("account.updated", "done")
    await stripe.change_account(account("anna"), transfers_capability="active")

    async def both() -> bool:
        rows = await view.select(
            "select status from webhook_inbox where event_type in ('account.updated', "
            "'capability.updated')"
        )
        return len(rows) == 4 and all(row["status"] == "done" for row in rows)

    await view.until(both, "both turns are handled")
    (paused,) = (await shop.web.get("/v1/pauses"))["data"]
    assert paused["actor"] == "mia"
    (await shop.web.http.post("/v1/resume", json=by_mia)).raise_for_status()


async def test_seller_leaving_the_platform_is_paused(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    await stripe.change_account(account("anna"), revoked=True)
    await shop.heard("account.application.deauthorized", "done")
    await shop.heard(
        "account.updated", "done"
    )  # and it says that transfers are active, as they were
    (paused,) = (await shop.web.get("/v1/pauses"))["data"]
    assert paused["reason"] == f"account {account('anna')}: it has revoked the platform's access"
    await stripe.change_account(account("anna"), revoked=False)

    async def resumed() -> bool:
        return not await view.select("select from pauses where paused")

    await view.until(resumed, "the seller has come back")


async def test_platform_funds_release_waiting_transfers(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await stripe.drain("eur")
    await shop.orders("o1", 1_000, None, anna=900)
    (row,) = await view.reached("o1", "failed")
    assert row.waiting_for == "funds"
    await stripe.fund("eur", 5_000)
    await view.reached("o1", "completed")


async def test_seller_funds_release_waiting_reversals(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    await stripe.change_account(account("anna"), connected_reserves=False)
    shop = await open_shop()
    await shop.sells()
    await stripe.pay_out(account("anna"), "eur")
    await shop.hears("refund.updated", a_refund("re_1", 1_000))

    async def waits() -> bool:
        return (await view.transfer("o1")).waiting_for == "funds"

    await view.until(waits, "the reversal waits for funds")
    await stripe.fund("eur", 900, account=account("anna"))
    await view.reached("o1", "reversed")


async def test_payouts_are_listed_per_seller(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    made = await stripe.pay_out(account("anna"), "eur", 300)
    await shop.heard("payout.paid", "done")
    await shop.hears("payout.updated", made | {"status": "in_transit"}, account=account("anna"))
    bounced = made | {"status": "failed", "failure_message": "account closed"}
    await shop.hears("payout.failed", bounced, account=account("anna"))
    odd = await shop.hears(
        "payout.updated", made | {"status": "teleported"}, "ignored", account=account("anna")
    )
    assert "does not know this status" in odd["reason"]
    shown = await shop.web.get("/v1/sellers/anna/payouts")
    assert [(p["payout_id"], p["amount"], p["status"], p["last_error"]) for p in shown["data"]] == [
        (made["id"], 300, "failed", "account closed")
    ]
    assert (await shop.web.get("/v1/sellers/bert/payouts"))["data"] == []
    stranger = await shop.hears("payout.paid", made, "ignored", account="acct_1stranger")
    assert "no transfer of ours" in stranger["reason"]


# --- unknown events -------------------------------------------------------------------------------

ODD: list[tuple[str, Json]] = [
    ("topup.succeeded", {"id": "tu_1", "object": "topup"}),
    ("refund.updated", a_refund("re_1", 400, "teleported")),
    ("charge.dispute.updated", a_dispute("dp_1", 400, "teleported")),
    ("refund.metadata_changed", a_refund("re_1", 400)),
    (
        "capability.updated",
        {
            "id": "card_payments",
            "object": "capability",
            "account": account("anna"),
            "status": "inactive",
        },
    ),
]


async def test_unknown_event_is_kept_and_ignored_with_reason(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    await shop.sells()
    for type_, object_ in ODD:
        row = await shop.hears(type_, object_, "ignored")
        assert row["reason"], type_
        assert json.loads(bytes(row["body"]))["data"]["object"] == object_
    assert await view.alarms() == set()


async def test_incomplete_object_is_parked_with_alarm(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop()
    row = await shop.hears(
        "refund.updated", {"id": "re_1", "object": "refund", "status": "succeeded"}, "parked"
    )
    assert "amount" in row["reason"]
    assert await view.alarms() == {"webhook_unreadable"}


# --- thin events, and disorderly delivery ---------------------------------------------------------


async def test_thin_event_has_same_effect(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop(payload="thin", **PATIENT)
    await stripe.fault("reset_after_commit", CREATE, nth=1)
    tr = await shop.sells()
    await stripe.external_reversal(tr, 100)
    (row,) = await view.reached("o1", "partially_reversed")
    assert row.amount_reversed == 100
    await stripe.change_account(account("anna"), transfers_capability="inactive")
    await shop.heard("v1.account.updated", "done")
    (paused,) = (await shop.web.get("/v1/pauses"))["data"]
    assert paused["scope"] == "transferring:anna"
    await stripe.change_account(account("anna"), transfers_capability="active")

    async def resumed() -> bool:
        return not await view.select("select from pauses where paused")

    await view.until(resumed, "work goes on")


async def test_doubled_and_shuffled_events_reach_same_state(
    open_shop: OpenShop, stripe: SimulatorControl, view: LedgerView
) -> None:
    shop = await open_shop(knobs={"paused": True, "duplicates": 2, "twin_events": True})
    await shop.sells()
    story: list[tuple[str, Json]] = [
        ("refund.created", a_refund("re_A", 333, "pending")),
        ("refund.updated", a_refund("re_A", 333)),
        ("refund.updated", a_refund("re_B", 200)),
        ("charge.dispute.created", a_dispute("dp_1", 1_000)),
        ("charge.dispute.funds_withdrawn", a_dispute("dp_1", 1_000, moved=1_000)),
        ("refund.failed", a_refund("re_A", 333, "failed")),
        ("charge.dispute.funds_reinstated", a_dispute("dp_1", 1_000, "won")),
        ("charge.dispute.closed", a_dispute("dp_1", 1_000, "won")),
    ]
    for type_, object_ in story:
        await stripe.announce(type_, object_)
    await stripe.flush_webhooks(shuffle_seed=7)
    await stripe.webhooks_quiet()

    async def handled() -> bool:
        return not await view.select("select from webhook_inbox where status = 'stored'")

    await view.until(handled, "all of them are handled")
    assert await view.select("select from webhook_inbox where status in ('parked', 'dead')") == []

    async def rests() -> bool:
        return not await view.select("select from seller_transfers where next_retry_at is not null")

    await view.until(rests, "nothing is due")
    assert await shop.net() == 900 - 900 * 200 // 1_000
    assert (await shop.dispute())["status"] == "won"


@pytest.mark.parametrize("end", ["succeeded", "canceled"])
async def test_pending_reversal_ends_with_stripes_event(open_shop: OpenShop, end: str) -> None:
    """The event is read at once, though the next look would be due in an hour."""
    shop = await open_shop(**PATIENT)
    await shop.sells()
    await shop.stripe.let_reversals_be_pending()
    await shop.hears("refund.created", a_refund("re_1", 1_000, charge="ch_1"))

    async def waits() -> bool:
        (row,) = await shop.view.transfers("o1")
        return row.waiting_for == "stripe"

    await shop.view.until(waits, "the reversal is pending")
    (row,) = await shop.view.transfers("o1")
    await shop.stripe.decide_reversal(str(row.last_error).split()[0], end)
    if end == "succeeded":
        await shop.view.reached("o1", "reversed")
    else:

        async def refused() -> bool:
            (row,) = await shop.view.transfers("o1")
            return row.retry_count == 1

        await shop.view.until(refused, "the reversal is tried again later")


async def test_pending_reversal_of_others_counts_when_it_has_succeeded(
    open_shop: OpenShop,
) -> None:
    shop = await open_shop()
    transfer = await shop.sells()
    made = await shop.stripe.external_reversal(transfer, 400, pending=True)
    await shop.heard("transfer.updated", "ignored")
    assert [row.amount_reversed for row in await shop.view.transfers("o1")] == [0]
    await shop.stripe.decide_reversal(str(made["id"]), "succeeded")
    (row,) = await shop.view.reached("o1", "partially_reversed")
    assert row.amount_reversed == 400
