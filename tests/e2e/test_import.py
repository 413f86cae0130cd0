"""Transfers of an older system, imported with the command: no seller is paid or debited twice."""

import asyncio
import csv
import json
from pathlib import Path
from uuid import UUID

import pytest

from domain.identity import transfer_stream
from domain.seller_transfer.facts import PermanentlyFailed
from tests.scripts.test_command_line import run
from tests.support.idempotency_keys import without_ledger
from tests.support.json_types import Json
from tests.support.service import CREATE, REVERSE, SystemUnderTest, account

SAID = ("--actor", "mia", "--reason", "compared with Stripe")


def of(order_id: str) -> UUID:
    return transfer_stream(order_id, "anna")


def old_row(
    order_id: str, status: str, stripe_transfer_id: str = "", **cells: str
) -> dict[str, str]:
    usual = {
        "seller_id": "anna",
        "destination": account("anna"),
        "amount": "900",
        "currency": "EUR",
        "amount_reversed": "",
    }
    named = {"order_id": order_id, "status": status, "stripe_transfer_id": stripe_transfer_id}
    return (
        named
        | usual
        | {"reversal_amount": "", "refund_id": "", "created_at": "2026-01-02T03:04:05Z"}
        | cells
    )


class OlderSystem:
    """The older system's table, and the commands that take it over."""

    def __init__(self, system: SystemUnderTest, folder: Path) -> None:
        self._stage, self._file = system, folder / "old.csv"

    async def command(self, *arguments: str, ends: int = 0) -> str:
        url, stripe = self._stage.settings.database_url or "", self._stage.stripe.url
        ended = await asyncio.to_thread(run, *arguments, DATABASE_URL=url, STRIPE_API_BASE=stripe)
        assert ended.returncode == ends, ended.stdout + ended.stderr
        return ended.stderr if ends == 2 else ended.stdout

    async def imports(self, *rows: dict[str, str]) -> None:
        with self._file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        assert f"{len(rows)} rows imported" in await self.command("import", str(self._file))

    async def all_clean(self, *, but: str | None = None) -> None:
        """Nothing is found, `but` this transfer at Stripe that one of the old rows may stand
        for."""
        for command in ("rebuild", "verify"):
            said = await self.command(command)
            assert "repaired" not in said.replace("all as the facts have them", "")
        found = json.loads(await self.command("reconcile", "--json", ends=1 if but else 0))
        assert [(one["kind"], one["stripe_transfer_id"]) for one in found] == (
            [("missing_here", but)] if but else []
        )

    async def made(self, operation: str) -> list[Json]:
        return await self._stage.posts(operation)


@pytest.fixture
def older_system(system: SystemUnderTest, tmp_path: Path) -> OlderSystem:
    return OlderSystem(system, tmp_path)


async def test_import_takes_over_all_six_statuses(
    system: SystemUnderTest, older_system: OlderSystem
) -> None:
    at_stripe = {
        order_id: await system.at_stripe(order_id)
        for order_id in ("paid", "owed", "back", "stuck", "part")
    }
    await system.stripe.external_reversal(at_stripe["back"], 900)
    await system.stripe.external_reversal(at_stripe["part"], 100)
    unknown = await system.at_stripe("unknown")
    await older_system.imports(
        old_row("unknown", "pending"),
        old_row("unpaid", "failed", amount="800"),
        old_row("paid", "completed", at_stripe["paid"]),
        old_row("part", "completed", at_stripe["part"], amount_reversed="100"),
        old_row("owed", "reversal_pending", at_stripe["owed"]),
        old_row("back", "reversed", at_stripe["back"]),
        old_row("stuck", "permanently_failed", at_stripe["stuck"]),
    )
    await older_system.all_clean(but=unknown)

    async with system.at_work() as caller:
        await system.view.reached("owed", "reversed")
        for order_id in (
            "unknown",
            "paid",
        ):  # known here, and reported as paid: nothing becomes due by that
            await caller.order(order_id, 900, anna=900)
            await caller.pay(order_id)
        await caller.refund("r1", "paid", 900)
        await system.view.reached("paid", "reversed")
        assert await older_system.made(CREATE) == []
        assert await system.view.story(of("unknown")) == ["Imported"]
        assert "by import" in await older_system.command("history", str(of("unknown")))

        await older_system.command("retry", str(of("unknown")), *SAID)
        await system.view.reached("unknown", "permanently_failed")
        assert unknown in (await system.view.happened(of("unknown"), PermanentlyFailed)).detail
        await older_system.command("resolve", str(of("unknown")), *SAID, "--evidence", unknown)
        (row,) = await system.view.reached("unknown", "completed")
        assert row.stripe_transfer_id == unknown

        await older_system.command("retry", str(of("unpaid")), *SAID)
        await system.view.reached("unpaid", "completed")
    (call,) = await older_system.made(CREATE)
    assert without_ledger(call["key"]) == f"transfer:{of('unpaid')}:e1"
    assert len(await older_system.made(REVERSE)) == 2, "what was owed, and the refund"
    assert await system.view.alarms() == set()
    await older_system.all_clean()


