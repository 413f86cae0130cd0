"""The command line in real processes: exit codes, and one line instead of a traceback for every
user error."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from application.commands.refunds import RefundRequest
from domain.order.state import Share
from domain.provider_call.psp_objects import ConnectorPayment
from infrastructure.bootstrap import stored
from infrastructure.postgres.migrate import DEVELOPMENT_SHA256, RECORD
from infrastructure.settings import settings_from
from tests.support import preforked

ROOT = Path(__file__).parent.parent.parent
COMMANDS = [
    "demo", "simulate-week", "simulate-faults", "serve", "worker", "simulate", "migrate", "transfers", "history",
    "statement", "retry",
    "resolve", "decide", "acknowledge", "seller-account", "read-charge", "pause", "resume",
    "alarms", "inbox", "doctor", "bench", "torture", "backfill", "rebuild", "verify", "seal", "reconcile",
    "import", "settings", "status", "find", "why",
]  # fmt: skip
NOWHERE = "http://127.0.0.1:9"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STRIPE_", "DATABASE_", "LEDGER_"))
    }
    return preforked.run(arguments, {**clean, **environment}, timeout=60)


async def paid_order(database_url: str) -> str:
    order_id = f"order-{uuid4().hex[:8]}"
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        share = Share(seller_id="s1", destination="acct_1s1", amount=900)
        await storage.commands.orders.register(
            order_id=order_id, currency="EUR", amount=1000, shares=[share]
        )
        await storage.commands.orders.record_payment(order_id, None, None, "api")
    return order_id


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    helped = run(command, "--help")
    assert helped.returncode == 0
    assert f"Usage: transfer-ledger {command}" in helped.stdout
    if command != "inbox":  # a group: its commands have the examples
        assert "Example:" in helped.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["serve"], {"LEDGER_PORT": "none"}, "LEDGER_PORT"),
        (["serve"], {"LEDGER_HOST": "0.0.0.0"}, "LEDGER_API_TOKEN"),
        (["worker"], {"STRIPE_API_KEY": "pk_live_x"}, "STRIPE_API_KEY"),
        (["simulate-faults", "--schedules", "0"], {}, "--schedules"),
        (["simulate-week", "--seed", "abc"], {}, "--seed"),
        (["nonsense"], {}, "nonsense"),
        (["history", "--nonsense"], {}, "--nonsense"),
        (["history"], {}, "ID"),
        (["settings"], {"LEDGER_PORT": "none"}, "LEDGER_PORT"),
        (["settings"], {"LEDGER_LOG_LEVEL": "loud"}, "LEDGER_LOG_LEVEL"),
        (["simulate-faults", "--processes", "65"], {}, "--processes"),
        (["simulate-faults", "--shrink", "--json"], {}, "--shrink"),
        (["transfers", "--status", "gone"], {}, "--status"),
        (["inbox", "list", "--status", "gone"], {}, "--status"),
        (["history", str(uuid4()), "--as-of", "yesterday"], {}, "--as-of"),
        (["history", str(uuid4()), "--as-of", "2026-11-20T12:00:00"], {}, "time zone"),
        (["retry", str(uuid4()), "--actor", " ", "--reason", "x"], {}, "--actor"),
        (["pause", "--actor", "mia", "--reason", "x", "--seller", "a b"], {}, "--seller"),
        (["pause", "--actor", "mia", "--reason", "x", "--work", "guessing"], {}, "--work"),
        (
            ["pause", "--actor", "mia", "--reason", "x", "--work", "reversing", "--seller", "s1"],
            {},
            "Several scopes",
        ),
        (["resume", "--actor", "stripe:evt_1", "--reason", "x"], {}, "--actor"),
        (
            ["resolve", str(uuid4()), "--actor", "mia", "--reason", "x", "--evidence", ""],
            {},
            "--evidence",
        ),
        (["migrate", "sideways"], {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, "sideways"),
        (["migrate", "down"], {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, "--to"),
    ],
)
def test_usage_error_is_one_line_and_exit_code_2(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    ended = run(*arguments, **environment)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ended.stderr
    assert "geheim" not in ended.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "migrate"])
def test_absent_database_is_awaited_and_exit_code_is_75(command: str) -> None:
    ended = run(
        command, DATABASE_URL="postgresql://u:geheim@127.0.0.1:1/x", LEDGER_START_TIMEOUT="2s"
    )
    waiting, sentence = ended.stderr.strip().splitlines()
    assert (ended.returncode, json.loads(waiting)["event"]) == (75, "waiting for the database")
    assert "start it, or try again later" in sentence
    assert "geheim" not in ended.stderr


@pytest.mark.parametrize("command", [["transfers"], ["verify"], ["reconcile"], ["alarms"]])
def test_absent_database_ends_a_command_at_once_with_75(command: list[str]) -> None:
    ended = run(*command, DATABASE_URL="postgresql://u:geheim@127.0.0.1:1/x")
    assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (75, 1)


def test_unknown_database_is_a_wrong_setting(database_url: str) -> None:
    unknown = urlsplit(database_url)._replace(path="/unknown").geturl()
    ended = run("serve", DATABASE_URL=unknown, LEDGER_PORT="18998")
    assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (2, 1)
    assert "does not exist" in ended.stderr


async def test_transfers_and_history_are_shown(database_url: str) -> None:
    order_id = await paid_order(database_url)
    listed = json.loads(
        run("transfers", "--order", order_id, "--json", DATABASE_URL=database_url).stdout
    )
    assert [(row["status"], row["amount"], row["currency"]) for row in listed] == [
        ("pending", 900, "EUR")
    ]
    transfer_id = listed[0]["transfer_id"]
    told = json.loads(run("history", transfer_id, "--json", DATABASE_URL=database_url).stdout)
    assert [entry["fact"] for entry in told] == ["Created"]
    as_text = run("history", transfer_id, DATABASE_URL=database_url).stdout
    assert told[0]["sentence"] in as_text
    table = run("transfers", DATABASE_URL=database_url).stdout
    assert transfer_id in table


async def test_history_accepts_an_instant(database_url: str) -> None:
    before = datetime.now(UTC).isoformat()
    await paid_order(database_url)
    listed = json.loads(run("transfers", "--json", DATABASE_URL=database_url).stdout)
    ended = run("history", listed[0]["transfer_id"], "--as-of", before, DATABASE_URL=database_url)
    assert ended.returncode == 2
    assert "There is no transfer" in ended.stderr


async def test_retry_is_a_fact_with_actor_and_reason(database_url: str) -> None:
    await paid_order(database_url)
    (row,) = json.loads(run("transfers", "--json", DATABASE_URL=database_url).stdout)
    retried = run(
        "retry",
        row["transfer_id"],
        "--actor",
        "mia",
        "--reason",
        "the account is ready",
        DATABASE_URL=database_url,
    )
    assert retried.returncode == 0, retried.stderr
    told = json.loads(
        run("history", row["transfer_id"], "--json", DATABASE_URL=database_url).stdout
    )
    assert (told[-1]["payload"]["actor"], told[-1]["payload"]["reason"]) == (
        "mia",
        "the account is ready",
    )


async def test_charge_is_read_again_by_command(database_url: str) -> None:
    order_id = await paid_order(database_url)
    said = ("--actor", "mia", "--reason", "the key may read payments now")
    nothing = run("read-charge", order_id, *said, DATABASE_URL=database_url)
    assert nothing.returncode == 2
    assert "the payment provider has named no payment at Stripe" in nothing.stderr
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        await storage.commands.orders.record_payment(
            order_id, None, None, "api", connector=ConnectorPayment("stripe", "pi_1")
        )
    again = run("read-charge", order_id, *said, DATABASE_URL=database_url)
    assert (again.returncode, "is read again" in again.stdout) == (0, True)


async def test_pause_is_shown_until_resumed(database_url: str) -> None:
    at = {"DATABASE_URL": database_url}
    paused = run(
        "pause", "--seller", "s1", "--actor", "mia", "--reason", "account under review", **at
    )
    assert (paused.returncode, "seller:s1 is paused" in paused.stdout) == (0, True)
    assert (
        "was paused already"
        in run("pause", "--seller", "s1", "--actor", "tom", "--reason", "too", **at).stdout
    )
    (alarm,) = json.loads(run("alarms", "--json", **at).stdout)
    assert (alarm["kind"], alarm["detail"]) == (
        "paused",
        "mia paused all work for seller 's1': account under review",
    )
    assert (
        "Resumed: all work for seller 's1'."
        in run("resume", "--seller", "s1", "--actor", "mia", "--reason", "all is well", **at).stdout
    )
    assert json.loads(run("alarms", "--json", **at).stdout) == []
    (cleared,) = json.loads(run("alarms", "--all", "--json", **at).stdout)
    assert cleared["cleared_at"] is not None


async def refunded_order(database_url: str) -> None:
    order_id = await paid_order(database_url)
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        await storage.commands.refunds.settle(RefundRequest(f"r-{order_id}", order_id))


def test_transfer_that_waits_for_nothing_cannot_be_resolved(database_url: str) -> None:
    asyncio.run(refunded_order(database_url))
    (row,) = json.loads(run("transfers", "--json", DATABASE_URL=database_url).stdout)
    said = ("--actor", "mia", "--reason", "paid by bank", "--evidence", "ticket 7")
    ended = run(
        "resolve", row["transfer_id"], *said, DATABASE_URL=database_url, STRIPE_API_BASE=NOWHERE
    )
    assert ended.returncode == 2
    assert "nothing to resolve: it is cancelled" in ended.stderr.strip().splitlines()[-1]


def test_retry_without_due_work_is_one_line(database_url: str) -> None:
    ended = run("retry", str(uuid4()), "--actor", "mia", "--reason", "x", DATABASE_URL=database_url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "There is no transfer" in ended.stderr


def test_missing_webhook_cannot_be_replayed(database_url: str) -> None:
    ended = run("inbox", "replay", "42", DATABASE_URL=database_url)
    assert ended.returncode == 2
    assert "42" in ended.stderr


def test_migrations_go_up_and_down(empty_database_url: str) -> None:
    assert run("migrate", "up", DATABASE_URL=empty_database_url).returncode == 0
    assert "applied" in run("migrate", "status", DATABASE_URL=empty_database_url).stdout
    down = run("migrate", "down", "--to", "0", DATABASE_URL=empty_database_url)
    assert down.returncode == 0, down.stderr
    assert "waiting" in down.stdout
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regclass('ledger_events')").fetchone() == (None,)


@pytest.mark.parametrize("arguments", [("migrate", "up"), ("serve",), ("transfers",)])
def test_database_of_a_development_version_ends_a_command_with_2(
    empty_database_url: str, arguments: tuple[str, ...]
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(RECORD.read_bytes())
        add = "insert into ledger_migrations (version, name, sha256) values (1, 'events', %s)"
        connection.execute(add, (DEVELOPMENT_SHA256,))
    ended = run(
        *arguments, DATABASE_URL=empty_database_url, STRIPE_API_BASE=NOWHERE, LEDGER_PORT="18999"
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert "made by an unreleased development version" in line


def bound_to_the_simulator(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("insert into ledger_binding (mode) values ('simulator')")


def test_simulator_database_refuses_a_live_key(database_url: str) -> None:
    bound_to_the_simulator(database_url)
    simulated = run("doctor", DATABASE_URL=database_url, STRIPE_API_BASE=NOWHERE)
    assert simulated.returncode == 1, "Stripe cannot be reached, so the doctor finds something"
    live = run(
        "doctor", DATABASE_URL=database_url, STRIPE_API_BASE=NOWHERE, STRIPE_API_KEY="sk_live_x"
    )
    assert live.returncode == 2
    last = live.stderr.strip().splitlines()[-1]
    assert "simulator" in last
    assert "live" in last
    assert "Traceback" not in live.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_simulator_ledger_with_live_key_exits_with_one_line(
    database_url: str, command: str
) -> None:
    bound_to_the_simulator(database_url)
    ended = run(
        command,
        DATABASE_URL=database_url,
        STRIPE_API_BASE=NOWHERE,
        STRIPE_API_KEY="sk_live_x",
        LEDGER_API_TOKEN="a-token-of-the-tests",
        LEDGER_PORT="18999",
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert "holds data of mode 'simulator'" in line
    assert "'live'" in line


def test_doctor_finds_an_unanswering_stripe(database_url: str) -> None:
    found = json.loads(
        run("doctor", "--json", DATABASE_URL=database_url, STRIPE_API_BASE=NOWHERE).stdout
    )
    assert {finding["check"]: finding["well"] for finding in found}["stripe"] is False


def test_simulator_starts_with_stripes_limit_and_latency() -> None:
    command = [
        sys.executable,
        "-m",
        "scripts",
        "simulate",
        "--stripe-port",
        "0",
        "--endpoint-rate",
        "25",
        "--latency",
        "recorded",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().rpartition("STRIPE_API_BASE=")[2]
            tuning = httpx.get(f"{url}/_sim/tuning", timeout=30, trust_env=False).json()
            assert (tuning["endpoint_rate"], tuning["latency"], tuning["global_rate"]) == (
                25,
                "recorded",
                None,
            )
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.mark.parametrize("option", [["--endpoint-rate", "0"], ["--latency", "much"]], ids=str)
def test_invalid_simulator_options_are_refused(option: list[str]) -> None:
    ended = run("simulate", *option)
    assert ended.returncode == 2
    assert option[0] in ended.stderr
    assert "Traceback" not in ended.stderr
