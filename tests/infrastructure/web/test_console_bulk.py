"""Retries of all transfers that a list of the console shows, as one job."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.infrastructure.web.test_bulk import a_loop, given_up, retries
from tests.infrastructure.web.test_console import (
    AUDITOR,
    HOSTILE,
    OPERATOR,
    TOKENS,
    browsing,
    sign_in,
    submit,
)

STUCK = "/console/retry-all?status=permanently_failed&seller_id=ada"


@pytest.fixture
async def mia(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """An operator that has signed in."""
    named = replace(service, settings=replace(service.settings, named_tokens=TOKENS))
    async with browsing(named) as client:
        await sign_in(client, OPERATOR)
        yield client


def preview_of(page: httpx.Response) -> dict[str, str]:
    """Return the hidden fields of the form that begins a job."""
    found = dict(re.findall(r'name="(job_id|at_most)" value="([^"]+)"', page.text))
    assert set(found) == {"job_id", "at_most"}, page.text
    return found


async def begun(mia: httpx.AsyncClient, reason: str = "the accounts are ready") -> str:
    """Begin a job as the page shows it; return the address of its progress."""
    page = await mia.get(STUCK)
    answer = await submit(mia, STUCK, page, reason=reason, **preview_of(page))
    assert answer.status_code == 303, answer.text
    return str(answer.url.join(answer.headers["location"]))


async def test_list_leads_to_a_preview_of_the_same_transfers(
    mia: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    stuck = await given_up(shop, at_stripe, 2)
    await shop.paid("another", ben=5)
    listed = await mia.get("/console/transfers?status=permanently_failed&seller_id=ada")
    assert 'href="./retry-all?status=permanently_failed&amp;seller_id=ada"' in listed.text
    page = await mia.get(STUCK)
    assert "Retry 2 transfers" in page.text
    assert "0.20 EUR back from sellers (2)" in page.text
    assert [str(one) in page.text for one in stuck] == [True, True]
    assert preview_of(page)["at_most"] == "2"
    settled = await mia.get("/console/transfers?status=reversed")
    assert "retry-all" not in settled.text


async def test_job_shows_its_progress_and_its_refusals(
    mia: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    service: Service,
    client: httpx.AsyncClient,
) -> None:
    stuck = await given_up(shop, at_stripe, 3)
    progress = await begun(mia, reason=f"ready {HOSTILE}")
    page = await mia.get(progress)
    assert "0 of 3 transfers are handled." in page.text
    by_tom = {"actor": "tom", "reason": "paid by bank", "evidence": "ticket 4711"}
    await client.post(f"/v1/transfers/{stuck[0]}/resolve", json=by_tom)
    await a_loop(service).turn()
    page = await mia.get(progress)
    assert "3 of 3 transfers are handled; the job has ended." in page.text
    assert "2 retried · 1 refused · 0 left" in page.text
    assert f"transfers/{stuck[0]}" in page.text
    assert "nothing to retry" in page.text
    assert "<img" not in page.text
    assert sorted(await retries(client)) == sorted(map(str, stuck[1:]))
    assert "3 of 3" in (await mia.get("/console/bulk")).text


async def test_form_that_is_sent_twice_begins_one_job(
    mia: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, client: httpx.AsyncClient
) -> None:
    await given_up(shop, at_stripe, 1)
    page = await mia.get(STUCK)
    for _ in range(2):
        answer = await submit(mia, STUCK, page, reason="again", **preview_of(page))
        assert answer.status_code == 303, answer.text
    assert len((await client.get("/v1/bulk")).json()["data"]) == 1


async def test_transfers_beyond_the_preview_are_not_retried(
    mia: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, client: httpx.AsyncClient
) -> None:
    await given_up(shop, at_stripe, 2)
    page = await mia.get(STUCK)
    seen = preview_of(page) | {"at_most": "1"}
    answer = await submit(mia, STUCK, page, reason="one", **seen)
    assert (answer.status_code, "2 transfers match now" in answer.text) == (409, True)
    assert preview_of(answer)["at_most"] == "2"
    assert (await client.get("/v1/bulk")).json()["data"] == []


async def test_running_job_is_cancelled_with_a_reason(
    mia: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    await given_up(shop, at_stripe, 2)
    progress = await begun(mia)
    cancel = f"{progress}/cancel"
    asked = await mia.get(cancel)
    assert "everything that it has not handled stays as it is" in asked.text
    assert (await submit(mia, cancel, asked, reason="")).status_code == 422
    assert (await submit(mia, cancel, asked, reason="too early")).status_code == 303
    page = await mia.get(progress)
    assert "the job is cancelled" in page.text
    assert "too early" in page.text


async def test_auditor_begins_and_cancels_no_job(
    mia: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    await given_up(shop, at_stripe, 1)
    progress = await begun(mia)
    named = replace(service, settings=replace(service.settings, named_tokens=TOKENS))
    async with browsing(named) as ann:
        await sign_in(ann, AUDITOR)
        shown = await ann.get(progress)
        assert (shown.status_code, "/cancel" in shown.text) == (200, False)
        assert "retry-all" not in (await ann.get("/console/transfers")).text
        for path in (STUCK, f"{progress}/cancel"):
            assert (await ann.get(path)).status_code == 403
            assert (await submit(ann, path, shown, reason="x")).status_code == 403


async def test_filter_that_cannot_be_meant_is_refused(mia: httpx.AsyncClient) -> None:
    for query in ("seller_id=a%E2%80%AEb", "min_amount=x", "status=paid"):
        assert (await mia.get(f"/console/retry-all?{query}")).status_code == 422, query


async def test_head_without_a_form_begins_nothing(
    mia: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, client: httpx.AsyncClient
) -> None:
    await given_up(shop, at_stripe, 1)
    assert (await mia.head(STUCK)).status_code == 200
    assert (await mia.head("/console/news")).headers["content-type"].startswith("text/event-stream")
    assert (await client.get("/v1/bulk")).json()["data"] == []
