"""Reception of webhooks: signed bodies are stored once and acknowledged after they are durable."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import httpx
import psycopg
import pytest

from infrastructure.service import Service
from infrastructure.web.app import application_of
from tests.infrastructure.web.conftest import Connect, Shop, WebhookSenders
from tests.support.json_types import Json

EVENT = json.dumps({"event_id": "evt_1", "event_type": "refund_succeeded", "content": {}}).encode()
STRIPE_EVENT = json.dumps(
    {"id": "evt_1", "type": "transfer.created", "livemode": False, "data": {}}
).encode()


StoredRows = Callable[[], list[tuple[object, ...]]]


@pytest.fixture
def stored_rows(database_url: str) -> StoredRows:
    """Rows that a second connection sees: only committed ones."""

    def rows() -> list[tuple[object, ...]]:
        with psycopg.connect(database_url) as connection:
            return connection.execute(
                "select provider, event_id, event_type, body, status from webhook_inbox"
            ).fetchall()

    return rows


async def test_webhook_is_stored_byte_by_byte(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, stored_rows: StoredRows
) -> None:
    hyperswitch = await anonymous_client.post(
        "/webhooks/hyperswitch", content=EVENT, headers=senders.hyperswitch(EVENT)
    )
    stripe = await anonymous_client.post(
        "/webhooks/stripe", content=STRIPE_EVENT, headers=senders.stripe(STRIPE_EVENT)
    )
    assert (hyperswitch.status_code, hyperswitch.json()) == (200, {"received": True})
    assert (stripe.status_code, stripe.json()) == (200, {"received": True})
    assert stored_rows() == [
        ("hyperswitch", "evt_1", "refund_succeeded", EVENT, "stored"),
        ("stripe", "evt_1", "transfer.created", STRIPE_EVENT, "stored"),
    ]


async def test_five_concurrent_webhooks_are_one_row(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, stored_rows: StoredRows
) -> None:
    headers = senders.hyperswitch(EVENT)
    answers = await asyncio.gather(
        *(
            anonymous_client.post("/webhooks/hyperswitch", content=EVENT, headers=headers)
            for _ in range(5)
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len(stored_rows()) == 1
    metrics = (await anonymous_client.get("/metrics")).text
    assert 'ledger_webhooks_received_total{provider="hyperswitch",result="stored"} 1.0' in metrics
    assert (
        'ledger_webhooks_received_total{provider="hyperswitch",result="duplicate"} 4.0' in metrics
    )


async def test_webhook_is_durable_before_acknowledgement(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, stored_rows: StoredRows
) -> None:
    seen_at_the_answer = []

    async def look(response: httpx.Response) -> None:
        seen_at_the_answer.append(len(stored_rows()))

    anonymous_client.event_hooks["response"].insert(0, look)
    await anonymous_client.post(
        "/webhooks/hyperswitch", content=EVENT, headers=senders.hyperswitch(EVENT)
    )
    assert seen_at_the_answer == [1]


@pytest.mark.parametrize("secret", ["the-old-secret", "the-new-secret"])
async def test_secret_rotation_accepts_both_secrets(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, secret: str
) -> None:
    hyperswitch = await anonymous_client.post(
        "/webhooks/hyperswitch", content=EVENT, headers=senders.hyperswitch(EVENT, secret)
    )
    stripe = await anonymous_client.post(
        "/webhooks/stripe", content=STRIPE_EVENT, headers=senders.stripe(STRIPE_EVENT, secret)
    )
    assert (hyperswitch.status_code, stripe.status_code) == (200, 200)


async def test_webhook_with_bad_signature_stores_nothing(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, stored_rows: StoredRows
) -> None:
    signed = senders.hyperswitch(EVENT)
    attempts = [
        await anonymous_client.post("/webhooks/hyperswitch", content=EVENT),
        await anonymous_client.post(
            "/webhooks/hyperswitch", content=EVENT, headers=senders.hyperswitch(EVENT, "another")
        ),
        await anonymous_client.post("/webhooks/hyperswitch", content=EVENT + b" ", headers=signed),
        await anonymous_client.post("/webhooks/hyperswitch", content=b"", headers=signed),
        await anonymous_client.post(
            "/webhooks/hyperswitch",
            content=EVENT,
            headers={b"X-Webhook-Signature-512": b"\xff\xe9"},
        ),
        await anonymous_client.post("/webhooks/stripe", content=STRIPE_EVENT),
        await anonymous_client.post(
            "/webhooks/stripe",
            content=STRIPE_EVENT,
            headers=senders.stripe(STRIPE_EVENT, "another"),
        ),
        await anonymous_client.post("/webhooks/stripe", content=STRIPE_EVENT, headers=signed),
        await anonymous_client.post(
            "/webhooks/stripe",
            content=STRIPE_EVENT,
            headers={b"Stripe-Signature": b"t=\xb2,v1=\xe9"},
        ),
        await anonymous_client.post(
            "/webhooks/stripe",
            content=STRIPE_EVENT,
            headers=senders.stripe(STRIPE_EVENT, age=timedelta(minutes=6)),
        ),
        await anonymous_client.post(
            "/webhooks/stripe",
            content=STRIPE_EVENT,
            headers=senders.stripe(STRIPE_EVENT, age=-timedelta(minutes=6)),
        ),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in attempts] == [
        (400, "bad_signature")
    ] * len(attempts)
    assert stored_rows() == []
    assert 'result="bad_signature"} 5.0' in (await anonymous_client.get("/metrics")).text


async def test_event_of_wrong_mode_stores_nothing(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, stored_rows: StoredRows
) -> None:
    live = STRIPE_EVENT.replace(b"false", b"true")
    answer = await anonymous_client.post(
        "/webhooks/stripe", content=live, headers=senders.stripe(live)
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "livemode_mismatch")
    assert stored_rows() == []


@pytest.mark.parametrize("sender", ["account", "context", "user_id"])
async def test_event_of_the_other_mode_by_an_account_is_stored(
    anonymous_client: httpx.AsyncClient,
    senders: WebhookSenders,
    stored_rows: StoredRows,
    sender: str,
) -> None:
    """Stripe sends the test events of connected accounts to live Connect endpoints too, and repeats
    a refused one for days."""
    told = {**json.loads(STRIPE_EVENT), "livemode": True, sender: "acct_1"}
    body = json.dumps(told).encode()
    answer = await anonymous_client.post(
        "/webhooks/stripe", content=body, headers=senders.stripe(body)
    )
    assert answer.status_code == 200
    assert stored_rows() == [("stripe", "evt_1", "transfer.created", body, "stored")]


@pytest.mark.parametrize("sender", ["account", "context", "user_id"])
async def test_event_of_the_other_mode_without_a_named_account_is_refused(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, sender: str
) -> None:
    told = {**json.loads(STRIPE_EVENT), "livemode": True, sender: None}
    body = json.dumps(told).encode()
    answer = await anonymous_client.post(
        "/webhooks/stripe", content=body, headers=senders.stripe(body)
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "livemode_mismatch")


async def test_livemode_must_match_the_key(
    service: Service, without: Callable[..., Service], connect: Connect, senders: WebhookSenders
) -> None:
    for key, livemode, status in (
        ("sk_live_1", b"true", 200), ("sk_live_1", b"false", 400), ("rk_live_1", b"true", 200),
        ("sk_test_1", b"true", 400), ("rk_test_1", b"false", 200),
    ):  # fmt: skip
        body = STRIPE_EVENT.replace(b"false", livemode)
        async with connect(application_of(without(service, stripe_api_key=key))) as client:
            answer = await client.post(
                "/webhooks/stripe", content=body, headers=senders.stripe(body)
            )
        assert answer.status_code == status, key
        assert answer.headers["ledger-mode"] == ("live" if "live" in key else "test")


async def test_webhook_path_without_secret_does_not_exist(
    service: Service, without: Callable[..., Service], connect: Connect, senders: WebhookSenders
) -> None:
    bare = without(service, stripe_webhook_secrets=(), hyperswitch_webhook_secrets=())
    async with connect(application_of(bare)) as client:
        for path, headers in (
            ("hyperswitch", senders.hyperswitch(EVENT)),
            ("stripe", senders.stripe(EVENT)),
        ):
            answer = await client.post(f"/webhooks/{path}", content=EVENT, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_configured")


UNREADABLE = [
    b"",
    b"no json",
    b"\xff\xfe\x00",
    b"[1]",
    b"null",
    b'"text"',
    b"{}",
    b'{"event_id": 1, "event_type": 2, "id": 3, "type": null}',
    b'{"event_id": "", "event_type": "", "id": "", "type": "", "livemode": false}',
    b'{"event_id": "a\\u0000", "event_type": "b\\u0000", "id": "a\\u0000", "type": "b\\u0000", '
    b'"livemode": false}',
    b'{"event_id": "\\ud800", "event_type": "b", "id": "\\ud800", "type": "b", "livemode": false}',
    b'{"event_id": "%s", "event_type": "%s"}' % (b"x" * 256, b"y" * 129),
    b"[" * 100_000,
    b'{"id": "evt_14", "type": "transfer.created"}',
    b'{"id": "evt_15", "type": "transfer.created", "livemode": "true"}',
    b'{"event_id": NaN}',
]


@pytest.mark.parametrize("provider", ["hyperswitch", "stripe"])
async def test_unreadable_signed_webhook_is_kept(
    anonymous_client: httpx.AsyncClient,
    senders: WebhookSenders,
    stored_rows: StoredRows,
    service: Service,
    provider: str,
) -> None:
    for number, body in enumerate(UNREADABLE, start=1):
        headers = getattr(senders, provider)(body)
        for _ in range(2):
            answer = await anonymous_client.post(
                f"/webhooks/{provider}", content=body, headers=headers
            )
            assert answer.status_code == 200
        *_, (_, event_id, event_type, stored, _) = stored_rows()
        assert (stored, event_type) == (body, "unreadable")
        assert event_id in (f"sha256:{hashlib.sha256(body).hexdigest()}", f"evt_{number}")
        raised = {(alarm.kind, alarm.subject) for alarm in await service.alarms.raised()}
        assert ("webhook_unreadable", f"{provider}:{event_id}") in raised
    assert len(stored_rows()) == len(UNREADABLE)


async def test_webhook_query_and_content_type_are_ignored(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders
) -> None:
    headers = senders.hyperswitch(EVENT) | {"Content-Type": "text/plain"}
    answer = await anonymous_client.post(
        "/webhooks/hyperswitch?profile=eu&profile=eu", content=EVENT, headers=headers
    )
    assert answer.status_code == 200


async def test_webhook_body_is_limited_to_one_mebibyte(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, stored_rows: StoredRows
) -> None:
    largest = EVENT + b" " * ((1 << 20) - len(EVENT))
    taken = await anonymous_client.post(
        "/webhooks/hyperswitch", content=largest, headers=senders.hyperswitch(largest)
    )
    refused = await anonymous_client.post(
        "/webhooks/hyperswitch", content=largest + b" ", headers=senders.hyperswitch(largest + b" ")
    )
    assert (taken.status_code, refused.status_code) == (200, 413)
    assert len(stored_rows()) == 1


async def test_database_outage_refuses_webhook_with_503(
    anonymous_client: httpx.AsyncClient, senders: WebhookSenders, service: Service
) -> None:
    await service.inbox.aclose()
    await service.pool.close()
    answer = await anonymous_client.post(
        "/webhooks/hyperswitch", content=EVENT, headers=senders.hyperswitch(EVENT)
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert int(answer.headers["retry-after"]) > 0


async def test_payment_webhook_becomes_job_that_pays_sellers(
    anonymous_client: httpx.AsyncClient,
    client: httpx.AsyncClient,
    senders: WebhookSenders,
    shop: Shop,
    service: Service,
) -> None:
    """The web and the webhook handlers read the same event."""
    from application.webhooks.handler import DONE, StoredEvent, WebhookHandler
    from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
    from infrastructure.postgres.directory import PostgresDirectory

    await shop.order("o1", ada=8_000)
    payment = {
        "payment_id": "pay_1",
        "status": "succeeded",
        "amount": 10_000,
        "currency": "EUR",
        "metadata": {"order_id": "o1"},
    }
    body = json.dumps(
        {"event_id": "evt_1", "event_type": "payment_succeeded", "content": {"object": payment}}
    ).encode()
    await anonymous_client.post(
        "/webhooks/hyperswitch", content=body, headers=senders.hyperswitch(body)
    )
    ((event,), _) = await service.inbox.claim("a test", 10, timedelta(seconds=10))
    stored = StoredEvent(
        event.inbox_id, event.provider, event.event_id, event.event_type, event.body
    )
    hyperswitch = HyperswitchPaymentsRefunds(
        service.commands, PostgresDirectory(service.pool)
    ).handlers()
    assert await WebhookHandler(hyperswitch=hyperswitch).handle(stored) == DONE
    (transfer,) = (await client.get("/v1/orders/o1")).json()["transfers"]
    assert (transfer["seller_id"], transfer["amount"], UUID(transfer["transfer_id"])) == (
        "ada",
        8_000,
        UUID(transfer["transfer_id"]),
    )


@pytest.mark.parametrize(
    ("about", "ends"),
    [
        ({"refund_id": "r1", "error_message": "refused\x00by the bank"}, "Done"),
        (
            {"refund_id": "r" * 600},
            "Parked",
        ),  # as metadata of a reversal it would be refused, and all behind it be stuck
        ({"refund_id": ""}, "Parked"),
    ],
)
async def test_webhook_with_odd_text_or_name_is_handled(
    anonymous_client: httpx.AsyncClient,
    senders: WebhookSenders,
    shop: Shop,
    service: Service,
    about: Json,
    ends: str,
) -> None:
    from application.webhooks.handler import StoredEvent, WebhookHandler
    from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
    from infrastructure.postgres.directory import PostgresDirectory

    await shop.paid("o1", ada=8_000)
    refund = {
        "payment_id": "pay_1",
        "amount": 100,
        "currency": "EUR",
        "status": "failed",
        "metadata": {"order_id": "o1"},
    }
    sent = {
        "event_id": "evt_1",
        "event_type": "refund_failed",
        "content": {"object": {**refund, **about}},
    }
    body = json.dumps(sent).encode()
    await anonymous_client.post(
        "/webhooks/hyperswitch", content=body, headers=senders.hyperswitch(body)
    )
    ((event,), _) = await service.inbox.claim("a test", 10, timedelta(seconds=10))
    stored = StoredEvent(
        event.inbox_id, event.provider, event.event_id, event.event_type, event.body
    )
    hyperswitch = HyperswitchPaymentsRefunds(
        service.commands, PostgresDirectory(service.pool)
    ).handlers()
    assert type(await WebhookHandler(hyperswitch=hyperswitch).handle(stored)).__name__ == ends
