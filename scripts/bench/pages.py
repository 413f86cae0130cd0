"""Time of each page of the console, of each reading operation of the API and of a scrape, on a
large marketplace, beside the time of a page that reads nothing.

The pages are those of the product's own lists, so a new page is measured too. They are asked for
one after the other, in rounds, over one connection.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx
import psycopg

from infrastructure.simulators.common.process import simulator_process
from infrastructure.web.console.routes import PAGES
from infrastructure.web.console.visit import ROOT
from infrastructure.web.routes import OPERATIONS
from scripts.bench.append import scratch_database
from scripts.bench.intake import PROGRAM, SECRET, free_port, ledger_process
from scripts.bench.marketplace import fill

YARDSTICK, SCRAPE = "/healthz", "/metrics"
ROUNDS = 20
WARM_UP = 2
SETTLED_WITHIN = 60.0
SELLERS = ("bench1", "bench2", "bench3")
ORDER = {
    "order_id": "bench-order",
    "currency": "EUR",
    "amount": 9_000,
    "shares": [
        {"seller_id": name, "destination": f"acct_1{name}", "amount": 2_500} for name in SELLERS
    ],
    "payment_id": "pay_bench",
}
REFUND = {"refund_id": "bench-refund", "order_id": "bench-order", "amount": 900, "settled": True}
QUERIES = {
    "/v1/search": ["q=bench-refund", "q=refund-1"],
    "/v1/what-if": ["refund=bench-order&amount=100"],
    "/v1/sellers/{seller_id}/statement": ["from=2020-01-01T00:00:00Z&to=2040-01-01T00:00:00Z"],
    "/v1/money": ["", "state=unknown&currency=EUR", "limit=500"],
    "/v1/transfers": ["", "status=failed", "seller_id=seller-huge", "limit=500"],
    "/v1/sellers": ["", "sort=age", "sort=seller"],
    "/v1/inbox": ["", "status=parked", "open=true"],
    "/v1/refunds": ["", "open=true"],
    "/v1/disputes": ["", "open=true"],
    "/console/search": ["q=nothing", "q=order-1", "q=seller-huge"],
    "/console/money": ["", "state=unknown&currency=EUR"],
    "/console/alarms": ["", "kind=overdue"],
    "/console/transfers": ["", "status=failed", "seller_id=seller-huge", "error=too+low"],
    "/console/sellers": ["", "sort=age", "sort=seller"],
    "/console/inbox": ["", "status=parked"],
    "/console/findings": ["", "status=undecided"],
}
"""Addresses with parameters, for the pages that have several faces."""
IDS = """
    select (select transfer_id from seller_transfers where order_id = 'bench-order' limit 1),
           (select dispute_id from disputes order by created_at desc limit 1),
           (select inbox_id from webhook_inbox where status = 'parked' and inbox_id > 0 limit 1),
           'overdue', (select subject from alarms where kind = 'overdue' limit 1)
