"""The levers of a person on the command line: `decide`, `inbox show`, `inbox discard` and
`seller-account`."""

import json

import pytest

from application.commands.refunds import RefundReport
from domain.order.state import Share
from infrastructure.bootstrap import stored
from infrastructure.settings import settings_from
from tests.scripts.test_command_line import run

BY_MIA = ("--actor", "mia", "--reason", "agreed with the buyer")


async def set_aside(database_url: str) -> None:
    """Record a paid order of 1000 EUR, and a refund of it in another currency."""
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        share = Share(seller_id="anna", destination="acct_anna", amount=900)
        orders = storage.commands.orders
        await orders.register(order_id="o1", currency="EUR", amount=1000, shares=[share])
        await orders.record_payment("o1", "pay_1", None, "api")
        report = RefundReport("r1", "o1", 500, "USD", "hyperswitch:read")
        await storage.commands.refunds.succeeded(report)
        now = storage.clock.now()
        await storage.inbox.put("hyperswitch", "evt_1", "refund_failed", b'{"odd": 1}', now)
        await storage.inbox.bury(1, "it is odd")
        await storage.alarms.raise_alarm("webhook_dead", "hyperswitch:evt_1", "it is odd")


def open_alarms(database_url: str) -> list[str]:
    shown = run("alarms", "--json", DATABASE_URL=database_url)
    return [alarm["kind"] for alarm in json.loads(shown.stdout)]


async def test_decided_refund_is_taken_and_its_alarm_ends(database_url: str) -> None:
    await set_aside(database_url)
    for news in (True, False):
        done = run(
            *("decide", "r1", "--allocation", "anna=400", *BY_MIA, "--json"),
            DATABASE_URL=database_url,
        )
        assert (done.returncode, json.loads(done.stdout)) == (
            0,
            [{"kind": "refund", "id": "r1", "allocation": {"anna": 400}, "news": news}],
        )
    assert open_alarms(database_url) == ["webhook_dead"]
    other = run("decide", "r1", "--dismiss", *BY_MIA, DATABASE_URL=database_url)
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    shown = run("history", "o1", DATABASE_URL=database_url)
    assert "'mia' decided refund 'r1'" in shown.stdout


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--dismiss", "--allocation", "anna=1"),
        ("--allocation", "anna"),
        ("--allocation", "anna=-1"),
        ("--allocation", "anna=1,anna=2"),
        ("--dismiss", "--kind", "payment"),
    ],
    ids=str,
)
def test_unclear_decision_is_refused_in_one_line(options: tuple[str, ...]) -> None:
    done = run("decide", "r1", *options, *BY_MIA)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


async def test_discarded_webhook_is_shown_with_its_decision(database_url: str) -> None:
    await set_aside(database_url)
    shown = run("inbox", "show", "1", DATABASE_URL=database_url)
    assert "status: dead" in shown.stdout
    assert '{"odd": 1}' in shown.stdout
    done = run("inbox", "discard", "1", *BY_MIA, DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert open_alarms(database_url) == ["refund_set_aside"]
    (row,) = json.loads(run("inbox", "show", "1", "--json", DATABASE_URL=database_url).stdout)
    assert row["status"] == "discarded"
    assert "'mia' discards webhook hyperswitch:evt_1" in row["decisions"][-1]
    missing = run("inbox", "discard", "99", *BY_MIA, DATABASE_URL=database_url)
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)


async def test_moved_seller_is_told_with_the_number_of_transfers(database_url: str) -> None:
    await set_aside(database_url)
    done = run(
        *("seller-account", "anna", "--destination", "acct_new", *BY_MIA),
        DATABASE_URL=database_url,
    )
    assert done.returncode == 0
    assert done.stdout == "Seller anna is paid to acct_new; unsent transfers: 1.\n"
    (transfer,) = json.loads(run("transfers", "--json", DATABASE_URL=database_url).stdout)
    assert transfer["destination"] == "acct_new"