async def test_older_payment_settles_one_of_two_similar_transfers(
    system: SystemUnderTest, older_system: OlderSystem
) -> None:
    held = await system.stripe.external_transfer(
        account("anna"), 900, "eur", metadata={"transfer_id": str(UUID(int=17))}
    )
    await older_system.imports(old_row("o1", "pending"), old_row("o2", "failed"))
    async with system.at_work() as caller:
        for order_id in ("o1", "o2"):
            await caller.retry(of(order_id))
            await system.view.reached(order_id, "permanently_failed")
        assert await system.view.alarms() == {"evidence_held", "permanently_failed"}
        await older_system.command("resolve", str(of("o1")), *SAID, "--evidence", str(held["id"]))
        await system.view.reached("o1", "completed")
        told = await older_system.command(
            "resolve", str(of("o2")), *SAID, "--evidence", str(held["id"]), ends=2
        )
        assert "belongs to another transfer of this ledger" in told
        await caller.retry(of("o2"))
        await system.view.reached("o2", "completed")
    assert [without_ledger(call["key"]) for call in await older_system.made(CREATE)] == [
        f"transfer:{of('o2')}:e1"
    ]
    assert await system.view.alarms() == set()
    await older_system.all_clean()


async def test_own_payment_is_no_evidence_of_older_payment(
    system: SystemUnderTest, older_system: OlderSystem
) -> None:
    await older_system.imports(old_row("old", "pending"))
    async with system.at_work() as caller:
        await system.paid(caller, "new", 1_000, anna=900)
        await caller.retry(of("old"))
        await system.view.reached("old", "completed")
    assert len(await older_system.made(CREATE)) == 2


async def test_object_with_our_id_is_adopted_by_reconciliation(
    system: SystemUnderTest, older_system: OlderSystem
) -> None:
    """The table is taken over a second time, into an empty database: the first one had sent it."""
    await system.stripe.external_transfer(
        account("anna"), 900, "eur", metadata={"transfer_id": str(of("old"))}
    )
    await older_system.imports(old_row("old", "pending"))
    (finding,) = json.loads(await older_system.command("reconcile", "--json", ends=1))
    await older_system.command("reconcile", "--adopt", finding["id"], *SAID)
    assert [row.status for row in await system.view.transfers("old")] == ["completed"]
    await older_system.all_clean()


async def test_reversal_after_import_is_adopted_with_earlier_ones(
    system: SystemUnderTest, older_system: OlderSystem
) -> None:
    theirs = await system.at_stripe("old")
    for amount in (100, 50, 30):
        await system.stripe.external_reversal(theirs, amount)
    await older_system.imports(old_row("old", "completed", theirs, amount_reversed="150"))
    (finding,) = json.loads(await older_system.command("reconcile", "--json", ends=1))
    assert finding["at_risk"] == 30
    await older_system.command("reconcile", "--adopt", finding["id"], *SAID)
    assert [row.amount_reversed for row in await system.view.transfers("old")] == [180]
    await older_system.all_clean()


async def test_imported_transfer_is_not_sent_while_stripe_is_unreadable(
    system: SystemUnderTest, older_system: OlderSystem
) -> None:
    await system.at_stripe("old")
    await older_system.imports(old_row("old", "pending"))
    await system.stripe.fault("status", "transfers.list", status=503, times=3)
    async with system.at_work() as caller:
        await caller.retry(of("old"))
        await system.view.reached("old", "permanently_failed")
    assert await older_system.made(CREATE) == []


async def test_reversal_by_older_system_is_not_repeated(
    system: SystemUnderTest, older_system: OlderSystem
) -> None:
    whole, third = await system.at_stripe("whole"), await system.at_stripe("third")
    await system.stripe.external_reversal(whole, 900)
    await system.stripe.external_reversal(third, 300)
    await older_system.imports(
        old_row("whole", "reversal_pending", whole),
        old_row("third", "reversal_pending", third, reversal_amount="300"),
    )
    async with system.at_work():
        await system.view.reached("whole", "reversed")
        await system.view.reached("third", "partially_reversed")
    assert await older_system.made(REVERSE) == []
    await older_system.all_clean()


async def test_pending_refund_of_older_system_is_reversed_once(
    system: SystemUnderTest, older_system: OlderSystem
) -> None:
    theirs = await system.at_stripe("o1")
    await older_system.imports(
        old_row("o1", "reversal_pending", theirs, reversal_amount="300", refund_id="r1")
    )
    async with system.at_work() as caller:
        await caller.order("o1", 900, anna=900)
        await caller.pay("o1")
        await caller.refund("r1", "o1", 300)
        await system.view.reached("o1", "partially_reversed")
    (held,) = (await system.stripe.ledger())["transfers"]
    assert [reversal["amount"] for reversal in held["reversals"]] == [300]
    await older_system.all_clean()
