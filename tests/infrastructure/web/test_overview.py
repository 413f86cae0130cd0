"""Overview and search: money by state, alarms by cause, the machine, and everything by its ids."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundReport
from domain.dispute import DisputePolicy, DisputeStatus
from domain.provider_call.outcome import (
    Hindrance,
    NotExecuted,
    Outcome,
    Rejected,
    Succeeded,
    Unknown,
)
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.process_reports import ProcessReports
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.read_side.overview import MoneyState, Overview
from infrastructure.postgres.read_side.search import plain, split, uuids_with
from infrastructure.service import Service
from projections.alarm_causes import CAUSES
from projections.alarms import AlarmKind
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.support.json_types import Json

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"
NO_FUNDS = Rejected(400, "balance_insufficient", "Insufficient funds.", stored=False)
NO_ACCOUNT = Rejected(400, "account_invalid", "The account is not ready.", stored=True)
REFUSED = Rejected(400, "parameter_invalid", "No such thing.", stored=True, request_id="req_4711")
SILENCE = Unknown("timeout", "No answer within 30 s.")


async def overview(client: httpx.AsyncClient) -> Json:
    shown: Json = (await client.get("/v1/overview")).raise_for_status().json()
    return shown


async def money(client: httpx.AsyncClient) -> dict[str, tuple[int, int]]:
    """Return the amount and the number of each state that is not zero."""
    bars = (await overview(client))["money"]
    return {bar["state"]: (bar["amount"], bar["count"]) for bar in bars if bar["count"]}


async def test_settled_money_is_not_in_the_overview(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    await at_stripe.does((await shop.paid(ada=8_000))["ada"])
    assert await money(client) == {}


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (None, "moving"),
        (NO_FUNDS, "waiting_for_funds"),
        (NO_ACCOUNT, "held"),
        (SILENCE, "unknown"),
        (REFUSED, "stuck"),
    ],
)
async def test_unsent_money_is_in_the_state_of_its_last_call(
    client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    outcome: Outcome | None,
    state: str,
) -> None:
    transfer = (await shop.paid(ada=8_000))["ada"]
    if outcome is not None:
        await at_stripe.answers(transfer, outcome)
    assert await money(client) == {state: (8_000, 1)}
    bars = {bar["state"]: bar for bar in (await overview(client))["money"]}
    assert list(bars) == [str(each) for each in MoneyState]
    assert (bars[state]["to_sellers"], bars[state]["from_sellers"]) == (8_000, 0)
    assert bars[state]["oldest_seconds"] >= 0
    (item,) = (await client.get(f"/v1/money?state={state}&currency=EUR")).json()["data"]
    assert (item["transfer_id"], item["amount"]) == (str(transfer), 8_000)
    other = "moving" if state != "moving" else "stuck"
    assert (await client.get(f"/v1/money?state={other}")).json()["data"] == []


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (None, "moving"),
        (NO_FUNDS, "waiting_for_funds"),
        (SILENCE, "unknown"),
        (REFUSED, "stuck"),
    ],
)
async def test_money_owed_back_is_in_the_state_of_its_reversal(
    client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    outcome: Outcome | None,
    state: str,
) -> None:
    transfer = (await shop.paid(ada=8_000))["ada"]
    await at_stripe.does(transfer)
    await shop.refund(amount=5_000)
    if outcome is not None:
        await at_stripe.answers(transfer, outcome, read=True)
    assert await money(client) == {state: (4_000, 1)}
    seller = (await client.get("/v1/sellers")).json()["data"][0]
    assert seller["seller_id"] == "ada"
    (owed,) = seller["money"]
    expected = (0, 4_000) if state == "stuck" else (4_000, 0)
    assert (owed["owed"], owed["stuck"], owed["up_to_1_day"]) == (*expected, 4_000)


async def test_unknown_outcome_stays_unknown_until_the_next_outcome(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfer = (await shop.paid(ada=8_000))["ada"]
    await at_stripe.answers(transfer, NotExecuted(Hindrance.LOCK_TIMEOUT, "Locked."))
    assert await money(client) == {"moving": (8_000, 1)}
    for outcome in (SILENCE, None):
        for _ in range(2):
            mia = {"actor": "mia", "reason": "it is time"}
            (await client.post(f"/v1/transfers/{transfer}/retry", json=mia)).raise_for_status()
        if outcome is not None:
            await at_stripe.answers(transfer, outcome)
    assert await money(client) == {"unknown": (8_000, 1)}


async def test_paused_money_is_held_until_it_is_resumed(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid(ada=5_000, ben=1_000)
    mia = {"actor": "mia", "reason": "a look at the seller", "seller_id": "ada"}
    await client.post("/v1/pause", json=mia)
    assert await money(client) == {"held": (5_000, 1), "moving": (1_000, 1)}
    await client.post("/v1/resume", json=mia)
    assert await money(client) == {"moving": (6_000, 2)}


async def test_disputed_money_is_in_dispute_until_the_bank_decides(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    await shop.order()
    for status, expected in (
        (DisputeStatus.OPENED, {"in_dispute": (5_000, 1)}),
        (DisputeStatus.WON, {}),
    ):
        report = DisputeReport("dp_1", "hyperswitch", "o1", 5_000, "EUR", [status], "test")
        await service.commands.disputes.record(report, DisputePolicy.WITHDRAWAL)
        assert await money(client) == expected


async def test_resolved_transfer_is_not_stuck_any_more(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfer = (await shop.paid(ada=8_000))["ada"]
    await at_stripe.answers(transfer, REFUSED)
    decided = {"actor": "mia", "reason": "paid by hand", "evidence": "bank statement 7"}
    (await client.post(f"/v1/transfers/{transfer}/resolve", json=decided)).raise_for_status()
    assert await money(client) == {}


async def test_money_page_continues_after_its_cursor(client: httpx.AsyncClient, shop: Shop) -> None:
    for number in range(5):
        await shop.paid(f"o{number}", ada=1_000)
    seen, cursor = list[str](), ""
    for expected in (2, 2, 1):
        page = (await client.get(f"/v1/money?limit=2{cursor}")).json()
        assert len(page["data"]) == expected
        seen += [item["order_id"] for item in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (seen, page["next_cursor"]) == ([f"o{number}" for number in range(5)], None)


async def test_trend_keeps_one_sample_of_a_quarter_hour(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    await shop.paid(ada=8_000)
    taken = Overview(service.pool)
    await taken.sample()
    await shop.paid("o2", ada=1_000)
    await taken.sample()
    trend = (await overview(client))["trend"]
    amounts = [(point["state"], point["amount"], point["count"]) for point in trend]
    # a second sample only if a quarter of an hour ended in between
    assert amounts in ([("moving", 8_000, 1)], [("moving", 8_000, 1), ("moving", 9_000, 2)])
    assert datetime.fromisoformat(trend[0]["at"]).minute % 15 == 0


# --- alarms ---------------------------------------------------------------------------------------


async def test_alarms_are_grouped_by_cause_with_their_money(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    for order_id, amount in (("o1", 1_000), ("o2", 3_000)):
        await at_stripe.answers((await shop.paid(order_id, ada=amount))["ada"], NO_FUNDS)
    await at_stripe.answers((await shop.paid("o3", ben=9_000))["ben"], REFUSED)
    groups = {group["kind"]: group for group in (await overview(client))["alarms"]}
    assert set(groups) == {"awaiting_funds", "permanently_failed"}
    poor = groups["awaiting_funds"]
    assert (poor["count"], poor["at_risk"]) == (2, [{"currency": "EUR", "amount": 4_000}])
    assert [case["order_id"] for case in poor["examples"]] == ["o2", "o1"]
    raised, deadline = (datetime.fromisoformat(poor[name]) for name in ("raised_at", "deadline"))
    assert deadline - raised == timedelta(days=45)
    assert groups["permanently_failed"]["deadline"] is None
    assert groups["permanently_failed"]["levers"] == ["retry", "resolve"]
    assert groups["permanently_failed"]["examples"][0]["subject_kind"] == "transfer"


async def test_alarm_about_webhook_names_its_number(
    client: httpx.AsyncClient, service: Service
) -> None:
    now = datetime.now(UTC)
    await service.inbox.put("hyperswitch", "evt_1", "refund_failed", b"{}", now)
    await service.alarms.raise_alarm("webhook_dead", "hyperswitch:evt_1", "it is odd")
    (group,) = (await overview(client))["alarms"]
    (row,) = await service.inbox.newest()
    (case,) = group["examples"]
    assert (case["subject_kind"], case["subject_id"]) == ("webhook", str(row.inbox_id))
    assert (case["at_risk"], group["at_risk"]) == (None, [])


def test_every_alarm_has_a_cause_and_its_place_in_the_runbook() -> None:
    told = RUNBOOK.read_text()
    table = [line.split("`")[1] for line in told.splitlines() if line.startswith('| <a id="alarm-')]
    assert set(table) == set(CAUSES)
    assert {kind.value for kind in AlarmKind} <= set(CAUSES)
    for kind, cause in CAUSES.items():
        assert f'<a id="{cause.anchor}"></a>`{kind}`' in told


# --- the machine ----------------------------------------------------------------------------------


async def test_machine_shows_outage_then_refused_key(
    client: httpx.AsyncClient, service: Service
) -> None:
    assert (await overview(client))["machine"]["stripe"] == "answering"
    await PostgresCircuitBreaker(service.pool).open_breaker()
    machine = (await overview(client))["machine"]
    assert (machine["stripe"], machine["stripe_since"] is not None) == ("outage", True)
    await service.alarms.raise_alarm("stripe_refuses_the_key", "x", "Invalid API Key.")
    machine = (await overview(client))["machine"]
    assert (machine["stripe"], machine["stripe_detail"]) == ("key_refused", "Invalid API Key.")


async def test_machine_shows_calls_lately_and_their_limit(
    client: httpx.AsyncClient, service: Service
) -> None:
    limiter = PostgresRateLimiter(service.pool, service.settings.stripe_max_rps)
    for _ in range(2):
        await limiter.reserve("transfers.create", 20)
    (rate,) = (await overview(client))["machine"]["rates"]
    assert rate["endpoint"] == "transfers.create"
    assert rate["limit_per_second"] == service.settings.stripe_max_rps
    assert 0 < rate["used_per_second"] <= 4.0
    assert rate["reserved_seconds"] > 0


async def test_rate_limiter_works_after_a_week_without_calls(service: Service) -> None:
    limiter = PostgresRateLimiter(service.pool, 20)
    await limiter.reserve("transfers.create", 1)
    async with service.pool.connection() as connection:
        await connection.execute("update pace set calls_at = now() - interval '7 days'")
    assert len(await limiter.reserve("transfers.create", 3)) == 3


async def test_machine_shows_loops_and_the_lag_of_the_inbox(
    client: httpx.AsyncClient, service: Service
) -> None:
    reports = ProcessReports(service.pool, [])
    await reports.turn()
    await service.inbox.put("stripe", "evt_1", "payout.paid", b"{}", datetime.now(UTC))
    async with service.pool.connection() as connection:
        await connection.execute("update webhook_inbox set due_at = now() - interval '90 seconds'")
    machine = (await overview(client))["machine"]
    (loop,) = machine["loops"]
    assert (loop["loop"], loop["alive"], loop["trouble"]) == ("ProcessReports", True, None)
    assert 90 <= machine["inbox_lag_seconds"] < 120
    assert machine["inbox"] == {"stored": 1, "parked": 0, "dead": 0}
    assert (machine["can_write"], machine["reasons"]) == (True, [])
    assert [check["finished_at"] for check in machine["checks"]] == [None, None, None]


# --- search ---------------------------------------------------------------------------------------


async def hits(client: httpx.AsyncClient, text: str) -> list[tuple[str, str, str]]:
    answer = await client.get("/v1/search", params={"q": text})
    (found,) = answer.raise_for_status().json()["data"]
    return [(hit["kind"], hit["id"], hit["matched"]) for hit in found["hits"]]


async def test_search_finds_a_transfer_by_each_of_its_names(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfer = (await shop.paid(ada=8_000))["ada"]
    stripe_id = await at_stripe.does(transfer)
    await shop.refund(amount=5_000)
    await at_stripe.answers(transfer, Succeeded("trr_1", 4_000, "req_77"))
    (reversal,) = (await shop.transfer(transfer))["reversals"]
    own = str(transfer)
    expected = {
        own: "transfer_id",
        own.upper(): "transfer_id",
        stripe_id: "stripe_transfer_id",
        "trr_1": "stripe_reversal_id",
        reversal["reversal_id"]: "reversal_id",
        "req_77": "request_id",
        f"transfer:{own}:e1:{own}": "idempotency_key",
        f"reversal:{reversal['reversal_id']}:e1": "idempotency_key",
    }
    for text, matched in expected.items():
        assert await hits(client, text) == [("transfer", own, matched)], text


async def test_search_finds_orders_refunds_sellers_and_webhooks(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    await shop.order("o-77", ada=8_000)
    paid = {"payment_id": "pay_77", "source_transaction": "ch_77"}
    (await client.post("/v1/orders/o-77/paid", json=paid)).raise_for_status()
    await service.commands.refunds.succeeded(
        RefundReport("rf_77", "o-77", 5_000, "EUR", "hyperswitch:read")
    )
    await service.inbox.put("stripe", "evt_77", "payout.paid", b"{}", datetime.now(UTC))
    (webhook,) = await service.inbox.newest()
    report = DisputeReport("dp_77", "stripe", "o-77", 1, "EUR", [DisputeStatus.OPENED], "test")
    await service.commands.disputes.record(report, DisputePolicy.WITHDRAWAL)
    expected = {
        "o-77": ("order", "o-77", "order_id"),
        "pay_77": ("order", "o-77", "payment_id"),
        "ch_77": ("order", "o-77", "source_transaction"),
        "rf_77": ("refund", "rf_77", "refund_id"),
        "dp_77": ("dispute", "dp_77", "dispute_id"),
        "ada": ("seller", "ada", "seller_id"),
        "acct_ada": ("seller", "ada", "destination"),
        "evt_77": ("webhook", str(webhook.inbox_id), "event_id"),
        "stripe:evt_77": ("webhook", str(webhook.inbox_id), "event_id"),
        "o-7": ("order", "o-77", "order_id"),
        "rf_7": ("refund", "rf_77", "refund_id"),
    }
    for text, hit in expected.items():
        assert await hits(client, text) == ([] if len(text) < 4 and hit[1] != text else [hit]), text
    assert await hits(client, "rf%") == []


async def test_search_answers_pasted_ids_one_by_one(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid("o1", ada=1_000)
    await shop.order("o2")
    pasted = "o1, o2\nnothing o1"
    found = (await client.get("/v1/search", params={"q": pasted})).json()["data"]
    statuses = [(one["query"], [hit["status"] for hit in one["hits"]]) for one in found]
    assert statuses == [("o1", ["paid"]), ("o2", ["open"]), ("nothing", [])]
    many = " ".join(f"o{number}" for number in range(51))
    refused = await client.get("/v1/search", params={"q": many})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "text", ["' or 1=1 --", "\x00", "<img onerror=x>", "‮", "%", "   ,;", "9" * 17]
)
async def test_search_takes_hostile_text_as_text(client: httpx.AsyncClient, text: str) -> None:
    answer = await client.get("/v1/search", params={"q": text})
    assert answer.status_code == 200
    assert all(not one["hits"] for one in answer.json()["data"])


def test_search_texts_are_split_and_read() -> None:
    assert split(" a,b;\n c ") == ["a", "b", "c"]
    assert plain("stripe:evt_1") == "evt_1"
    assert plain("transfer:nothing") == "transfer:nothing"
    assert uuids_with("xyz") is None
    assert uuids_with("1234-") is None
    bounds = uuids_with("12345678-9")
    assert bounds is not None
    assert [str(each)[:10] for each in bounds] == ["12345678-9", "12345678-9"]
