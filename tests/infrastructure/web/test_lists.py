"""Lists with filters and cursors, and the levers below them: webhooks and findings."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest

from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundReport
from application.reconciliation.reader import DetectedDifference
from domain.dispute import DisputePolicy, DisputeStatus
from domain.finding import Difference, DifferenceKind
from domain.provider_call.outcome import Rejected
from infrastructure.postgres.found_differences import FoundDifferences
from infrastructure.postgres.integrity.verify import verify
from infrastructure.postgres.read_side import lists
from infrastructure.service import Service
from infrastructure.simulators.stripe import (
    KIND,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from infrastructure.stripe.gateway import StripeGateway
from infrastructure.web.app import application_of
from tests.infrastructure.web.conftest import TOKEN, Connect, Shop, StripeWorker
from tests.support.database_edits import quiet
from tests.support.json_types import Json

MIA = {"actor": "mia", "reason": "checked at Stripe"}
REFUSED = Rejected(400, "parameter_invalid", "No such DESTINATION.", stored=True)
NO_FUNDS = Rejected(400, "balance_insufficient", "Insufficient funds.", stored=False)


async def ids(client: httpx.AsyncClient, path: str, name: str) -> list[object]:
    page = (await client.get(f"/v1/{path}")).raise_for_status().json()
    return [entry[name] for entry in page["data"]]


async def pages(client: httpx.AsyncClient, path: str, name: str, limit: int) -> list[list[object]]:
    """Follow the cursors of a list to its end."""
    found, cursor = list[list[object]](), ""
    while True:
        joined = "&" if "?" in path else "?"
        page = (await client.get(f"/v1/{path}{joined}limit={limit}{cursor}")).json()
        found.append([entry[name] for entry in page["data"]])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={quote(page['next_cursor'], safe='')}"


# --- transfers ------------------------------------------------------------------------------------


async def test_transfers_are_filtered_by_each_filter(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    sold = {
        o: (await shop.paid(o, **{s: a}))[s]
        for o, s, a in (("o1", "ada", 1_000), ("o2", "ben", 5_000), ("o3", "cem", 7_000))
    }
    before = (await shop.transfer(sold["o2"]))["created_at"]
    stripe_id = await at_stripe.does(sold["o1"])
    await shop.refund(order_id="o1", amount=5_000)
    await at_stripe.answers(sold["o2"], NO_FUNDS)
    await at_stripe.answers(sold["o3"], REFUSED)
    changed = (await shop.transfer(sold["o3"]))["updated_at"]
    expected = {
        "waiting_for=funds": ["o2"],
        "refund_id=r1": ["o1"],
        f"stripe_id={stripe_id}": ["o1"],
        "destination=acct_ben": ["o2"],
        f"created_from={before}": ["o3", "o2"],
        f"created_to={before}": ["o1"],
        f"updated_since={changed}": ["o3"],
        "min_amount=5000": ["o3", "o2"],
        "min_amount=5000&waiting_for=funds": ["o2"],
        "error=no such destination": ["o3"],
        "error=%25": [],
        "attempts=1": [],
        "currency=EUR&status=permanently_failed": ["o3"],
        "currency=USD": [],
        "status=pending": [],
    }
    for query, orders in expected.items():
        assert await ids(client, f"transfers?{query}", "order_id") == orders, query


async def test_filter_without_index_reads_a_bounded_number_of_rows(
    client: httpx.AsyncClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "WINDOW", 2)
    for number in range(5):
        await shop.paid(f"o{number}", ada=1_000 if number else 9_000)
    found = await pages(client, "transfers?min_amount=9000", "order_id", 1)
    assert found == [[], ["o0"]]
    indexed = await pages(client, "transfers?min_amount=9000&seller_id=ada", "order_id", 1)
    assert indexed == [["o0"]]


# --- the other lists ------------------------------------------------------------------------------


async def test_orders_are_listed_newest_first_with_filters(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    for order_id in ("o1", "o~%2", "o3"):
        await shop.order(order_id)
    (await client.post("/v1/orders/o3/paid", json={"payment_id": "pay_3"})).raise_for_status()
    assert await pages(client, "orders", "order_id", 1) == [["o3"], ["o~%2"], ["o1"]]
    assert await ids(client, "orders?status=open", "order_id") == ["o~%2", "o1"]
    assert await ids(client, "orders?payment_id=pay_3", "order_id") == ["o3"]
    since = (await client.get("/v1/orders/o3")).json()["created_at"]
    assert await ids(client, f"orders?created_from={since}", "order_id") == ["o3"]


async def test_refunds_are_listed_newest_first_with_filters(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    await shop.paid("o1", ada=8_000)
    await shop.paid("o2", ada=8_000)
    for name, order_id in (("r1", "o1"), ("r2", "o1"), ("r3", "o2")):
        await shop.refund(name, order_id, amount=1_000)
    report = RefundReport("r4", "o2", 99_000, "EUR", "hyperswitch:read")
    await service.commands.refunds.succeeded(report)
    assert await pages(client, "refunds", "refund_id", 2) == [["r4", "r3"], ["r2", "r1"]]
    assert await ids(client, "refunds?order_id=o1", "refund_id") == ["r2", "r1"]
    assert await ids(client, "refunds?open=true", "refund_id") == ["r4"]
    assert await ids(client, "refunds?status=succeeded&order_id=o2", "refund_id") == ["r3"]


async def test_disputes_are_listed_newest_first_with_filters(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    await shop.order()
    for number, status in enumerate(
        (DisputeStatus.OPENED, DisputeStatus.LOST, DisputeStatus.OPENED)
    ):
        report = DisputeReport(f"dp {number}", "stripe", "o1", 10, "EUR", [status], "test")
        await service.commands.disputes.record(report, DisputePolicy.WITHDRAWAL)
    assert await pages(client, "disputes", "dispute_id", 2) == [["dp 2", "dp 1"], ["dp 0"]]
    assert await ids(client, "disputes?open=true", "dispute_id") == ["dp 2", "dp 0"]
    assert await ids(client, "disputes?status=lost&provider=stripe", "dispute_id") == ["dp 1"]
    assert await ids(client, "disputes?provider=hyperswitch", "dispute_id") == []


async def test_sellers_are_listed_by_debt_age_and_name(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    for number, (seller, back) in enumerate(
        (("ada", 1_000), ("ben", 3_000), ("cem", 0), ("dia", 2_000))
    ):
        transfer = (await shop.paid(f"o{number}", **{seller: 8_000}))[seller]
        await at_stripe.does(transfer)
        if back:
            await shop.refund(f"r{number}", f"o{number}", amount=back * 10 // 8)
    assert await pages(client, "sellers", "seller_id", 2) == [["ben", "dia"], ["ada"]]
    assert await pages(client, "sellers?sort=age", "seller_id", 1) == [["ada"], ["ben"], ["dia"]]
    assert await pages(client, "sellers?sort=seller", "seller_id", 3) == [
        ["ada", "ben", "cem"],
        ["dia"],
    ]
    assert await ids(client, "sellers?currency=USD", "seller_id") == []


@pytest.mark.parametrize("path", ["orders", "refunds", "disputes", "findings", "sellers", "money"])
@pytest.mark.parametrize("cursor", ["x", "~", "12", "1~", "-1~a"])
async def test_foreign_cursor_is_refused(client: httpx.AsyncClient, path: str, cursor: str) -> None:
    answer = await client.get(f"/v1/{path}", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize(
    "path", ["orders", "refunds", "disputes", "findings", "sellers?sort=age", "money"]
)
async def test_invented_cursor_of_the_right_form_is_taken(
    client: httpx.AsyncClient, path: str
) -> None:
    joined = "&" if "?" in path else "?"
    for cursor in ("0~a", f"{10**18 - 1}~%00%ff"):
        answer = await client.get(f"/v1/{path}{joined}cursor={quote(cursor, safe='')}")
        assert (answer.status_code, answer.json()["data"]) == (200, [])


# --- webhooks -------------------------------------------------------------------------------------


@pytest.fixture
async def stored(service: Service) -> list[int]:
    """The numbers of a stored, a parked, a dead and an ignored webhook."""
    inbox, now = service.inbox, datetime.now(UTC)
    for name in ("evt_0", "evt_1", "evt_2", "evt_3"):
        await inbox.put("hyperswitch", name, "refund_failed", b'{"odd": 1}', now)
    numbers = [row.inbox_id for row in reversed(await inbox.newest())]
    await inbox.park(numbers[1], "order:o7", None, "there is no order:o7 yet")
    await inbox.bury(numbers[2], "it is odd")
    await inbox.ignore({numbers[3]: "no concern"})
    return numbers


async def test_webhooks_are_listed_newest_first_with_filters(
    client: httpx.AsyncClient, stored: list[int]
) -> None:
    newest = stored[::-1]
    assert await pages(client, "inbox", "inbox_id", 3) == [newest[:3], newest[3:]]
    assert await ids(client, "inbox?open=true", "inbox_id") == newest[1:]
    assert await ids(client, "inbox?status=parked", "inbox_id") == [stored[1]]
    assert await ids(client, "inbox?status=ignored&event_type=refund_failed", "inbox_id") == [
        stored[3]
    ]
    assert await ids(client, "inbox?provider=stripe", "inbox_id") == []


async def test_replayed_webhook_is_due_again_and_names_its_actor(
    client: httpx.AsyncClient, stored: list[int], service: Service
) -> None:
    await service.alarms.raise_alarm("webhook_dead", "hyperswitch:evt_2", "it is odd")
    answer = await client.post(f"/v1/inbox/{stored[2]}/replay", json=MIA)
    assert (answer.status_code, answer.json()["status"]) == (202, "stored")
    assert (await client.get("/v1/alarms")).json()["data"] == []
    told = (await client.get("/v1/facts")).json()["data"]
    assert [entry["fact"] for entry in told] == ["Noted", "ReplayRequested"]
    assert (told[1]["payload"]["actor"], told[1]["payload"]["status"]) == ("mia", "dead")
    verified = await asyncio.to_thread(verify, service.database_url, [], None, quiet)
    assert verified.findings == []


async def test_webhook_that_cannot_be_replayed_is_refused(
    client: httpx.AsyncClient, stored: list[int], service: Service
) -> None:
    assert await service.inbox.erase(stored[3])
    for number, status, code in ((stored[3], 409, "nothing_to_replay"), (10**9, 404, "not_found")):
        answer = await client.post(f"/v1/inbox/{number}/replay", json=MIA)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await client.get("/v1/facts")).json()["data"] == []


# --- findings -------------------------------------------------------------------------------------


@pytest.fixture
async def at_real_stripe(
    service: Service, connect: Connect
) -> AsyncIterator[tuple[SimulatorControl, httpx.AsyncClient]]:
    """A simulated Stripe, and a client of the ledger on it."""
    async with running_simulator(SimulatorConfig(manners=KIND)) as (_, control):
        await control.fund("eur", 1_000_000)
        await control.change_account("acct_ada")
        async with StripeGateway("sk_test_simulator", control.url, timeout=5) as gateway:
            app = application_of(replace(service, gateway=gateway))
            async with connect(app, TOKEN) as client:
                yield control, client


async def reversed_by_others(control: SimulatorControl, shop: Shop, service: Service) -> Difference:
    """Make a transfer of ours at Stripe that others have reversed in part, and keep the finding."""
    transfer = (await shop.paid(ada=8_000))["ada"]
    made = await control.external_transfer(
        "acct_ada", 8_000, "eur", metadata={"transfer_id": str(transfer)}
    )
    worker = StripeWorker(service)
    await worker.is_paid_by(transfer, str(made["id"]))
    reversal = await control.external_reversal(str(made["id"]), 500)
    return await kept(service, transfer, str(made["id"]), str(reversal["id"]))


async def kept(service: Service, transfer: UUID, paid: str, reversal: str) -> Difference:
    found = Difference(
        DifferenceKind.EXTERNAL_REVERSAL,
        reversal,
        paid,
        transfer,
        500,
        "EUR",
        "Others took it.",
        None,
    )
    reconciliation = await FoundDifferences.begin(service.pool)
    await reconciliation.add(DetectedDifference(found, datetime.now(UTC)))
    await reconciliation.end(datetime(2026, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), 1)
    return found


async def finding(client: httpx.AsyncClient, found: Difference) -> Json:
    shown: Json = (await client.get(f"/v1/findings/{found.id}")).raise_for_status().json()
    return shown


async def test_kept_finding_is_listed_and_adopted(
    at_real_stripe: tuple[SimulatorControl, httpx.AsyncClient], shop: Shop, service: Service
) -> None:
    control, client = at_real_stripe
    found = await reversed_by_others(control, shop, service)
    assert await ids(client, "findings?status=undecided", "finding_id") == [found.id]
    for status in (200, 409):  # the ledger and Stripe do not differ any more
        answer = await client.post(f"/v1/findings/{found.id}/adopt", json=MIA)
        assert answer.status_code == status, answer.text
    shown = await finding(client, found)
    assert (shown["status"], shown["actor"]) == ("adopted", "mia")
    assert (await shop.transfer(found.transfer_id or UUID(int=0)))["amount_reversed"] == 500
    assert await ids(client, "findings?status=undecided", "finding_id") == []
    check = (await client.get("/v1/overview")).json()["machine"]["checks"][1]
    assert (check["check"], check["findings"]) == ("reconcile", 1)


async def test_ignored_finding_is_listed_with_its_decision(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    transfer = (await shop.paid(ada=8_000))["ada"]
    found = await kept(service, transfer, "tr_x", "trr_x")
    for _ in range(2):
        (await client.post(f"/v1/findings/{found.id}/ignore", json=MIA)).raise_for_status()
    assert (await finding(client, found))["status"] == "ignored"
    (await client.post(f"/v1/findings/{found.id}/unignore", json=MIA)).raise_for_status()
    assert (await finding(client, found))["status"] == "noted"
    for lever in ("adopt", "ignore"):
        answer = await client.post(f"/v1/findings/unknown/{lever}", json=MIA)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_finding_that_is_not_found_again_is_forgotten(
    client: httpx.AsyncClient, service: Service
) -> None:
    await kept(service, UUID(int=1), "tr_x", "trr_x")
    again = await FoundDifferences.begin(service.pool)
    await again.end(datetime(2026, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), 1)
    assert await ids(client, "findings", "finding_id") == []
