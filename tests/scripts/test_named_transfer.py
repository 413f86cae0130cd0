"""Transfers named by their order, and other conveniences of the command line: dates, exit codes."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from domain.identity import transfer_stream
from domain.order.state import Share
from infrastructure.bootstrap import stored
from infrastructure.settings import settings_from
from scripts.commands.options import instant_of
from tests.scripts.test_command_line import run

MIA = ("--actor", "mia", "--reason", "a test")


async def paid_order(database_url: str, *sellers: str) -> str:
    order_id = f"order-{uuid4().hex[:8]}"
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        shares = [Share(seller_id=one, destination="acct_1s1", amount=100) for one in sellers]
        await storage.commands.orders.register(
            order_id=order_id, currency="EUR", amount=1000, shares=shares
        )
        await storage.commands.orders.record_payment(order_id, None, None, "api")
    return order_id


async def test_order_with_one_transfer_names_it(database_url: str) -> None:
    order_id = await paid_order(database_url, "s1")
    retried = await asyncio.to_thread(
        lambda: run("retry", order_id, *MIA, "--json", DATABASE_URL=database_url)
    )
    assert retried.returncode == 0, retried.stderr
    transfer_id = str(transfer_stream(order_id, "s1"))
    assert json.loads(retried.stdout) == [{"transfer_id": transfer_id, "due": True}]


async def test_order_with_several_transfers_lists_them(database_url: str) -> None:
    order_id = await paid_order(database_url, "s1", "s2")
    refused = await asyncio.to_thread(
        lambda: run("retry", order_id, *MIA, DATABASE_URL=database_url)
    )
    (sentence,) = refused.stderr.strip().splitlines()
    assert refused.returncode == 2
    assert all(str(transfer_stream(order_id, seller)) in sentence for seller in ("s1", "s2"))


def test_name_that_leads_nowhere_is_one_sentence(database_url: str) -> None:
    refused = run("retry", "gone1", *MIA, DATABASE_URL=database_url)
    (sentence,) = refused.stderr.strip().splitlines()
    assert (refused.returncode, "is called gone1" in sentence) == (2, True)


async def test_exit_code_of_alarms_tells_of_an_open_one(database_url: str) -> None:
    quiet = await asyncio.to_thread(lambda: run("alarms", "--exit-code", DATABASE_URL=database_url))
    assert (quiet.returncode, quiet.stdout) == (0, "No open alarms.\n")
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        await storage.alarms.raise_alarm("webhook_dead", "stripe:evt_1", "it is odd")
    for options, code in (((), 0), (("--exit-code",), 1)):
        shown = await asyncio.to_thread(
            lambda given: run("alarms", *given, DATABASE_URL=database_url), options
        )
        assert (shown.returncode, "webhook_dead" in shown.stdout) == (code, True)


def test_date_means_its_midnight_in_utc() -> None:
    assert instant_of("--from", "2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-11-31", "2026-11", "20261101", "１-11-01"])
def test_no_date_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        instant_of("--from", text)
    assert "--from" in capsys.readouterr().err


async def test_month_is_a_period_in_utc(database_url: str) -> None:
    await paid_order(database_url, "s1")

    def acts() -> None:
        at = {"DATABASE_URL": database_url}
        shown = run("statement", "s1", "--month", "2026-12", "--json", **at)
        period = json.loads(shown.stdout)["period"]
        assert [one[:19] for one in period.values()] == [
            "2026-12-01T00:00:00",
            "2027-01-01T00:00:00",
        ]
        for options in ((), ("--month", "2026-13"), ("--month", "2026-12", "--to", "2026-12-02")):
            refused = run("statement", "s1", *options, **at)
            assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)

    await asyncio.to_thread(acts)
