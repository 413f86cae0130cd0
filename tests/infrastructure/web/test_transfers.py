"""Transfers over HTTP: lists, current and earlier states, histories, and retries."""

from uuid import uuid4

import httpx
import pytest

from domain.provider_call.outcome import Rejected
from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.support.json_types import Json

REFUSED = Rejected(400, "account_invalid", "No such account.", stored=True)
NO_SUCH_TRANSFER = Rejected(404, "resource_missing", "No such transfer.", stored=True)


async def test_transfer_has_documented_members(shop: Shop, at_stripe: StripeWorker) -> None:
    transfers = await shop.paid(ada=8_000)
    stripe_id = await at_stripe.does(transfers["ada"])
    await shop.refund("r1", amount=2_500)
    transfer = await shop.transfer(transfers["ada"])
    reversal = transfer["reversals"][0]
    assert transfer | {"next_retry_at": "", "created_at": "", "updated_at": ""} == {
        "transfer_id": str(transfers["ada"]),
        "order_id": "o1",
        "seller_id": "ada",
        "destination": "acct_ada",
        "amount": 8_000,
        "currency": "EUR",
        "status": "reversal_pending",
        "amount_reversed": 0,
        "stripe_transfer_id": stripe_id,
        "stripe_reversal_id": None,
        "retry_count": 0,
        "next_retry_at": "",
        "waiting_for": None,
        "source_transaction": None,
        "last_error": None,
        "refund_id": "r1",
        "version": 4,
        "created_at": "",
        "updated_at": "",
        "reversals": [
            {
                "reversal_id": reversal["reversal_id"],
                "refund_id": "r1",
                "amount": 2_000,
                "status": "requested",
                "stripe_reversal_id": None,
            }
        ],
    }


