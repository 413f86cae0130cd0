"""The HTTP API against its OpenAPI document: generated calls to a `serve` process.

A longer run: API_EXAMPLES=400 python -m pytest -n0 -s tests/e2e/test_api_against_document.py
"""

import asyncio
import os
from collections.abc import AsyncIterator

import httpx
import pytest

from infrastructure.postgres.integrity.verify import verify
from infrastructure.simulators.hyperswitch import HyperswitchConfig, running_hyperswitch
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.api_tester import UNSTATED_RULES, Report, explore
from tests.support.database_edits import quiet
from tests.support.ledger_process import LedgerClient, LedgerProcess, begin, environment

SEED = 12
EXAMPLES = int(os.environ.get("API_EXAMPLES", "3"))
IN_CI = "API_EXAMPLES" not in os.environ
TOKEN, SECRET = "the-token-of-a-generator", "the-secret-of-a-sender"


@pytest.fixture
async def process(
    database_url: str, stripe: SimulatorControl, psp_config: HyperswitchConfig
) -> AsyncIterator[LedgerProcess]:
    """A ledger with a token, both providers, and their webhooks."""
    async with running_hyperswitch(psp_config) as (psp, _):
        given = environment(
            database_url,
            stripe.url,
            LEDGER_API_TOKEN=TOKEN,
            STRIPE_WEBHOOK_SECRETS=SECRET,
            HYPERSWITCH_WEBHOOK_SECRETS=SECRET,
            HYPERSWITCH_BASE_URL=psp.url,
        )
        process = await begin(given)
        await process.said("serving")
        yield process
        await process.kill()


async def some_money(process: LedgerProcess) -> None:
    """Make orders, transfers and a refund, which the generated calls then find in the lists."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    transport = httpx.AsyncHTTPTransport(retries=6)
    async with httpx.AsyncClient(
        base_url=process.url, headers=headers, timeout=20, trust_env=False, transport=transport
    ) as http:
        web = LedgerClient(http)
        for order in ("first", "second", "third"):
            await web.order(order, 1_000, anna=600, ben=300)
        for order in ("first", "second"):
            (await http.post(f"/v1/orders/{order}/paid", json={})).raise_for_status()
        settled = {"refund_id": "r1", "order_id": "first", "amount": 100, "settled": True}
        (await http.post("/v1/refunds", json=settled)).raise_for_status()


@pytest.mark.timeout(60 * max(2, EXAMPLES))
async def test_api_keeps_every_promise_of_its_document(
    process: LedgerProcess, database_url: str, kindness: None
) -> None:
    await some_money(process)
    report = await asyncio.to_thread(
        explore, process.url, TOKEN, SECRET, seed=SEED, examples=EXAMPLES, brief=IN_CI
    )
    print(told(report))  # noqa: T201 - the report of a long run
    assert not report.findings, "\n\n".join(dict.fromkeys(report.findings))
    assert set(report.unstated) <= set(UNSTATED_RULES)
    assert {200, 201, 202, 400, 401, 404, 405, 409, 415, 422} <= set(report.statuses)
    assert report.linked > 5
    assert "Traceback" not in process.log
    assert (await asyncio.to_thread(verify, database_url, [], None, quiet)).findings == []


def told(report: Report) -> str:
    return (
        f"{report.cases} calls, {len(report.findings)} findings, {report.linked} along links; "
        f"scenarios {dict(report.scenarios)}; statuses {dict(sorted(report.statuses.items()))}; "
        f"refused by rules that no schema states: {dict(report.unstated)}"
    )
