"""A transfer at an earlier moment, as the console shows it."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape

import httpx
import pytest

from infrastructure.service import Service
from infrastructure.web.console.past import changes
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.infrastructure.web.test_console import browsing


@pytest.fixture
async def visitor(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(
        replace(service, settings=replace(service.settings, api_token=None))
    ) as client:
        yield client


async def text_of(visitor: httpx.AsyncClient, path: str) -> str:
    answer = await visitor.get(f"/console/{path}")
    shown = re.sub(r"<[^>]+>", " ", answer.text)
    return f"{answer.status_code} " + re.sub(r"\s+", " ", unescape(shown))


async def test_each_step_shows_the_transfer_as_it_was(
    visitor: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    transfer = (await shop.paid())["ada"]
    await at_stripe.does(transfer)
    await shop.refund("r1", amount=1_000)
    await service.commands.operator.pause("seller:ada", "mia", "a call")
    page = f"transfers/{transfer}"
    now = await text_of(visitor, page)
    steps = int(re.findall(r"After step (\d+) of \1 ", now)[0])
    assert "The past." not in now
    first = await text_of(visitor, f"{page}?step=1")
    assert "The past. This is the transfer as it was at position" in first
    assert "80.00 EUR are not paid to ada yet." in first
    assert first.count("Seller 'ada' is to be paid 80.00 EUR") == 2, "last step, and timeline"
    (position,) = re.findall(r"as it was at position (\d+)", first)
    assert f"After step 1 of {steps} " in await text_of(
        visitor, f"{page}?as_of_position={position}"
    )
    assert "mia has paused" not in first
    assert "Retry now" not in first
    assert "Status pending reversal pending" in first
    assert "Reversals – 8.00 EUR requested" in first
    paid = [await text_of(visitor, f"{page}?step={n}") for n in range(2, steps)]
    assert any("ada has received 80.00 EUR." in shown for shown in paid)
    last = await text_of(visitor, f"{page}?step={steps}")
    assert "8.00 EUR are to come back from ada." in last
    assert "The past." not in last


async def test_moment_that_is_none_is_refused_in_one_sentence(
    visitor: httpx.AsyncClient, shop: Shop
) -> None:
    transfer = (await shop.paid())["ada"]
    for query, sentence in (
        ("step=0", "422 .*There is no step 0; the last one is"),
        ("step=x", "422 .*'x' is no step"),
        ("as_of_position=-1", "422 .*'-1' is no position"),
        ("as_of=yesterday", "422 .*'yesterday' is no time"),
        ("as_of=9999-12-31T23:59:59-14:00", "422 .*'9999-12-31T23:59:59-14:00' is no time"),
        ("as_of=2020-01-01T00:00", "404 .*There was no transfer"),
        ("as_of_position=999", "400 .*has not reached position 999"),
    ):
        shown = await text_of(visitor, f"transfers/{transfer}?{query}")
        assert re.match(sentence, shown), (query, shown)


async def test_instant_shows_the_facts_until_then(visitor: httpx.AsyncClient, shop: Shop) -> None:
    transfer = (await shop.paid())["ada"]
    shown = await text_of(visitor, f"transfers/{transfer}?as_of=2999-01-01+00:00:00")
    assert "as it was at 2999-01-01 00:00:00 UTC" in shown
    assert "Nothing has changed since." in shown


def test_changes_name_members_that_differ() -> None:
    then = {
        "status": "pending", "amount": 9_000, "amount_reversed": 0, "reversals": [], "waiting_for": "funds",
        "retry_count": 1, "next_retry_at": None, "last_error": None, "destination": "acct_ada", "currency": "EUR",
        "stripe_transfer_id": None, "source_transaction": None, "version": 1,
    }  # fmt: skip
    now = then | {"amount": 8_000, "next_retry_at": "2026-12-01T09:00:00Z", "version": 2}
    assert changes(then, then) == []
    assert changes(then, now) == [
        ("Amount", "90.00 EUR", "80.00 EUR"),
        ("Next step", "", "2026-12-01 09:00:00 UTC"),
    ]