async def test_unknown_transfer_or_other_stream_is_not_found(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    await shop.paid()
    other_streams = [
        str(fact.originator_id) for fact in await service.store.feed() if "order" in fact.topic
    ]
    for transfer_id in [
        str(uuid4()),
        "not-a-uuid",
        "{" + str(uuid4()) + "}",
        "%00",
        "%ff",
        *other_streams,
    ]:
        for path in ("", "/history", "?as_of=2999-01-01T00:00:00Z"):
            answer = await client.get(f"/v1/transfers/{transfer_id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), transfer_id
        retried = await client.post(
            f"/v1/transfers/{transfer_id}/retry", json={"actor": "mia", "reason": "why not"}
        )
        assert (retried.status_code, retried.json()["code"]) == (404, "not_found"), transfer_id


async def test_transfer_id_has_one_spelling(client: httpx.AsyncClient, shop: Shop) -> None:
    transfer_id = (await shop.paid())["ada"]
    assert (await client.get(f"/v1/transfers/{str(transfer_id).upper()}")).status_code == 200
    for other in (transfer_id.hex, f"urn:uuid:{transfer_id}", f"{{{transfer_id}}}"):
        assert (await client.get(f"/v1/transfers/{other}")).status_code == 404


# --- lists ----------------------------------------------------------------------------------------


async def test_pages_show_every_transfer_once_newest_first(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    for number in range(7):
        await shop.paid(f"o{number}", ada=10, bob=20)
    seen, cursor = [], None
    while True:
        page = (
            await client.get(
                "/v1/transfers", params={"limit": 3} | ({"cursor": cursor} if cursor else {})
            )
        ).json()
        assert len(page["data"]) <= 3
        seen += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len({row["transfer_id"] for row in seen}) == len(seen) == 14
    assert [(row["created_at"], row["transfer_id"]) for row in seen] == sorted(
        ((row["created_at"], row["transfer_id"]) for row in seen), reverse=True
    )


async def test_new_row_does_not_shift_pages(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid("o1", ada=1, bob=1, eve=1)
    first = (await client.get("/v1/transfers", params={"limit": 2})).json()
    await shop.paid("o2", ada=1, bob=1)
    second = (
        await client.get("/v1/transfers", params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()
    assert {row["order_id"] for row in first["data"] + second["data"]} == {"o1"}
    assert len(first["data"] + second["data"]) == 3


async def test_filters_are_combined(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    first = await shop.paid("o1", ada=1, bob=1)
    await shop.paid("o2", ada=1)
    await at_stripe.does(first["ada"])

    async def found(**filters: str) -> set[tuple[str, str]]:
        rows = (await client.get("/v1/transfers", params=filters)).json()["data"]
        return {(row["order_id"], row["seller_id"]) for row in rows}

    assert await found(status="completed") == {("o1", "ada")}
    assert await found(status="pending") == {("o1", "bob"), ("o2", "ada")}
    assert await found(seller_id="ada") == {("o1", "ada"), ("o2", "ada")}
    assert await found(order_id="o1", seller_id="bob") == {("o1", "bob")}
    assert await found(order_id="o1", status="reversed") == set()


async def test_full_last_page_has_no_cursor(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid("o1", ada=1, bob=1)
    page = (await client.get("/v1/transfers", params={"limit": 2})).json()
    assert (len(page["data"]), page["next_cursor"]) == (2, None)


@pytest.mark.parametrize(
    "cursor", ["x", "", "=", "AAAA", "A" * 31, "A" * 33, "f" + "_" * 31, "é" * 16, "A" * 32 + "\n"]
)
async def test_foreign_cursor_is_refused(offline_client: httpx.AsyncClient, cursor: str) -> None:
    answer = await offline_client.get("/v1/transfers", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_request"),
        ("limit=501", 422, "invalid_request"),
        ("limit=ten", 422, "invalid_request"),
        ("limit=1_0", 422, "invalid_request"),
        ("limit=%C2%B2", 422, "invalid_request"),
        ("limit=", 422, "invalid_request"),
        ("status=done", 422, "invalid_request"),
        ("seller_id=a%20b", 422, "invalid_request"),
        ("order_id=" + "x" * 129, 422, "invalid_request"),
        ("seller_id=%00", 422, "invalid_request"),
        ("colour=red", 400, "unknown_query_parameter"),
        ("limit=1&limit=1", 400, "repeated_query_parameter"),
    ],
)
async def test_invalid_query_is_refused(
    offline_client: httpx.AsyncClient, query: str, status: int, code: str
) -> None:
    answer = await offline_client.get(f"/v1/transfers?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


# --- the past -------------------------------------------------------------------------------------


async def test_as_of_shows_every_earlier_state(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid(ada=8_000)
    path = f"/v1/transfers/{transfers['ada']}"
    await at_stripe.does(transfers["ada"])
    await shop.refund("r1", amount=1_000)
    for number in range(2, 7):
        await shop.refund(f"r{number}", amount=500)
    await at_stripe.does(transfers["ada"])
    told = (await client.get(f"{path}/history")).json()["data"]
    shown = [(await client.get(path, params={"as_of": entry["at"]})).json() for entry in told]
    assert shown[-1] == (await client.get(path)).json()
    assert [row["status"] for row in shown][-1] == "reversal_pending"
    assert {row["status"] for row in shown} >= {"pending", "completed", "reversal_pending"}
    by_version = {row["version"]: row for row in shown}
    assert all(row["version"] >= entry["version"] for row, entry in zip(shown, told, strict=True))
    assert by_version[max(by_version)]["reversals"] == shown[-1]["reversals"]


async def test_as_of_instant_takes_any_time_zone(client: httpx.AsyncClient, shop: Shop) -> None:
    transfers = await shop.paid()
    path = f"/v1/transfers/{transfers['ada']}"
    for instant in ("2999-01-01T00:00:00Z", "2999-01-01t00:00:00.5z", "2999-01-01T05:30:00+05:30"):
        assert (await client.get(path, params={"as_of": instant})).json()["status"] == "pending"


async def test_as_of_before_creation_shows_no_transfer(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    transfers = await shop.paid()
    answer = await client.get(
        f"/v1/transfers/{transfers['ada']}", params={"as_of": "2001-01-01T00:00:00Z"}
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "instant",
    ["yesterday", "1764590400", "2026-11-20", "2026-11-20T12:00:00", "2026-11-20 12:00:00Z", "2026-13-01T00:00:00Z",
     "2026-02-30T00:00:00Z", "2026-11-20T12:00:00+99:99", "0000-01-01T00:00:00Z",
     "2026-11-20T12:00:00+00:00Z", ""],
)  # fmt: skip
async def test_invalid_instant_is_refused(offline_client: httpx.AsyncClient, instant: str) -> None:
    answer = await offline_client.get(f"/v1/transfers/{uuid4()}", params={"as_of": instant})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_instant_at_end_of_calendar_is_never_a_500(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    transfers = await shop.paid()
    for instant in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        answer = await client.get(f"/v1/transfers/{transfers['ada']}", params={"as_of": instant})
        assert answer.status_code in (200, 404)


# --- the audit trail ------------------------------------------------------------------------------


async def test_history_describes_every_fact_in_a_sentence(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid(ada=8_000)
    stripe_id = await at_stripe.does(transfers["ada"])
    await shop.refund("r1")
    await at_stripe.does(transfers["ada"])
    told = (await client.get(f"/v1/transfers/{transfers['ada']}/history")).json()["data"]
    assert [entry["fact"] for entry in told] == [
        "Created",
        "CallStarted",
        "Completed",
        "ReversalRequested",
        "CallStarted",
        "Reversed",
    ]
    assert [entry["version"] for entry in told] == [1, 2, 3, 4, 5, 6]
    assert [entry["position"] for entry in told] == sorted(entry["position"] for entry in told)
    assert told[2]["payload"] == {
        "stripe_transfer_id": stripe_id,
        "amount": 8_000,
        "request_id": None,
        "note": None,
    }
    assert stripe_id in told[2]["sentence"]
    assert all(entry["sentence"].endswith(".") for entry in told)
    assert not any(member.startswith("originator") for entry in told for member in entry["payload"])


# --- retrying -------------------------------------------------------------------------------------


async def test_retry_reopens_failed_transfer_with_actor_and_reason(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid(ada=8_000)
    path = f"/v1/transfers/{transfers['ada']}"
    await at_stripe.does(transfers["ada"])
    await shop.refund("r1")
    await at_stripe.answers(transfers["ada"], NO_SUCH_TRANSFER)
    assert (await shop.transfer(transfers["ada"]))["status"] == "permanently_failed"
    answer = await client.post(
        f"{path}/retry", json={"actor": "mia", "reason": "the key was wrong"}
    )
    assert (answer.status_code, answer.json()["status"]) == (202, "reversal_pending")
    assert answer.json() == await shop.transfer(transfers["ada"])
    last = (await client.get(f"{path}/history")).json()["data"][-1]
    assert (last["fact"], last["payload"]["actor"], last["payload"]["reason"]) == (
        "Reopened",
        "mia",
        "the key was wrong",
    )


async def test_retry_during_call_waits(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid()
    await at_stripe.is_called(transfers["ada"])
    answer = await client.post(
        f"/v1/transfers/{transfers['ada']}/retry", json={"actor": "mia", "reason": "impatient"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "call_in_flight")


async def test_retry_with_nothing_due_is_refused(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid()
    await at_stripe.does(transfers["ada"])
    answer = await client.post(
        f"/v1/transfers/{transfers['ada']}/retry", json={"actor": "mia", "reason": "to be sure"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_retry")


async def test_retry_of_transfer_waiting_for_account_is_due_now(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid()
    await at_stripe.answers(transfers["ada"], REFUSED)
    waiting = await shop.transfer(transfers["ada"])
    assert (waiting["status"], waiting["waiting_for"], waiting["next_retry_at"]) == (
        "failed",
        "account",
        None,
    )
    answer = await client.post(
        f"/v1/transfers/{transfers['ada']}/retry", json={"actor": "mia", "reason": "it is ready"}
    )
    assert (answer.status_code, answer.json()["waiting_for"]) == (202, None)
    assert answer.json()["next_retry_at"] is not None


@pytest.mark.parametrize(
    "body",
    [
        {"actor": "mia"},
        {"reason": "because"},
        {"actor": "", "reason": "because"},
        {"actor": " ", "reason": "because"},
        {"actor": "stripe:tr_1", "reason": "forged evidence"},
        {"actor": "mia", "reason": "two\nlines"},
        {"actor": "mia", "reason": "\u0000"},
        {"actor": "mia", "reason": "x" * 501},
        {"actor": "mia", "reason": "because", "force": True},
    ],
)
async def test_retry_requires_actor_and_reason(
    offline_client: httpx.AsyncClient, body: Json
) -> None:
    answer = await offline_client.post(f"/v1/transfers/{uuid4()}/retry", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
