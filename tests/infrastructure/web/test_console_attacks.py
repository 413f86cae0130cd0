"""Attacks on the console by hand-made requests: odd parameters, methods, redirects, and headers."""

import re
from dataclasses import replace
from urllib.parse import unquote

import httpx
import pytest

from infrastructure.access import AuthHeader
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.service import Service
from infrastructure.web.console.human_acts import TOPICS
from projections.fact_schemas import fact_schemas
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.infrastructure.web.test_console import (
    OPERATOR,
    browsing,
    guarded,
    open_service,
    sign_in,
    submit,
    visitor,
)

__all__ = ["guarded", "open_service", "visitor"]


@pytest.fixture
def history(service: Service) -> FactReader:
    return FactReader(service.store)


# --- odd parameters -------------------------------------------------------------------------------


ODD = (
    "alarms?kind=%00", "money?currency=a%00b", "search?q=a%00b", "sellers?sort=seller&after=%00",
    "findings?status=%00", "disputes/%00", "disputes/%00/decide", "disputes/none/decide",
    "sellers/%00", "sellers/anna?month=0001-01", "inbox/%00", "findings/%00/adopt",
    "pauses/seller:%00/pause",
)  # fmt: skip


async def test_odd_parameter_is_no_fault_of_the_ledger(visitor: httpx.AsyncClient) -> None:
    given = {address: await visitor.get(f"/console/{address}") for address in ODD}
    faults = {one: answer.text for one, answer in given.items() if answer.status_code >= 500}
    assert not faults


async def test_head_of_an_action_changes_nothing(
    guarded: Service, shop: Shop, history: FactReader
) -> None:
    transfer = (await shop.paid())["ada"]
    head = await history.head()
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        answer = await client.head(f"/console/transfers/{transfer}/retry")
    assert (answer.status_code, await history.head()) == (200, head)


async def test_action_whose_effects_have_changed_since_its_page_acts_on_nothing(
    visitor: httpx.AsyncClient, shop: Shop, history: FactReader, at_stripe: StripeWorker
) -> None:
    transfer = (await shop.paid(ada=8_000))["ada"]
    path = f"/console/transfers/{transfer}/retry"
    shown = await visitor.get(path)
    await at_stripe.does(transfer)
    await shop.refund("r1", "o1", amount=1_000)
    head = await history.head()
    answer = await send(visitor, path, shown)
    assert (answer.status_code, await history.head()) == (409, head)
    assert "takes back 8.00 EUR" in answer.text
    assert (await send(visitor, path, answer)).status_code == 303


async def send(client: httpx.AsyncClient, path: str, shown: httpx.Response) -> httpx.Response:
    """Send the form as the page shows it."""
    read = re.search(r'name="plan" value="([^"]+)"', shown.text)
    assert read is not None
    return await submit(client, path, shown, plan=read[1], reason="late", actor="mia")


# --- the way in -----------------------------------------------------------------------------------


async def test_sign_in_leads_only_to_pages_of_the_console(guarded: Service) -> None:
    outside = (
        "a/../../v1/orders",
        "a/..",
        "t?q=\u20ac",
        "t?\x00",
        "t?a b",
        "\u20ac",
        "//evil.example",
    )
    async with browsing(guarded) as client:
        for wanted in outside:
            answer = await sign_in(client, OPERATOR, next=wanted)
            assert (answer.status_code, answer.headers.get("location")) == (303, "./../console")
        answer = await sign_in(client, OPERATOR, next="transfers?error=..%2f%00")
        assert unquote(answer.headers["location"]) == "./transfers?error=../\0"


async def test_form_sent_from_another_site_is_refused(
    guarded: Service, shop: Shop, history: FactReader
) -> None:
    path, head = f"/console/transfers/{(await shop.paid())['ada']}/retry", await history.head()
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        shown = await client.get(path)
        for site in ("cross-site", "same-site"):
            client.headers["sec-fetch-site"] = site
            answer = await submit(client, path, shown, reason="forged")
            assert (answer.status_code, await history.head()) == (403, head), site


async def test_header_of_a_proxy_that_is_ambiguous_or_a_name_of_the_ledger_is_refused(
    guarded: Service,
) -> None:
    named = replace(guarded, settings=replace(guarded.settings, auth_header=AuthHeader("X-User")))
    async with browsing(named) as client:
        for users in (["mallory", "zoe"], ["zoe", "zoe"], ["ledger"], ["Stripe"], ["stripe:evt"]):
            given = [("X-User", user) for user in users]
            answer = await client.get("/console/audit", headers=given)
            assert answer.status_code == 401, users
        assert (await client.get("/console/audit", headers={"X-User": "zoe"})).status_code == 200


# --- the audit trail ------------------------------------------------------------------------------


def test_page_of_the_acts_of_people_knows_every_fact_with_an_actor() -> None:
    with_actor = {
        topic
        for topic, schema in fact_schemas().items()
        if "'actor': " in str(schema.get("properties"))
    }
    assert with_actor == set(TOPICS)
