"""Statements: opening balance and movements make the closing balance, which opens the next
period."""

from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import httpx
import psycopg
import pytest
from starlette.applications import Starlette

from infrastructure.postgres.read_side.as_of import AsOfQueries, PeriodTooLong
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.service import Service
from projections.statements import Period
from tests.infrastructure.web.conftest import Connect, Shop, StripeWorker
from tests.support.json_types import Json
from tests.support.random_marketplace import SELLERS, START, RandomMarketplace

WHOLE = {"from": "2001-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"}
TAMPER = """
    alter table ledger_events disable trigger history_only_grows;
    update ledger_events set state = replace(convert_from(state, 'UTF8'), '"amount":800,', '"amount":700,')::bytea
     where topic = 'ledger.seller_transfer.partially_reversed'
"""


async def _statement(client: httpx.AsyncClient, seller_id: str, **query: str) -> Json:
    shown: Json = (
        (await client.get(f"/v1/sellers/{seller_id}/statement", params=query))
        .raise_for_status()
        .json()
    )
    return shown


def _tied(account: Json) -> bool:
    return bool(
        account["opening"] + sum(movement["amount"] for movement in account["movements"])
        == account["closing"]
    )


def _closing(statement: Json) -> dict[str, int]:
    return {account["currency"]: account["closing"] for account in statement["accounts"]}


def _opening(statement: Json) -> dict[str, int]:
    return {account["currency"]: account["opening"] for account in statement["accounts"]}


async def _net(client: httpx.AsyncClient, seller_id: str, instant: datetime) -> dict[str, int]:
    answer = (
        await client.get(f"/v1/sellers/{seller_id}/balance", params={"as_of": instant.isoformat()})
    ).json()
    return {line["currency"]: line["transferred"] - line["reversed"] for line in answer["balances"]}


@pytest.mark.parametrize("seed", range(10, 13))
async def test_statement_ties_out_and_adjacent_periods_join(
    client: httpx.AsyncClient, service: Service, seed: int
) -> None:
    marketplace, instants = RandomMarketplace(service, seed), [START]
    for _ in range(60):
        await marketplace.step()
        instants.append(marketplace.instant)
    # cut at instants at which something happened, too: a period takes in its start and not its end
    cuts = sorted(Random(seed).sample(sorted(set(instants)), 4))
    cuts = [START - timedelta(days=1), *cuts, marketplace.instant + timedelta(seconds=1)]
    kinds = set()
    for seller in SELLERS:
        closed, seen = dict[str, int](), list[Json]()
        for start, end in pairwise(cuts):
            statement = await _statement(
                client, seller, **{"from": start.isoformat(), "to": end.isoformat()}
            )
            assert all(_tied(account) for account in statement["accounts"])
            assert _closing(statement) == await _net(
                client, seller, end - timedelta(microseconds=1)
            )
            opening = _opening(statement)
            assert {currency: closed.get(currency, 0) for currency in opening} == opening
            assert set(closed) <= set(opening)
            closed = _closing(statement)
            seen += [
                movement for account in statement["accounts"] for movement in account["movements"]
            ]
        whole = await _statement(client, seller, **WHOLE)
        assert _closing(whole) == closed == await _net(client, seller, marketplace.instant)
        moved = [movement for account in whole["accounts"] for movement in account["movements"]]
        assert sorted(moved, key=str) == sorted(seen, key=str), (
            "each movement is in exactly one period"
        )
        for account in whole["accounts"]:
            positions = [movement["position"] for movement in account["movements"]]
            assert positions == sorted(positions)
        kinds |= {movement["kind"] for movement in moved}
    assert kinds >= {"paid", "reversed", "taken_over"}, "this life is too dull to prove anything"


