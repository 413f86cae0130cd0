"""The audit trail: the cause of each fact, the calls to Stripe with their answers, and the history
of an order."""

import json
from uuid import UUID, uuid4

import httpx

from application.unit_of_work import CommitExtras, InboxMark
from application.webhooks.handler import StoredEvent, WebhookHandler
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from domain.provider_call.outcome import Rejected, Succeeded, Unknown
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.external_reversals import record_external
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop, StripeWorker, WebhookSenders
from tests.support.json_types import Json
from tests.support.random_marketplace import RandomMarketplace

TIMEOUT = Unknown("timeout", "no answer in 30 s", request_id="req_lost")


def _refund_event(
    event_id: str, order_id: str = "o1", kind: str = "refund_succeeded", amount: int = 1_000
) -> bytes:
    refund = {
        "refund_id": "ref_1", "payment_id": "pay_1", "amount": amount, "currency": "EUR",
        "status": "succeeded",
        "metadata": {"order_id": order_id},
    }  # fmt: skip
    return json.dumps(
        {"event_id": event_id, "event_type": kind, "content": {"object": refund}}
    ).encode()


async def _handled(
    service: Service, anonymous_client: httpx.AsyncClient, senders: WebhookSenders, event: bytes
) -> None:
    """Received over HTTP, claimed from the inbox, and handled."""
    (
        await anonymous_client.post(
            "/webhooks/hyperswitch", content=event, headers=senders.hyperswitch(event)
        )
    ).raise_for_status()
    claimed = await service.inbox.claim("test", 1, service.settings.lease)
    reactions = WebhookHandler(
        hyperswitch=HyperswitchPaymentsRefunds(
            service.commands, PostgresDirectory(service.pool)
        ).handlers()
    )
    for one in claimed.events:
        await reactions.handle(
            StoredEvent(one.inbox_id, one.provider, one.event_id, one.event_type, one.body)
        )


async def _of_order(client: httpx.AsyncClient, order_id: str = "o1") -> list[Json]:
    entries: list[Json] = (
        (await client.get(f"/v1/orders/{order_id}/history")).raise_for_status().json()["data"]
    )
    return entries


async def _of_transfer(client: httpx.AsyncClient, transfer_id: UUID | str) -> list[Json]:
    entries: list[Json] = (
        (await client.get(f"/v1/transfers/{transfer_id}/history")).raise_for_status().json()["data"]
    )
    return entries


async def test_order_history_merges_streams_by_position(
    client: httpx.AsyncClient, service: Service
) -> None:
    marketplace = RandomMarketplace(service, 21)
    for _ in range(60):
        await marketplace.step()
    facts = await service.store.feed(limit=100_000)
    told_of: dict[int, str] = {}
    for order_id in marketplace.orders:
        order = (await client.get(f"/v1/orders/{order_id}")).json()
        told = await _of_order(client, order_id)
        positions = [entry["position"] for entry in told]
        assert positions == sorted(set(positions))
        assert {entry["stream"] for entry in told} <= {"order", "refund", "seller_transfer"}
        transfers = {entry["stream_id"] for entry in told if entry["stream"] == "seller_transfer"}
        assert transfers == {transfer["transfer_id"] for transfer in order["transfers"]}
        refunds = [entry for entry in told if entry["fact"] == "Opened"]
        assert {entry["payload"]["refund_id"] for entry in refunds} == {
            refund["refund_id"] for refund in order["refunds"]
        }
        told_of |= {entry["position"]: order_id for entry in told}
    taken_over = {fact.originator_id for fact in facts if fact.topic.endswith("imported")}
    assert set(told_of) == {fact.position for fact in facts if fact.originator_id not in taken_over}


async def test_transfer_history_is_part_of_order_history(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid("o1", ada=8_000, bob=1_000)
    await at_stripe.does(transfers["ada"])
    await shop.refund("r1", amount=1_000)
    whole = await _of_order(client)
    for transfer_id in transfers.values():
        of_it = [entry for entry in whole if entry["stream_id"] == str(transfer_id)]
        of_it = [
            {name: entry[name] for name in entry if name not in ("stream", "stream_id")}
            for entry in of_it
        ]
        assert await _of_transfer(client, transfer_id) == of_it


async def test_unknown_order_has_no_history(client: httpx.AsyncClient) -> None:
    for order_id in ("nobody", str(uuid4())):
        answer = await client.get(f"/v1/orders/{order_id}/history")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await client.get("/v1/orders/%20/history")).status_code == 422


