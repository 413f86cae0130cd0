"""Command `reconcile` on a large ledger with planted differences: each is found and named, none is
invented.

A few hundred transfers by default; RECONCILE_TRANSFERS=100000 plants the same among a hundred
thousand.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from time import monotonic
from typing import NamedTuple

import pytest

from infrastructure.bootstrap import stored
from infrastructure.settings import settings_from
from infrastructure.simulators.stripe import (
    KIND,
    RunningSimulator,
    SimulatorConfig,
    running_simulator,
)
from tests.scripts.test_command_line import ROOT
from tests.support.json_types import Json
from tests.support.planted_differences import MANY, SELLERS, PlantedDifferences

TRANSFERS = int(os.environ.get("RECONCILE_TRANSFERS", "600"))
EACH = 3 if TRANSFERS < 10_000 else 50
pytestmark = pytest.mark.timeout(120 if TRANSFERS < 10_000 else 3_600)
DECISION = ("--actor", "mia", "--reason", "checked at Stripe")


MOST_MEGABYTES = 200
"""For a ledger of any size, as one page of Stripe's list is held at a time."""
MEASURED = """
import atexit, pathlib, runpy, sys
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: status.exists() and sys.stderr.write(status.read_text()))
runpy.run_module("scripts", run_name="__main__", alter_sys=True)
"""
"""The command line; at its end it prints its peak memory. (`wait4` would return that of its
parent.)"""


class Ended(NamedTuple):
    """A finished command: exit code, output, duration and peak memory (0 where the system does not
    report it)."""

    code: int
    printed: str
    seconds: float
    megabytes: int


def measured(*arguments: str, **environment: str) -> Ended:
    """Run the command line."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STRIPE_", "DATABASE_", "LEDGER_"))
    }
    command, began = [sys.executable, "-c", MEASURED, *arguments], monotonic()
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=clean | environment
    )
    peak = [
        int(line.split()[1]) // 1024
        for line in ended.stderr.splitlines()
        if line.startswith("VmHWM:")
    ]
    return Ended(ended.returncode, ended.stdout, monotonic() - began, peak[0] if peak else 0)


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(SimulatorConfig(manners=KIND)) as (simulator, control):
        for number in range(SELLERS):
            await control.change_account(f"acct_1s{number}")
        yield simulator


async def test_planted_drift_is_found_and_none_is_invented(
    database_url: str, simulator: RunningSimulator
) -> None:
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        seeds = PlantedDifferences(simulator.world.books, storage.clock.now(), EACH)
        await seeds.grow(storage, TRANSFERS)
    where = {
        "DATABASE_URL": database_url,
        "STRIPE_API_BASE": simulator.url,
        "STRIPE_MAX_RPS": "1000",
    }

    async def reconciled(*more: str) -> tuple[int, list[Json]]:
        ended = await asyncio.to_thread(measured, "reconcile", "--json", *more, **where)
        sys.stderr.write(
            f"{TRANSFERS} transfers: {ended.seconds:.1f} s, {ended.megabytes} MB at most\n"
        )
        assert ended.megabytes < MOST_MEGABYTES
        return ended.code, json.loads(ended.printed)

    code, findings = await reconciled()
    assert {one["stripe_id"]: one["kind"] for one in findings} == seeds.planted
    assert (code, len(findings)) == (1, len(seeds.planted))
    kinds = Counter(one["kind"] for one in findings)
    assert kinds == {"missing_here": 3 * EACH, "missing_there": 2 * EACH, "amount": 2 * EACH,
    "currency": EACH,
                     "external_reversal": EACH + MANY, "duplicate": EACH, "unclaimed": EACH}  # fmt: skip
    adopted = [one["id"] for one in findings if one["obstacle"] is None]
    ignored = [
        one["id"] for one in findings if one["obstacle"] is not None and one["kind"] != "unclaimed"
    ]
    assert {one["kind"] for one in findings if one["id"] in adopted} == {
        "missing_here",
        "external_reversal",
    }
    decisions = [
        *DECISION,
        *(f"--adopt={id_}" for id_ in adopted),
        *(f"--ignore={id_}" for id_ in ignored),
    ]
    code, told = await reconciled(*decisions)
    assert Counter(one["outcome"] for one in told) == {
        "adopted": len(adopted),
        "ignored": len(ignored),
        None: EACH,
    }
    assert code == 0
    code, left = await reconciled()
    assert {one["id"] for one in left if one["ignored"]} == set(ignored)
    assert (code, [one["kind"] for one in left if not one["ignored"]]) == (0, EACH * ["unclaimed"])
    verified = await asyncio.to_thread(measured, "verify", DATABASE_URL=database_url)
    assert verified.code == 0, verified.printed
