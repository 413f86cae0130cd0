"""Decisions of a person by the API: a refund or dispute that was set aside, a webhook that cannot
be handled, a seller who has moved, a finding that is ignored. Each leaves a ledger that verifies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundReport, RefundRequest
from domain.dispute import DisputePolicy, DisputeStatus
from domain.finding import DecidedBy, Difference, DifferenceKind
from domain.identity import refund_stream
from domain.provider_call.reasons import DeferralReason
from domain.refund.psp_outcome import postpone
from infrastructure.postgres.integrity.verify import verify
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.read_side.read_models import ReadModels
from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop, StripeWorker, WebhookSenders
from tests.support.database_edits import quiet

MIA = {"actor": "mia", "reason": "agreed with the buyer"}
D = DisputeStatus


class Person:
    """Calls levers, and reads the alarms."""

    def __init__(self, client: httpx.AsyncClient, service: Service) -> None:
        self.client, self.service = client, service

    async def decides(self, path: str, **decision: object) -> httpx.Response:
        return await self.client.post(f"/v1/{path}", json={**MIA, **decision})

    async def alarms(self) -> dict[str, str]:
        listed = (await self.client.get("/v1/alarms")).json()["data"]
        return {alarm["kind"]: alarm["detail"] for alarm in listed}

    async def verifies(self) -> None:
        verified = await asyncio.to_thread(verify, self.service.database_url, [], None, quiet)
        assert verified.findings == []

    async def refund(self, name: str, amount: int, currency: str = "EUR") -> None:
        report = RefundReport(
            name, "o1", amount, currency, f"hyperswitch:{name}", None, "hyperswitch"
        )
        await self.service.inbox.put(
            "hyperswitch", name, "refund_succeeded", b"{}", self.service.clock.now()
        )
        await self.service.commands.refunds.succeeded(report)

    async def refund_fails(self, name: str, amount: int, currency: str = "EUR") -> None:
        report = RefundReport(name, "o1", amount, currency, "hyperswitch:read")
        await self.service.commands.refunds.failed(report, asked=await self._version(name))

    async def refund_succeeds_after_all(self, name: str, amount: int) -> None:
        report = RefundReport(name, "o1", amount, "EUR", "hyperswitch:read")
        await self.service.commands.refunds.succeeded(report, asked=await self._version(name))

    async def _version(self, name: str) -> int:
        row = await ReadModels(self.service.pool).refund(name)
        assert row is not None
        return row.version

    async def dispute(self, currency: str, *reported: DisputeStatus) -> None:
        report = DisputeReport(
            "dp_1", "hyperswitch", "o1", 5_000, currency, reported, "hyperswitch:read"
        )
        await self.service.commands.disputes.record(report, DisputePolicy.WITHDRAWAL)


@pytest.fixture
async def person(client: httpx.AsyncClient, service: Service) -> AsyncIterator[Person]:
    person = Person(client, service)
    yield person
    await person.verifies()


def part(seller_id: str, amount: int) -> dict[str, object]:
    return {"seller_id": seller_id, "amount": amount}


@pytest.fixture
async def paid(shop: Shop, at_stripe: StripeWorker) -> str:
    """Make a paid order of 100.00 EUR, of which Ada has 80.00; return her transfer's path."""
    transfer_id = (await shop.paid(ada=8_000))["ada"]
    await at_stripe.does(transfer_id)
    return f"transfers/{transfer_id}"


async def taken(person: Person, paid: str) -> list[tuple[str, int, str]]:
    shown = (await person.client.get(f"/v1/{paid}")).json()
    return [(one["refund_id"], one["amount"], one["status"]) for one in shown["reversals"]]


# --- refunds --------------------------------------------------------------------------------------