async def test_fact_names_webhook_person_or_process_behind_it(
    client: httpx.AsyncClient,
    anonymous_client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    service: Service,
    senders: WebhookSenders,
) -> None:
    transfers = await shop.paid("o1", ada=8_000)
    await at_stripe.does(transfers["ada"])
    await _handled(service, anonymous_client, senders, _refund_event("evt_1"))
    await at_stripe.answers(
        transfers["ada"], Rejected(404, "resource_missing", "No such transfer.", stored=True)
    )
    body = {"actor": "mia", "reason": "the key was wrong"}
    (await client.post(f"/v1/transfers/{transfers['ada']}/retry", json=body)).raise_for_status()
    webhook = "hyperswitch:evt_1"
    assert {(entry["fact"], entry["by"]) for entry in await _of_order(client)} == {
        ("Registered", "api"),
        ("Paid", "api"),
        ("Created", "api"),
        ("CallStarted", "worker"),
        ("Completed", "worker"),
        ("Opened", webhook),
        ("AuthorityFound", webhook),
        ("RefundAllocated", webhook),
        ("Succeeded", webhook),
        ("ReversalRequested", webhook),
        ("PermanentlyFailed", "worker"),
        ("Reopened", "mia"),
    }


async def test_webhook_names_last_fact_it_caused(
    client: httpx.AsyncClient,
    anonymous_client: httpx.AsyncClient,
    shop: Shop,
    service: Service,
    senders: WebhookSenders,
) -> None:
    await shop.paid("o1", ada=8_000)
    await _handled(service, anonymous_client, senders, _refund_event("evt_1"))
    (row,) = await service.inbox.newest("done", 10)
    behind = [
        entry["position"] for entry in await _of_order(client) if entry["by"] == "hyperswitch:evt_1"
    ]
    assert row.position == behind[-1] == await service.store.head()
    await _handled(service, anonymous_client, senders, _refund_event("evt_2"))
    again = (await service.inbox.newest("done", 1))[0]
    assert (again.event_id, again.position) == ("evt_2", None), (
        "the same report again causes nothing"
    )


async def test_webhook_is_named_where_none_of_its_facts_names_it(
    client: httpx.AsyncClient,
    anonymous_client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    service: Service,
    senders: WebhookSenders,
) -> None:
    """The fact of an external reversal names no webhook; the inbox row holds the position of the
    last fact."""
    transfers = await shop.paid("o1", ada=8_000)
    stripe_id = await at_stripe.does(transfers["ada"])
    event = _refund_event("evt_9", order_id="unknown")
    (
        await anonymous_client.post(
            "/webhooks/hyperswitch", content=event, headers=senders.hyperswitch(event)
        )
    ).raise_for_status()
    (row,) = await service.inbox.newest("stored", 1)
    ledger, (transfer_id,) = PostgresEventLog(service.store), transfers.values()
    uow = await ledger.load([transfer_id])
    theirs = (ReversalAtStripe("trr_9", 5, None),)
    seen = TransferAtStripe(stripe_id, 8_000, 5, "EUR", "acct_ada", str(transfer_id), theirs)
    record_external(uow.transfer(transfer_id), seen, service.clock.now())
    await ledger.append(uow, CommitExtras(inbox=InboxMark(row.inbox_id, "done")))
    told = await _of_transfer(client, transfer_id)
    assert [(entry["fact"], entry["by"]) for entry in told[-2:]] == [
        ("ReversalRequested", "hyperswitch:evt_9"),
        ("PartiallyReversed", "hyperswitch:evt_9"),
    ]


async def test_call_history_shows_key_request_id_and_message(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid("o1", ada=8_000)
    await at_stripe.answers(transfers["ada"], Succeeded("tr_1", 8_000, "req_paid"))
    await shop.refund("r1", amount=1_000)
    await at_stripe.answers(transfers["ada"], TIMEOUT)
    told = await _of_transfer(client, transfers["ada"])
    paid_under = f"transfer:{transfers['ada']}:e1"
    reversal_id = (await shop.transfer(transfers["ada"]))["reversals"][0]["reversal_id"]
    reversed_under = f"reversal:{reversal_id}:e1"
    assert [
        (entry["fact"], entry["key"], entry["request_id"], entry["error"]) for entry in told
    ] == [
        ("Created", None, None, None),
        ("CallStarted", paid_under, None, None),
        ("Completed", paid_under, "req_paid", None),
        ("ReversalRequested", None, None, None),
        ("CallStarted", reversed_under, None, None),
        ("AttemptDeferred", reversed_under, "req_lost", "timeout: no answer in 30 s"),
    ]
