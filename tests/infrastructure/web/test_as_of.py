"""Answers as of an earlier moment: equal to the answers given at that moment, in random
histories."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import httpx
import pytest

from infrastructure.postgres.read_side.as_of import AsOfQueries
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.postgres.read_side.read_models import Filters, ReadModels
from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.support.json_types import Json
from tests.support.random_marketplace import SELLERS, START, RandomMarketplace

COMMANDS = 30


@dataclass
class RecordedAnswers:
    """The answers, by path, at one moment of the ledger."""

    instant: datetime
    position: int
    answers: dict[str, Json] = field(default_factory=dict)


async def _record_answers(
    client: httpx.AsyncClient, service: Service, marketplace: RandomMarketplace
) -> RecordedAnswers:
    rows = await ReadModels(service.pool).transfers(Filters(), 500)
    paths = [f"/v1/transfers/{row.transfer_id}" for row in rows]
    paths += [f"/v1/orders/{order_id}" for order_id in marketplace.orders]
    paths += [f"/v1/sellers/{seller}/balance" for seller in SELLERS]
    answers = {path: (await client.get(path)).raise_for_status().json() for path in paths}
    return RecordedAnswers(marketplace.instant, await service.store.head(), answers)


@pytest.mark.parametrize("seed", range(3))
async def test_as_of_shows_state_recorded_at_that_time(
    client: httpx.AsyncClient, service: Service, seed: int
) -> None:
    marketplace, memory = RandomMarketplace(service, seed), list[RecordedAnswers]()
    for _ in range(COMMANDS):
        await marketplace.step()
        memory.append(await _record_answers(client, service, marketplace))
    statuses = {
        row["status"]
        for moment in memory
        for path, row in moment.answers.items()
        if "/transfers/" in path
    }
    assert statuses >= {"pending", "completed", "reversal_pending"}, (
        "this life is too dull to prove anything"
    )
    last_at = {
        moment.instant: moment for moment in memory
    }  # several commands may share an instant: the last one counts
    for moment in memory:
        for path, answer in moment.answers.items():
            then = await client.get(path, params={"as_of_position": moment.position})
            assert then.json() == answer, f"{path} as of position {moment.position}"
    for instant, moment in last_at.items():
        for path, answer in moment.answers.items():
            then = await client.get(path, params={"as_of": instant.isoformat()})
            assert then.json() == answer, f"{path} as of {instant}"


async def test_as_of_balance_is_independent_of_batch_size(service: Service) -> None:
    marketplace = RandomMarketplace(service, 7)
    for _ in range(COMMANDS):
        await marketplace.step()
    history = FactReader(service.store)
    for seller in SELLERS:
        found = []
        for at_once in (1, 2, 100):
            past = AsOfQueries(service.pool, history, at_once)
            found.append(await past.balances(seller, await past.moment()))
        assert found[0] == found[1] == found[2] == await ReadModels(service.pool).balances(seller)


PATHS = ["/v1/transfers/{transfer}", "/v1/orders/o1", "/v1/sellers/ada/balance"]


@pytest.mark.parametrize("path", PATHS)
async def test_as_of_takes_one_moment(client: httpx.AsyncClient, shop: Shop, path: str) -> None:
    path = path.format(transfer=(await shop.paid("o1", ada=8_000))["ada"])
    answer = await client.get(path, params={"as_of": "2999-01-01T00:00:00Z", "as_of_position": 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "instant_and_position")


@pytest.mark.parametrize("path", PATHS)
async def test_as_of_future_position_is_refused(
    client: httpx.AsyncClient, shop: Shop, service: Service, path: str
) -> None:
    path = path.format(transfer=(await shop.paid("o1", ada=8_000))["ada"])
    head = await service.store.head()
    assert (await client.get(path, params={"as_of_position": head})).json() == (
        await client.get(path)
    ).json()
    answer = await client.get(path, params={"as_of_position": head + 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "position_not_reached")


@pytest.mark.parametrize("position", ["-1", "x", "1.5", str(2**53), ""])
@pytest.mark.parametrize("path", ["/v1/orders/o1", "/v1/sellers/ada/balance"])
async def test_as_of_position_is_a_number(
    client: httpx.AsyncClient, path: str, position: str
) -> None:
    answer = await client.get(path, params={"as_of_position": position})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_as_of_before_recording_shows_no_order_or_balance(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid("o1", ada=8_000)
    for moment in ({"as_of": START.isoformat()}, {"as_of_position": 0}):
        answer = await client.get("/v1/orders/o1", params=moment)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await client.get("/v1/sellers/ada/balance", params=moment)).json() == {
            "seller_id": "ada",
            "balances": [],
        }
    assert (
        await client.get(f"/v1/orders/{uuid4()}", params={"as_of_position": 1})
    ).status_code == 404


async def test_as_of_order_shows_its_parts_of_that_time(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    transfers = await shop.paid("o1", ada=8_000)
    await at_stripe.does(transfers["ada"])
    before = await service.store.head()
    await shop.refund("r1", amount=1_000)
    then = (await client.get("/v1/orders/o1", params={"as_of_position": before})).json()
    assert (then["refunded"], then["refunds"], then["transfers"][0]["status"]) == (
        0,
        [],
        "completed",
    )
    now = (await client.get("/v1/orders/o1")).json()
    assert (now["refunded"], len(now["refunds"]), now["transfers"][0]["status"]) == (
        1_000,
        1,
        "reversal_pending",
    )
