"""Stories of orders in which an operator's command moves money or repairs a row."""

import csv
import json
from collections.abc import Mapping

from domain.identity import transfer_stream
from tests.support.crash_stories import SAID, SERVED, Story
from tests.support.crash_world import CrashWorld
from tests.support.ledger_process import refund
from tests.support.service import account

OLD = {"unknown": "pending", "unpaid": "failed", "nameless": "completed"}
OLD_COLUMNS = (
    "order_id", "seller_id", "destination", "amount", "currency", "status", "created_at"
)  # fmt: skip
CREATED = "2026-01-02T03:04:05Z"


async def older_system(world: CrashWorld, name: str) -> None:
    """`import`, `retry`, `resolve` and `backfill`: one transfer was paid unknown to the older
    system, one was not, and one lacks its Stripe id."""
    rows = {f"{kind}_{name}": status for kind, status in OLD.items()}
    unknown, unpaid, nameless = rows
    paid = [await _paid_elsewhere(world, order_id) for order_id in (unknown, nameless)]
    file = world.folder / f"{name}.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(OLD_COLUMNS)
        for order_id, status in rows.items():
            writer.writerow((order_id, "anna", account("anna"), 900, "EUR", status, CREATED))
    await world.command("import", str(file))
    ids = {order_id: str(transfer_stream(order_id, "anna")) for order_id in rows}
    await world.command("retry", ids[unknown], *SAID)
    await world.view.reached(unknown, "permanently_failed")
    await world.command("resolve", ids[unknown], *SAID, "--evidence", paid[0])
    await world.view.reached(unknown, "completed")
    await world.command("backfill", "--apply")
    (row,) = await world.view.reached(nameless, "completed")
    assert row.stripe_transfer_id == paid[1]
    await world.command("retry", ids[unpaid], *SAID)
    await world.view.reached(unpaid, "completed")
    assert len(await world.held(unpaid)) == 1


async def _paid_elsewhere(world: CrashWorld, order_id: str) -> str:
    made = await world.stripe.external_transfer(
        account("anna"), 900, "eur", metadata={"order_id": order_id}
    )
    return str(made["id"])


async def held_transfer(world: CrashWorld, name: str) -> None:
    """`retry` of a transfer that waits for the seller's account."""
    seller = f"s_{name}"
    await world.stripe.change_account(account(seller), transfers_capability="inactive")
    await world.order(name, **{seller: 900})
    await world.pay(name)
    (row,) = await world.view.reached(name, "failed")
    await world.stripe.change_account(account(seller), transfers_capability="active")
    await world.command("retry", str(row.transfer_id), *SAID)
    await world.view.reached(name, "completed")
    await world.refund(name)
    await world.view.reached(name, "reversed")
    await world.assert_moved_once(name, **{seller: 900})


async def moved_seller(world: CrashWorld, name: str) -> None:
    """`seller-account`: the unsent transfer goes to the seller's new account."""
    seller, new = f"s_{name}", f"new_{name}"
    await world.stripe.change_account(account(seller), transfers_capability="inactive")
    await world.order(name, **{seller: 900})
    await world.pay(name)
    await world.view.reached(name, "failed")
    await world.command("seller-account", seller, "--destination", account(new), *SAID)
    await world.view.reached(name, "completed")
    await world.refund(name)
    await world.view.reached(name, "reversed")
    await world.assert_moved_once(name, **{new: 900})


async def decided_refund(world: CrashWorld, name: str) -> None:
    """`pause`, `decide` and `resume`: a refund in another currency was set aside."""
    await world.order(name, anna=900)
    await world.pay(name)
    await world.view.reached(name, "completed")
    content = refund(f"r_{name}", name, 500) | {"currency": "USD"}
    await world.webhook("refund_succeeded", "refund", content)

    async def set_aside() -> bool:
        rows = await world.view.select("select from refunds where order_id = %s", name)
        return bool(rows)

    await world.view.until(set_aside, "the refund is set aside")
    await world.command("pause", "--work", "reversing", *SAID)
    decision = ("--allocation", "anna=450", "--amount", "500")
    await world.command("decide", f"r_{name}", *decision, *SAID)
    await world.command("resume", "--work", "reversing", *SAID)
    await world.view.reached(name, "partially_reversed")
    (held,) = await world.held(name)
    assert [one["amount"] for one in held["reversals"]] == [450]


async def adopted_reversal(world: CrashWorld, name: str) -> None:
    """`reconcile --adopt`: a reversal in Stripe's dashboard of which no webhook came."""
    await world.order(name, anna=900)
    await world.pay(name)
    (row,) = await world.view.reached(name, "completed")
    await _poll_in(world, "1 hour")  # or the poller finds the reversal first
    await world.stripe.external_transfer(
        account("another"), 5, "eur", transfer_group=f"other_{name}"
    )
    await world.stripe.external_reversal(str(row.stripe_transfer_id), 300)
    found = json.loads(await world.command("reconcile", "--json"))
    ours = [one["id"] for one in found if one["stripe_transfer_id"] == row.stripe_transfer_id]
    for finding in ours:  # none if a round of the poller was still under way
        await world.command("reconcile", "--adopt", finding, *SAID)
    await _poll_in(world, "0")
    await world.view.reached(name, "partially_reversed")
    await world.refund(name)
    await world.view.reached(name, "reversed")
    (held,) = await world.held(name)
    assert [one["amount"] for one in held["reversals"]] == [300, 600]


async def _poll_in(world: CrashWorld, wait: str) -> None:
    async with world.view.pool.connection() as connection:
        await connection.execute(
            "update webhook_polls set due_at = now() + %s::interval where provider = 'stripe'",
            (wait,),
        )


async def repaired_row(world: CrashWorld, name: str) -> None:
    """`rebuild`: a row that was edited by hand is as the facts have it again."""
    await world.order(name, anna=900)
    await world.pay(name)
    (row,) = await world.view.reached(name, "completed")
    async with world.view.pool.connection() as connection:
        await connection.execute(
            "update seller_transfers set seller_id = 'nobody' where order_id = %s", (name,)
        )
    await world.command("rebuild")
    assert await world.view.transfer(name) == row


STORIES: Mapping[str, Story] = SERVED | {
    story.__name__: story
    for story in (
        older_system,
        held_transfer,
        moved_seller,
        decided_refund,
        adopted_reversal,
        repaired_row,
    )
}
