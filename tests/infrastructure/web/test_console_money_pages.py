"""Pages of refunds and sellers in the console: progress of a refund, debts beside payouts, and the
proof with its checks."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import UUID

import httpx
import pytest

from infrastructure.postgres.check_runs import CheckRuns
from infrastructure.service import Service
from infrastructure.web.console.debts import Debt, payouts_beside
from infrastructure.web.console.ledger import Json
from infrastructure.web.console.waterfall import progress
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.infrastructure.web.test_console import browsing

NOW = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
DEBT = Debt(
    UUID(int=1), "o1", "r1", 9_000, "EUR", "requested", NOW, "funds", NOW + timedelta(hours=6), None
)


@pytest.fixture
async def visitor(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(
        replace(service, settings=replace(service.settings, api_token=None))
    ) as client:
        yield client


async def text_of(visitor: httpx.AsyncClient, path: str) -> str:
    answer = await visitor.get(f"/console/{path}")
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", answer.text)))


async def test_money_of_a_refund_is_followed_to_its_reversals(
    visitor: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    transfers = await shop.paid("o1", amount=10_000, ada=3_000, bob=4_000)
    await at_stripe.does(transfers["ada"])
    await shop.refund("r1", amount=5_000)
    refund = await text_of(visitor, "refunds/r1")
    assert "15.00 EUR are being taken back. 20.00 EUR were deducted before the transfer" in refund
    assert "next step" in refund
    seller = await text_of(visitor, "sellers/ada")
    assert "refund r1 of order o1" in seller
    assert "None reported." in seller
    assert "Owes" not in await text_of(visitor, "sellers/bob")
    reversal = await at_stripe.does(transfers["ada"])
    refund = await text_of(visitor, "refunds/r1")
    assert "15.00 EUR came back." in refund
    assert reversal in refund
    assert "Owes" not in await text_of(visitor, "sellers/ada")


async def test_proof_says_which_facts_the_newest_checks_cover(
    visitor: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    transfer = (await shop.paid())["ada"]
    page, checks = f"transfers/{transfer}/proof", CheckRuns(service.pool)
    assert "The ledger was never sealed: run transfer-ledger seal." in await text_of(visitor, page)
    await checks.record("seal", 0, "Sealed.", 2)
    await checks.record("verify", 1, "Verified.", await service.store.head())
    shown = await text_of(visitor, page)
    assert re.search(r"sealed up to position 2 at .* 1 of these facts are newer", shown)
    assert re.search(r"verified up to position 3 at .*, with 1 findings\. It covers all", shown)


# --- parts ----------------------------------------------------------------------------------------


def part(status: str, amount: int) -> Json:
    return {"status": status, "amount": amount, "currency": "EUR"}


@pytest.mark.parametrize(
    ("parts", "tone", "lines"),
    [
        ([part("reversed", 100), part("reversed", 50)], "good", ["1.50 EUR came back."]),
        ([part("reversed", 100), part("queued", 50)], "waits",
         ["0.50 EUR wait for an earlier step.", "1.00 EUR came back."]),
        ([part("requested", 1), part("failed", 50), part("reduced", 2)], "bad",
         ["0.50 EUR did not come back, and need a person.", "0.01 EUR are being taken back.",
          "0.02 EUR were deducted before the transfer was sent."]),
    ],
)  # fmt: skip
def test_progress_of_a_refund_begins_with_the_worst(
    parts: list[Json], tone: str, lines: list[str]
) -> None:
    assert progress(parts) == (tone, lines)


def payout(hours: float, amount: int, status: str = "paid", currency: str = "EUR") -> Json:
    at = (NOW + timedelta(hours=hours)).isoformat()
    return {"created_at": at, "amount": amount, "status": status, "currency": currency}


@pytest.mark.parametrize(
    ("payouts", "lines"),
    [
        ([], []),
        ([payout(-0.07, 500), payout(-9, 700)], ["5.00 EUR paid out 4 min before."]),
        ([payout(1, 100), payout(2, 200, "in_transit"), payout(-48, 700)],
         ["7.00 EUR paid out 2 days before.", "3.00 EUR paid out since then."]),
        ([payout(1, 100, "failed"), payout(-1, 100, "canceled"), payout(-1, 100, currency="USD")], []),
    ],
)  # fmt: skip
def test_payouts_stand_beside_a_debt(payouts: list[Json], lines: list[str]) -> None:
    assert payouts_beside(DEBT, payouts) == lines
