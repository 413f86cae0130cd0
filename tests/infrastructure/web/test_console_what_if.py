"""Forecasts in the console, and the explanation of a refund's division."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from urllib.parse import urlencode

import httpx
import pytest

from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.service import Service
from infrastructure.web.console.residue import Division, explained
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.infrastructure.web.test_console import HOSTILE, browsing


@pytest.fixture
async def visitor(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(
        replace(service, settings=replace(service.settings, api_token=None))
    ) as client:
        yield client


async def forecast(visitor: httpx.AsyncClient, **fields: str) -> str:
    """Return the text of the page, without its tags."""
    answer = await visitor.get(f"/console/orders/o1/what-if?{urlencode(fields)}")
    assert answer.status_code == 200, answer.text
    (shown,) = re.findall(r'<div id="forecast".*</div>', answer.text, re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", shown)))


async def test_forecast_shows_parts_residue_and_calculation(
    visitor: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    transfers = await shop.paid("o1", amount=100, ada=33, bob=33)
    await at_stripe.does(transfers["ada"])
    await shop.refund("r1", amount=10)
    head = await FactReader(service.store).head()
    shown = await forecast(visitor, amount="0.25", kind="refund")
    for told in (
        "Refund of 0.25 EUR: the sellers give 0.16 EUR, the platform bears 0.09 EUR.",
        "0.08 EUR for its own part of the order, and 0.01 EUR by rounding",
        "0.33 EUR × 0.35 EUR of 1.00 EUR, rounded down, less 0.03 EUR until now",
        "0.08 EUR are taken back later. They wait behind the reversal before them, of 0.03 EUR.",
        "0.08 EUR less is sent.",
    ):
        assert told in shown
    assert "The order is refunded whole" in await forecast(visitor)
    assert await FactReader(service.store).head() == head


async def test_forecast_says_why_each_step_waits(
    visitor: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    for order in ("o1", "o2"):
        transfers = await shop.paid(order, amount=100, ada=33, bob=33)
        for transfer in transfers.values():
            await at_stripe.does(transfer)
    assert "Nothing holds it up now." in await forecast(visitor)
    await shop.refund("r2", "o2", amount=100)
    whole = (await visitor.get("/console/orders/o2/what-if")).text
    assert "The order is refunded whole; nothing is left to refund." in whole
    shown = await forecast(visitor)
    assert "It probably waits: ada already owes 0.33 EUR." in shown
    assert "the ledger tries again every 6 h, and gives up after 45 days." in shown
    await service.commands.operator.pause("seller:bob", "mia", f"a call {HOSTILE}")
    shown = await forecast(visitor)
    assert f"It waits, because mia has paused seller:bob: a call {HOSTILE}." in shown


async def test_forecast_by_hand_takes_exactly_the_given_parts(
    visitor: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid("o1", amount=100, ada=33, bob=33)
    shown = await forecast(visitor, amount="0.40", **{"part:ada": "0.30", "part:bob": ""})
    assert "the sellers give 0.30 EUR, the platform bears 0.10 EUR" in shown
    assert "The platform bears the rest, 0.10 EUR. It is no plain proportion" in shown
    assert "rounded down" not in shown


async def test_impossible_forecast_is_refused_beside_the_form(
    visitor: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid("o1", amount=100, ada=33, bob=33)
    refusals: list[tuple[dict[str, str], str]] = [
        ({"amount": "1,50"}, "The amount: '1,50' is no amount in EUR"),
        ({"amount": "1.01"}, "The order has 1.00 EUR left to refund; enter at most that."),
        ({"kind": HOSTILE}, "kind"),
        ({"amount": "0.10", "part:ada": "0.20"}, "Refund cannot be divided among the sellers: its"),
        ({"part:nobody": "0.20"}, "nobody"),
        ({"kind": "dispute", "part:ada": "0.20"}, "dispute"),
    ]
    for fields, sentence in refusals:
        shown = await forecast(visitor, **fields)
        assert sentence in shown
        assert "Would give" not in shown


async def test_pages_of_order_and_refund_lead_to_the_forecast(
    visitor: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid("o1", amount=10_000, ada=3_333)
    await shop.refund("r1", amount=1_005)
    for page in ("orders/o1", "refunds/r1"):
        text = (await visitor.get(f"/console/{page}")).text
        assert 'href="../orders/o1/what-if"' in text
    assert "by rounding the part of each seller down" in text


# --- explanations ---------------------------------------------------------------------------------


def division(refunded: int, *taken: tuple[int, int]) -> Division:
    return Division(100, refunded, taken)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (division(0, (33, 0), (33, 0)), division(10, (33, 3), (33, 3)),
         "bears 0.04 EUR: 0.03 EUR for its own part of the order, and 0.01 EUR by rounding"),
        (division(10, (50, 5), (50, 5)), division(20, (50, 10), (50, 10)),
         "bears 0.00 EUR: 0.00 EUR for its own part of the order; rounding changes nothing."),
        (division(50, (33, 16), (33, 16)), division(100, (33, 33), (33, 33)),
         "bears 0.16 EUR: 0.17 EUR for its own part of the order, less 0.01 EUR that the rounding"),
        (division(10, (33, 10), (33, 0)), division(20, (33, 13), (33, 3)), "It is no plain proportion"),
    ],
)  # fmt: skip
def test_platform_part_is_explained(before: Division, after: Division, told: str) -> None:
    lines = explained(before, after, "EUR")
    assert told in lines[0]
    assert (after.refunded == 100) == any("refunded whole" in line for line in lines)