"""
LEFT_OUT = {
    "/console/transfers.csv": "an export of 10,000 transfers, not a page",
    "/console/news": "a stream without an end",
    YARDSTICK: "the yardstick",
}


class PageSpeed(NamedTuple):
    """Milliseconds of one address."""

    address: str
    p50_ms: float
    p95_ms: float


class PagesSpeed(NamedTuple):
    """Times of all pages, the slowest first, and of the yardstick."""

    transfers: int
    pages: Sequence[PageSpeed]
    yardstick: PageSpeed

    @property
    def slowest(self) -> PageSpeed:
        """Return the slowest page; a scrape is no page."""
        return next(page for page in self.pages if page.address != SCRAPE)

    def details(self) -> dict[str, object]:
        """Return all values for `--json`: [p50, p95] in milliseconds by address."""
        return {
            "transfers": self.transfers,
            "pages_p95_ms_max": self.slowest.p95_ms,
            "slowest_page": self.slowest.address,
            "scrape_p95_ms": next(one.p95_ms for one in self.pages if one.address == SCRAPE),
            "yardstick": [self.yardstick.p50_ms, self.yardstick.p95_ms],
            "pages": {page.address: [page.p50_ms, page.p95_ms] for page in self.pages},
        }


async def pages_speed(database_url: str, transfers: int, rounds: int = ROUNDS) -> PagesSpeed:
    """Fill a scratch database of the same server, start `serve` on it, and ask for each page."""
    with scratch_database(database_url) as url:
        await asyncio.to_thread(fill, url, transfers)
        async with simulator_process(manners="kind") as stripe, _served(url, stripe.url) as client:
            await _tell_a_story(client)
            ids = await asyncio.to_thread(_ids, url)
            return await _measured(client, addresses(ids), transfers, rounds)


@asynccontextmanager
async def _served(database_url: str, stripe_url: str) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "LEDGER_PORT": str(port),
        "HYPERSWITCH_WEBHOOK_SECRETS": SECRET,
        "STRIPE_API_BASE": stripe_url,
    }
    async with (
        ledger_process(["-m", PROGRAM, "serve"], environment, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        yield client


def addresses(ids: Mapping[str, str]) -> list[str]:
    """Return the addresses of all pages that only read, with ids in their places."""
    pages = [ROOT + page.path for page in PAGES if tuple(page.methods) == ("GET",)]
    operations = [one.path for one in OPERATIONS if one.method == "GET"]
    return [
        path.format(**ids) + (f"?{query}" if query else "")
        for path in (*pages, *operations)
        if path not in LEFT_OUT
        for query in QUERIES.get(path, [""])
    ]


async def _tell_a_story(client: httpx.AsyncClient) -> None:
    """Have one order paid, transferred and refunded, for the pages about one object."""
    await _post(client, "/v1/orders", ORDER)
    await _post(client, "/v1/orders/bench-order/paid", {"payment_id": "pay_bench"})
    await _all_are(client, "completed")
    await _post(client, "/v1/refunds", REFUND)
    await _all_are(client, "partially_reversed")


async def _post(client: httpx.AsyncClient, path: str, body: Mapping[str, object]) -> None:
    reply = await client.post(path, json=body)
    if reply.is_error:
        raise RuntimeError(f"{path} got the response {reply.status_code}: {reply.text[:300]}")


async def _all_are(client: httpx.AsyncClient, status: str) -> None:
    async with asyncio.timeout(SETTLED_WITHIN):
        while True:
            reply = await client.get("/v1/transfers", params={"order_id": "bench-order"})
            if {one["status"] for one in reply.json()["data"]} == {status}:
                return
            await asyncio.sleep(0.1)


def _ids(database_url: str) -> dict[str, str]:
    """Return an id for each place in the addresses: the story's, or one with much behind it."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(IDS).fetchone()
    assert row, "a select of constants has one row"
    return {
        "transfer_id": str(row[0]),
        "dispute_id": str(row[1]),
        "inbox_id": str(row[2]),
        "order_id": "bench-order",
        "refund_id": "bench-refund",
        "seller_id": SELLERS[0],
        "finding_id": "finding-2000",
        "job_id": "job-1",
        "kind": str(row[3]),
        "subject": str(row[4]),
    }


async def _measured(
    client: httpx.AsyncClient, asked: Sequence[str], transfers: int, rounds: int
) -> PagesSpeed:
    seconds: dict[str, list[float]] = {one: [] for one in (YARDSTICK, *asked)}
    for _ in range(WARM_UP + rounds):
        for address, spent in seconds.items():
            began = time.perf_counter()
            reply = await client.get(address)
            spent.append(time.perf_counter() - began)
            if not (reply.is_success or reply.has_redirect_location):
                raise RuntimeError(f"{address} got the response {reply.status_code}")
    yardstick, *pages = _speeds(seconds)
    return PagesSpeed(transfers, sorted(pages, key=lambda one: -one.p95_ms), yardstick)


def _speeds(seconds: Mapping[str, Sequence[float]]) -> Iterator[PageSpeed]:
    for address, spent in seconds.items():
        cuts = statistics.quantiles(spent[WARM_UP:], n=20, method="inclusive")
        yield PageSpeed(address, round(1000 * cuts[9], 1), round(1000 * cuts[18], 1))