async def test_movement_names_its_objects(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid("o1", ada=8_000)
    paid_as = await at_stripe.does(transfers["ada"])
    await shop.refund("r1", amount=1_000)
    reversed_as = await at_stripe.does(transfers["ada"])
    (account,) = (await _statement(client, "ada", **WHOLE))["accounts"]
    assert {name: account[name] for name in ("currency", "opening", "closing")} == {
        "currency": "EUR",
        "opening": 0,
        "closing": 7_200,
    }
    told = (await client.get(f"/v1/transfers/{transfers['ada']}/history")).json()["data"]
    at = {entry["fact"]: (entry["position"], entry["at"]) for entry in told}
    of_both: Json = {
        "currency": "EUR",
        "order_id": "o1",
        "transfer_id": str(transfers["ada"]),
        "stripe_transfer_id": paid_as,
    }
    assert [{**movement, "at": "", "position": 0} for movement in account["movements"]] == [
        of_both
        | {
            "kind": kind,
            "amount": amount,
            "refund_id": refund,
            "stripe_reversal_id": name,
            "at": "",
            "position": 0,
        }
        for kind, amount, refund, name in (
            ("paid", 8_000, None, None),
            ("reversed", -800, "r1", reversed_as),
        )
    ]
    moved = [(movement["position"], movement["at"]) for movement in account["movements"]]
    assert moved == [at["Completed"], at["PartiallyReversed"]]


async def test_statement_as_of_position_is_reproducible(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid("o1", ada=8_000)
    await at_stripe.does(transfers["ada"])
    first = await _statement(client, "ada", **WHOLE)
    await shop.refund("r1", amount=1_000)
    await at_stripe.does(transfers["ada"])
    assert _closing(await _statement(client, "ada", **WHOLE)) == {"EUR": 7_200}
    assert await _statement(client, "ada", **WHOLE, as_of_position=first["position"]) == first
    later = await client.get(
        "/v1/sellers/ada/statement", params={**WHOLE, "as_of_position": 10_000}
    )
    assert (later.status_code, later.json()["code"]) == (400, "position_not_reached")


async def test_unknown_seller_has_statement_without_accounts(client: httpx.AsyncClient) -> None:
    assert (await _statement(client, "nobody", **WHOLE))["accounts"] == []


async def test_statement_filters_by_currency(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    await at_stripe.does((await shop.paid("o1", ada=8_000))["ada"])
    assert _closing(await _statement(client, "ada", **WHOLE, currency="eur")) == {"EUR": 8_000}
    assert (await _statement(client, "ada", **WHOLE, currency="USD"))["accounts"] == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-01-31T23:59:59Z"}, 400, "bad_period"),
        ({"from": "2026-02-01T00:00:00Z"}, 422, "invalid_request"),
        ({"to": "2026-02-01T00:00:00Z"}, 422, "invalid_request"),
        ({"from": "yesterday", "to": "2026-02-01T00:00:00Z"}, 422, "invalid_request"),
        (
            {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
            400,
            "unknown_query_parameter",
        ),
        (WHOLE | {"currency": "euro"}, 422, "invalid_request"),
    ],
)
async def test_invalid_period_is_refused(
    client: httpx.AsyncClient, query: Json, status: int, code: str
) -> None:
    answer = await client.get("/v1/sellers/ada/statement", params=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_empty_period_opens_and_closes_alike(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    await at_stripe.does((await shop.paid("o1", ada=8_000))["ada"])
    statement = await _statement(client, "ada", **{"from": WHOLE["to"], "to": WHOLE["to"]})
    assert [(a["opening"], a["movements"], a["closing"]) for a in statement["accounts"]] == [
        (8_000, [], 8_000)
    ]


async def test_statement_with_too_many_movements_is_refused(
    shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    for order_id in ("o1", "o2", "o3"):
        await at_stripe.does((await shop.paid(order_id, ada=8_000))["ada"])
    past = AsOfQueries(service.pool, FactReader(service.store))
    period = Period(START - timedelta(days=9_000), START + timedelta(days=9_000))
    assert (
        sum(
            len(account.movements)
            for account in (await past.statement("ada", period, await past.moment(), 3)).accounts
        )
        == 3
    )
    with pytest.raises(PeriodTooLong):
        await past.statement("ada", period, await past.moment(), 2)


async def test_statement_that_does_not_tie_out_is_not_given(
    client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    database_url: str,
    connect: Connect,
    app: Starlette,
) -> None:
    transfers = await shop.paid("o1", ada=8_000)
    await at_stripe.does(transfers["ada"])
    await shop.refund("r1", amount=1_000)
    await at_stripe.does(transfers["ada"])
    with psycopg.connect(database_url) as connection:
        for statement in TAMPER.split(";"):
            connection.execute(statement)
    async with connect(app, "a-token-of-the-tests") as plain:
        plain.event_hooks = {
            "response": []
        }  # this answer is a fault of ours, which no other call may have
        answer = await plain.get("/v1/sellers/ada/statement", params=WHOLE)
    assert (answer.status_code, answer.json()["code"]) == (500, "does_not_tie_out")
    assert (
        "EUR: opening 0 and all movements make 7300, but closing is 7200."
        in answer.json()["detail"]
    )