async def test_refund_in_another_currency_takes_the_decided_parts(
    person: Person, paid: str
) -> None:
    await person.refund("r1", 5_500, "USD")
    told = (await person.alarms())["refund_set_aside"]
    assert "'o1'" in told
    assert "55.00 USD" in told
    answer = await person.decides(
        "refunds/r1/decide", allocation=[part("ada", 4_000)], amount=5_000
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert [(p["seller_id"], p["amount"]) for p in answer.json()["allocation"]] == [("ada", 4_000)]
    assert await taken(person, paid) == [("r1", 4_000, "requested")]
    assert await person.alarms() == {}
    order = (await person.client.get("/v1/orders/o1")).json()
    assert order["refunded"] == 5_000


async def test_decision_is_idempotent_and_another_one_is_refused(person: Person, paid: str) -> None:
    await person.refund("r1", 20_000)
    for status in (200, 200):
        answer = await person.decides("refunds/r1/decide", allocation=[part("ada", 3_000)])
        assert answer.status_code == status
    for other in ({"allocation": [part("ada", 2_000)]}, {"dismiss": True}):
        answer = await person.decides("refunds/r1/decide", **other)
        assert (answer.status_code, answer.json()["code"]) == (409, "content_differs")
    assert await taken(person, paid) == [("r1", 3_000, "requested")]


async def test_dismissed_refund_never_takes_anything(person: Person, paid: str) -> None:
    await person.refund("r1", 20_000)
    answer = await person.decides("refunds/r1/decide", dismiss=True)
    assert (answer.status_code, answer.json()["allocation"]) == (200, [])
    assert await person.alarms() == {}
    await person.refund("r1", 20_000)
    await person.refund_fails("r1", 20_000)
    await person.refund_succeeds_after_all("r1", 20_000)
    assert (await taken(person, paid), await person.alarms()) == ([], {})
    history = (await person.client.get("/v1/orders/o1/history")).json()["data"]
    decided = next(entry for entry in history if entry["fact"] == "SetAsideDecided")
    assert (decided["payload"]["actor"], decided["by"]) == ("mia", "mia")


async def test_failed_refund_gives_its_decided_parts_back(
    person: Person, paid: str, at_stripe: StripeWorker, shop: Shop
) -> None:
    await person.refund("r1", 20_000)
    await person.decides("refunds/r1/decide", allocation=[part("ada", 3_000)])
    await person.refund_fails("r1", 20_000)
    assert await taken(person, paid) == [("r1", 3_000, "withdrawn")]
    await person.refund_succeeds_after_all("r1", 20_000)
    assert (await taken(person, paid))[-1] == ("r1", 3_000, "requested"), "as decided before"


async def test_refund_that_fails_before_the_decision_clears_its_alarm(
    person: Person, paid: str
) -> None:
    await person.refund("r1", 20_000)
    await person.refund("r2", 20_000)
    await person.refund_fails("r1", 20_000)
    assert "'r2'" in (await person.alarms())["refund_set_aside"]
    await person.refund_fails("r2", 20_000)
    assert await person.alarms() == {}
    answer = await person.decides("refunds/r2/decide", dismiss=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_decide")


async def test_decision_beyond_the_share_or_the_refund_is_refused(
    person: Person, paid: str
) -> None:
    await person.refund("r1", 20_000)
    await person.refund("r2", 100, "USD")
    for path, parts, code in (
        ("refunds/r1/decide", [part("ada", 8_001)], "refused"),
        ("refunds/r1/decide", [part("eve", 1)], "refused"),
        ("refunds/r9/decide", [part("ada", 1)], "not_found"),
        ("disputes/dp_9/decide", [part("ada", 1)], "not_found"),
    ):
        answer = await person.decides(path, allocation=parts)
        assert answer.json()["code"] == code
    answer = await person.decides("refunds/r2/decide", allocation=[], dismiss=True)
    assert answer.status_code == 422
    assert len(await person.alarms()) == 1


async def test_refund_that_was_divided_has_nothing_to_decide(person: Person, paid: str) -> None:
    await person.refund("r1", 5_000)
    answer = await person.decides("refunds/r1/decide", dismiss=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_decide")


@pytest.mark.parametrize("dismissed", [False, True])
async def test_refund_with_a_disagreeing_answer_is_decided(
    person: Person, shop: Shop, at_stripe: StripeWorker, dismissed: bool
) -> None:
    """The PSP shows the refund with another amount than was requested."""
    await shop.order(ada=8_000)
    await person.client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1"})
    request = RefundRequest("r1", "o1", 5_000)
    await person.service.commands.refunds.request(request)
    early = await person.decides("refunds/r1/decide", dismiss=True)
    assert early.json()["code"] == "nothing_to_decide"
    log, now = PostgresEventLog(person.service.store), person.service.clock.now()
    uow = await log.load([refund_stream("r1")])
    refund = uow.refund()
    assert refund is not None
    postpone(refund, DeferralReason.HELD, "disagrees: it shows 6000", now, now)
    await log.append(uow)
    assert list(await person.alarms()) == ["refund_not_understood"]
    how = {"dismiss": True} if dismissed else {"allocation": [part("ada", 4_000)]}
    answer = await person.decides("refunds/r1/decide", **how)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert await person.alarms() == {}
    (transfer,) = (await person.client.get("/v1/orders/o1")).json()["transfers"]
    assert transfer["amount"] == (8_000 if dismissed else 4_000)
    rest = await person.service.commands.refunds.settle(RefundRequest("r2", "o1"))
    assert rest.refund.amount == (10_000 if dismissed else 5_000)


# --- disputes -------------------------------------------------------------------------------------


async def test_dispute_in_another_currency_takes_the_decided_parts(
    person: Person, paid: str
) -> None:
    await person.dispute("USD", D.WITHDRAWN)
    assert "dispute_set_aside" in await person.alarms()
    answer = await person.decides("disputes/dp_1/decide", allocation=[part("ada", 4_000)])
    assert (answer.status_code, answer.json()["order_id"]) == (200, "o1")
    assert "dispute_set_aside" not in await person.alarms()
    assert await taken(person, paid) == [("dispute dp_1", 4_000, "requested")]
    await person.dispute("USD", D.LOST)
    assert len(await taken(person, paid)) == 1
    again = await person.decides("disputes/dp_1/decide", allocation=[part("ada", 4_000)])
    assert again.status_code == 200


async def test_refund_after_a_decided_dispute_takes_no_more_than_the_share(
    person: Person, paid: str
) -> None:
    await person.dispute("USD", D.WITHDRAWN)
    await person.decides("disputes/dp_1/decide", allocation=[part("ada", 6_000)])
    await person.refund("r1", 10_000)
    assert sum(amount for _, amount, _ in await taken(person, paid)) == 8_000


async def test_reinstated_dispute_gives_its_decided_parts_back(person: Person, paid: str) -> None:
    await person.dispute("USD", D.WITHDRAWN)
    await person.decides("disputes/dp_1/decide", allocation=[part("ada", 4_000)])
    await person.dispute("USD", D.REINSTATED)
    assert await taken(person, paid) == [("dispute dp_1", 4_000, "withdrawn")]


async def test_dismissed_dispute_takes_nothing_when_it_is_lost(person: Person, paid: str) -> None:
    await person.dispute("USD", D.WITHDRAWN)
    await person.decides("disputes/dp_1/decide", dismiss=True)
    await person.dispute("USD", D.LOST)
    assert (await taken(person, paid), await person.alarms()) == ([], {})


async def test_part_that_came_back_is_decided_per_seller(person: Person, paid: str) -> None:
    await person.dispute("EUR", D.WITHDRAWN)
    report = DisputeReport("dp_1", "hyperswitch", "o1", 5_000, "EUR", (), "hyperswitch:read")
    await person.service.commands.disputes.record_part(report, {"EUR": 2_000})
    assert await taken(person, paid) == [("dispute dp_1", 4_000, "requested")]
    answer = await person.decides("disputes/dp_1/decide", allocation=[part("ada", 1_600)])
    assert answer.status_code == 200
    assert await taken(person, paid) == [("dispute dp_1", 1_600, "requested")]
    assert not await person.service.commands.disputes.record_part(report, {"EUR": 2_000})
    await person.dispute("EUR", D.LOST)
    assert await taken(person, paid) == [("dispute dp_1", 1_600, "requested")]


async def test_counted_dispute_has_nothing_to_decide(person: Person, paid: str) -> None:
    await person.dispute("EUR", D.WITHDRAWN)
    answer = await person.decides("disputes/dp_1/decide", dismiss=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_decide")


# --- webhooks -------------------------------------------------------------------------------------

Bury = Callable[[str], Awaitable[int]]


@pytest.fixture
def bury(service: Service) -> Bury:
    """Return a function that makes a dead or parked webhook with an alarm; it returns its
    number."""

    async def buried(status: str) -> int:
        name, now = f"evt_{status}", service.clock.now()
        await service.inbox.put("hyperswitch", name, "refund_failed", b'{"odd": 1}', now)
        (row,) = [one for one in await service.inbox.newest() if one.event_id == name]
        if status == "dead":
            await service.inbox.bury(row.inbox_id, "it is odd")
        if status == "parked":
            await service.inbox.park(row.inbox_id, "order:o7", None, "there is no order:o7 yet")
        if status == "ignored":
            await service.inbox.ignore({row.inbox_id: "no concern"})
        await service.alarms.raise_alarm("webhook_dead", f"hyperswitch:{name}", "it is odd")
        return row.inbox_id

    return buried


@pytest.mark.parametrize("status", ["dead", "parked", "ignored", "stored"])
async def test_discarded_webhook_ends_its_alarm_and_stays(
    person: Person, bury: Bury, senders: WebhookSenders, status: str
) -> None:
    number = await bury(status)
    shown = (await person.client.get(f"/v1/inbox/{number}")).json()
    assert (shown["status"], shown["body"]) == (status, '{"odd": 1}')
    for _ in range(2):
        answer = await person.decides(f"inbox/{number}/discard")
        assert (answer.status_code, answer.json()["status"]) == (200, "discarded")
    assert await person.alarms() == {}
    told = (await person.client.get("/v1/facts")).json()["data"]
    assert [entry["fact"] for entry in told] == ["Noted", "Discarded"]
    assert told[1]["payload"]["actor"] == "mia"
    body = f'{{"event_id": "evt_{status}", "event_type": "refund_failed"}}'.encode()
    again = await person.client.post(
        "/webhooks/hyperswitch", content=body, headers=senders.hyperswitch(body)
    )
    assert again.status_code == 200
    assert len(await person.service.inbox.newest()) == 1


async def test_discarded_webhook_can_be_replayed_and_discarded_again(
    person: Person, bury: Bury
) -> None:
    number = await bury("dead")
    await person.decides(f"inbox/{number}/discard")
    assert await person.service.inbox.replay(number)
    assert (await person.client.get(f"/v1/inbox/{number}")).json()["status"] == "stored"
    answer = await person.decides(f"inbox/{number}/discard")
    assert answer.json()["status"] == "discarded"


async def test_webhook_that_is_handled_now_is_not_discarded(person: Person, bury: Bury) -> None:
    number = await bury("stored")
    await person.service.inbox.claim("worker", 1, timedelta(seconds=60))
    answer = await person.decides(f"inbox/{number}/discard")
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")
    assert (await person.decides("inbox/99/discard")).status_code == 404


async def test_discarded_unreadable_webhook_alarms_no_more(
    person: Person, senders: WebhookSenders
) -> None:
    async def comes() -> None:
        body = b"no json"
        answer = await person.client.post(
            "/webhooks/hyperswitch", content=body, headers=senders.hyperswitch(body)
        )
        assert answer.status_code == 200

    await comes()
    assert list(await person.alarms()) == ["webhook_unreadable"]
    (row,) = await person.service.inbox.newest()
    assert (await person.decides(f"inbox/{row.inbox_id}/discard")).status_code == 200
    await comes()
    assert await person.alarms() == {}


# --- sellers and findings -------------------------------------------------------------------------


async def test_moved_seller_is_paid_to_the_new_account(
    person: Person, shop: Shop, at_stripe: StripeWorker
) -> None:
    paid = (await shop.paid("o1", ada=8_000))["ada"]
    await at_stripe.does(paid)
    unsent = (await shop.paid("o2", ada=8_000))["ada"]
    await shop.order("o3", ada=8_000)
    body: dict[str, Any] = {**MIA, "destination": "acct_new"}
    answer = await person.client.post("/v1/sellers/ada/destination", json=body)
    assert answer.json() == {
        "seller_id": "ada",
        "destination": "acct_new",
        "redirected": 1,
        "in_call": 0,
    }
    assert (await shop.transfer(paid))["destination"] == "acct_ada"
    assert (await shop.transfer(unsent))["destination"] == "acct_new"
    later = await person.client.post("/v1/orders/o3/paid", json={})
    assert [t["destination"] for t in later.json()["transfers"]] == ["acct_new"]
    again = await person.client.post("/v1/sellers/ada/destination", json=body)
    assert again.json()["redirected"] == 0
    own = (await shop.paid("o4", ada=8_000))["ada"]
    assert (await shop.transfer(own))["destination"] == "acct_ada", "registered after the move"


async def test_ignored_finding_is_reported_again(person: Person) -> None:
    difference = Difference(
        DifferenceKind.UNCLAIMED, "tr_9", "tr_9", None, 500, "EUR", "not ours", None
    )
    by = DecidedBy("mia", "known")
    await person.service.commands.reconciliation.ignore(difference, by)
    for _ in range(2):
        answer = await person.decides(f"findings/{difference.id}/unignore")
        assert answer.json() == {"finding_id": difference.id, "status": "noted"}
    assert (await person.decides("findings/none/unignore")).status_code == 404
    assert await person.service.commands.reconciliation.ignore(difference, by)
