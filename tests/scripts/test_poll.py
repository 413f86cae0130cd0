"""Command `inbox poll`, and its results in `inbox list` and `doctor`."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Protocol

import psycopg
import pytest

from infrastructure.simulators.stripe import (
    KIND,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from tests.scripts.test_command_line import run
from tests.support.json_types import Json


class Command(Protocol):
    """Runs a command on the test's database and simulated Stripe."""

    async def __call__(
        self, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
async def stripe() -> AsyncIterator[SimulatorControl]:
    async with running_simulator(SimulatorConfig(manners=KIND)) as (_, control):
        yield control


@pytest.fixture
def command(database_url: str, stripe: SimulatorControl) -> Command:
    """Run it on this database and this Stripe."""

    async def ran(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {
            "DATABASE_URL": database_url,
            "STRIPE_API_BASE": stripe.url,
            "MISSED_WEBHOOKS_GRACE": "1s",
        }
        return await asyncio.to_thread(run, *arguments, **given, **environment)

    return ran


async def test_unconfigured_provider_is_not_polled(command: Command) -> None:
    ended = await command("inbox", "poll")
    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [
        "stripe: not asked (STRIPE_WEBHOOK_SECRETS not set)",
        "hyperswitch: not asked (HYPERSWITCH_WEBHOOK_SECRETS, HYPERSWITCH_BASE_URL not set)",
    ]
    told = (await command("doctor")).stdout
    assert (
        "ok    missed webhooks: stripe not asked (STRIPE_WEBHOOK_SECRETS not set): missed 0, "
        "replayed 0;" in told
    )


async def test_round_runs_now_and_shows_its_findings(
    command: Command, stripe: SimulatorControl, database_url: str
) -> None:
    listens = {"STRIPE_WEBHOOK_SECRETS": "whsec_1"}
    assert (
        json.loads((await command("inbox", "poll", "--json", **listens)).stdout)[0]["missed"] == 0
    )
    lost = await stripe.announce("balance.available", {"object": "balance"})
    long_ago(database_url, timedelta(hours=2))
    found = await until_old_enough(command, listens)
    assert found["replayed"] == 1
    (row,) = json.loads((await command("inbox", "list", "--json")).stdout)
    assert (row["event_id"], row["source"]) == (lost["id"], "poller")
    assert "poller" in (await command("inbox", "list")).stdout
    doctor = await command("doctor", **listens)
    assert doctor.returncode == 1, "the alarm is open"
    assert "missed 1, replayed 0" in doctor.stdout


async def until_old_enough(command: Command, listens: dict[str, str]) -> Json:
    """Two seconds later at the latest, as Stripe counts whole ones."""
    while True:
        (found,) = json.loads((await command("inbox", "poll", "--json", **listens)).stdout)
        if found["missed"]:
            return dict(found)


def long_ago(database_url: str, ago: timedelta) -> None:
    """So long ago this ledger began."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update webhook_polls set begun_at = begun_at - %s, seen_until = seen_until - %s",
            (ago, ago),
        )


async def test_unreachable_provider_exits_with_1(
    command: Command, stripe: SimulatorControl, database_url: str
) -> None:
    listens = {"STRIPE_WEBHOOK_SECRETS": "whsec_1"}
    await command("inbox", "poll", **listens)
    long_ago(database_url, timedelta(hours=2))
    with psycopg.connect(database_url) as connection:
        connection.execute("update webhook_polls set checked_at = now() - interval '2 hours'")
    await stripe.fault("status", "events.list", status=503)
    ended = await command("inbox", "poll", **listens)
    assert ended.returncode == 1
    assert "then: " in ended.stdout
    assert "WRONG missed webhooks" in (await command("doctor", **listens)).stdout
