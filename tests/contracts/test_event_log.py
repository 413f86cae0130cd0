"""Contract of `EventLog`: all or nothing, one winner per version, constraints that no command can
break, and no gaps."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from application.commands import commands_on
from application.commands.refunds import RefundReport
from application.ports import OrderMatches
from application.unit_of_work import CommitExtras, InboxMark
from domain.errors import Conflict, ConstraintBroken
from domain.order.state import Share
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.refund.aggregate import Refund
from domain.seller_transfer.stripe_call import keep_evidence
from infrastructure.clock import DatabaseClock
from infrastructure.postgres.integrity.hash_chain import breaks
from infrastructure.simulation.in_memory.constraints import CHECKS, UNIQUE
from tests.support.storage import CHANNELS, Storage
from tests.support.streams import NOW, TransferColumns, due, stored, transfer


def refund(refund_id: str, psp_refund_id: str | None = None) -> Refund:
    """Return a refund that the PSP has reported as failed."""
    told = Refund.open(
        refund_id=refund_id,
        order_id="o1",
        amount=100,
        currency="EUR",
        origin="psp",
        psp_refund_id=psp_refund_id,
        reason=None,
        explicit=None,
        now=NOW,
    )
    told.fail("hyperswitch:evt_1", None, NOW)
    return told


async def test_appended_streams_load_and_others_are_absent(storage: Storage) -> None:
    anna, ben = await stored(
        storage.ledger, transfer("anna", amount=700), transfer("ben", stripe_transfer_id="tr_1")
    )
    uow = await storage.ledger.load([anna, ben, uuid4()])
    assert sorted(
        (each.seller_id, each.amount, each.stripe_transfer_id) for each in uow.transfers()
    ) == [
        ("anna", 700, None),
        ("ben", 900, "tr_1"),
    ]
    assert uow.transfer(anna).created_on == NOW


async def test_unit_of_work_is_current_after_its_append(storage: Storage) -> None:
    uow = await storage.ledger.load([])
    one = transfer(status="pending", next_retry_at=NOW)
    uow.add([one])
    await storage.ledger.append(uow)
    assert uow.changed() == []
    keep_evidence(one, "transfer", "tr_1", 900, "two facts more", None, NOW)
    await storage.ledger.append(uow)
    assert (await storage.ledger.load([one.id])).transfer(one.id).version == one.version


async def test_conflicting_decision_is_rejected_whole(storage: Storage) -> None:
    transfer_id = await due(storage.ledger)
    one, other = await storage.ledger.load([transfer_id]), await storage.ledger.load([transfer_id])
    for uow, why in ((one, "first"), (other, "second")):
        keep_evidence(uow.transfer(transfer_id), "transfer", f"tr_{why}", 900, why, None, NOW)
    bystander = transfer("ben")
    other.add([bystander])
    await storage.ledger.append(one)
    with pytest.raises(Conflict):
        await storage.ledger.append(other)
    known = await storage.ledger.load([transfer_id, bystander.id])
    assert list(known.transfer(transfer_id).evidence) == ["tr_first"]
    assert [each.id for each in known.transfers()] == [transfer_id], (
        "nothing of what came along is stored either"
    )


async def test_concurrent_decisions_have_one_winner(storage: Storage) -> None:
    transfer_id = await due(storage.ledger)
    books = [await storage.ledger.load([transfer_id]) for _ in range(8)]
    for number, uow in enumerate(books):
        keep_evidence(
            uow.transfer(transfer_id), "transfer", f"tr_{number}", 900, "evidence", None, NOW
        )
    ends = await asyncio.gather(*map(storage.ledger.append, books), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["Conflict"] * 7 + ["NoneType"]


BROKEN: dict[str, TransferColumns] = {
    "one_transfer_per_stripe_transfer": {"stripe_transfer_id": "tr_taken"},
    "one_transfer_per_stripe_reversal": {"stripe_reversal_id": "trr_taken"},
    "reversals_never_exceed_the_transfer": {"amount_reversed": 901},
    "a_final_status_has_no_next_retry": {
        "status": "reversed",
        "amount_reversed": 900,
        "next_retry_at": NOW,
    },
    "a_settled_transfer_waits_for_nothing": {"next_retry_at": NOW},
    "chk_reversal_pending_has_next_retry_at": {"status": "reversal_pending"},
    "retries_are_counted_from_zero": {"status": "pending", "next_retry_at": NOW, "retry_count": -1},
}


@pytest.mark.parametrize("constraint", BROKEN)
async def test_rows_that_break_a_constraint_store_nothing(
    storage: Storage, constraint: str
) -> None:
    await stored(
        storage.ledger,
        transfer("dora", stripe_transfer_id="tr_taken", stripe_reversal_id="trr_taken"),
    )
    before = len(await storage.facts())
    innocent = transfer("ben")
    with pytest.raises(ConstraintBroken) as refused:
        await stored(storage.ledger, innocent, transfer("anna", **BROKEN[constraint]))
    assert refused.value.constraint == constraint
    assert len(await storage.facts()) == before
    assert await stored(storage.ledger, innocent_again := transfer("ben")) == [innocent_again.id], (
        "others go on"
    )


async def test_two_rows_of_one_append_cannot_share_a_stripe_id(storage: Storage) -> None:
    with pytest.raises(ConstraintBroken, match="one_transfer_per_stripe_transfer"):
        await stored(
            storage.ledger, transfer(stripe_transfer_id="tr_1"), transfer(stripe_transfer_id="tr_1")
        )
    assert await storage.facts() == []


async def test_refund_has_one_stream_under_all_its_names(storage: Storage) -> None:
    await stored(storage.ledger, refund("r1", "psp_1"))
    with pytest.raises(ConstraintBroken, match="one_refund_per_psp_refund"):
        await stored(storage.ledger, refund("r2", "psp_1"))
    await stored(storage.ledger, refund("r3", "psp_3"), refund("r4"), refund("r5"))


async def test_memory_constraints_match_the_database(storage: Storage) -> None:
    if storage.pool is None:
        assert sum(map(len, (*CHECKS.values(), *UNIQUE.values()))) > 15
        return
    query = (
        "select conname from pg_constraint union select indexname from pg_indexes where "
        "schemaname = current_schema()"
    )
    async with storage.pool.connection() as connection:
        known = {name for (name,) in await (await connection.execute(query)).fetchall()}
    names = {check.name for checks in CHECKS.values() for check in checks}
    names |= {unique.name for several in UNIQUE.values() for unique in several}
    assert names <= known


async def test_positions_and_hash_chain_have_no_gaps(storage: Storage) -> None:
    await asyncio.gather(
        *(stored(storage.ledger, transfer(f"s{n}"), transfer(f"t{n}")) for n in range(10))
    )
    with pytest.raises(ConstraintBroken):
        await stored(storage.ledger, transfer(amount_reversed=901))
    await due(storage.ledger)
    facts = await storage.facts()
    assert [fact.position for fact in facts] == list(range(1, 22))
    assert list(breaks(facts)) == []


async def test_cancelled_caller_withdraws_nothing(storage: Storage) -> None:
    one, uow = transfer(), await storage.ledger.load([])
    uow.add([one])
    append = asyncio.create_task(storage.ledger.append(uow))
    await asyncio.sleep(0)  # it has begun
    append.cancel()
    await asyncio.gather(append, return_exceptions=True)
    await stored(storage.ledger, transfer())  # and what was begun before is stored before
    assert (await storage.ledger.load([one.id])).transfer(one.id).amount == 900


async def test_append_wakes_the_listeners(storage: Storage) -> None:
    woken = asyncio.Event()
    await storage.listen(CHANNELS[0], woken.set)
    await due(storage.ledger)
    async with asyncio.timeout(30):
        await woken.wait()


async def test_facts_raise_their_alarms_atomically(storage: Storage) -> None:
    one = transfer(status="pending", next_retry_at=NOW)
    keep_evidence(one, "transfer", "tr_1", 900, "Stripe holds it", None, NOW)
    await stored(storage.ledger, one)
    raised = {alarm.kind: alarm for alarm in await storage.alarms.raised()}
    assert raised.keys() == {"evidence_held", "permanently_failed"}
    assert (raised["evidence_held"].subject, raised["evidence_held"].detail) == (
        str(one.id),
        "Stripe holds it",
    )


async def test_webhook_is_done_together_with_its_facts(storage: Storage) -> None:
    await storage.inbox.put("hyperswitch", "evt_1", "refund_succeeded", b"{}", NOW)
    (event,) = (await storage.inbox.claim("w", 10, timedelta(seconds=10))).events
    extras = CommitExtras(inbox=InboxMark(event.inbox_id, "done"))
    uow = await storage.ledger.load([])
    uow.add([transfer(amount_reversed=901)])
    with pytest.raises(ConstraintBroken):
        await storage.ledger.append(uow, extras)
    assert await storage.inbox.next_due() is not None
    uow = await storage.ledger.load([])
    uow.add([transfer()])
    await storage.ledger.append(uow, extras)
    assert await storage.inbox.next_due() is None


async def test_webhook_can_be_done_without_facts(storage: Storage) -> None:
    await storage.inbox.put("hyperswitch", "evt_1", "refund_succeeded", b"{}", NOW)
    (event,) = (await storage.inbox.claim("w", 10, timedelta(seconds=10))).events
    await storage.ledger.append(
        await storage.ledger.load([]), CommitExtras(inbox=InboxMark(event.inbox_id, "done"))
    )
    assert await storage.inbox.next_due() is None
    assert await storage.facts() == []


async def test_streams_are_found_by_their_known_names(storage: Storage) -> None:
    commands = commands_on(storage.ledger, storage.directory, DatabaseClock())
    directory = storage.directory
    for order_id in ("o1", "o2"):
        shares = [Share(seller_id="anna", destination="acct_1", amount=900)]
        await commands.orders.register(
            order_id=order_id, currency="EUR", amount=1_000, shares=shares, payment_id="pay_1"
        )
    recorded = await commands.refunds.succeeded(RefundReport("psp_1", "o1", 100, "EUR", "test"))
    await stored(storage.ledger, refund("r1", "psp_r1"))
    assert await directory.refund_named("psp_1") == recorded.refund.id
    assert await directory.refund_named("psp_r1") == await directory.refund_named("r1") is not None
    assert await directory.refund_named("psp_2") is None


async def test_orders_are_found_by_every_name_of_a_webhook_in_one_query(storage: Storage) -> None:
    commands, directory = (
        commands_on(storage.ledger, storage.directory, DatabaseClock()),
        storage.directory,
    )
    shares = [Share(seller_id="anna", destination="acct_1", amount=900)]
    for order_id, payment_id in (("o1", "pay_1"), ("o2", "pay_1"), ("o3", None)):
        await commands.orders.register(
            order_id=order_id,
            currency="EUR",
            amount=1_000,
            shares=shares,
            payment_id=payment_id,
            source_transaction="ch_3" if order_id == "o3" else None,
        )
    await commands.orders.record_payment("o3", None, "ch_3", "test")
    refund_of_o1 = await commands.refunds.succeeded(RefundReport("psp_1", "o1", 100, "EUR", "test"))
    found = await directory.find_order(
        refund_id="psp_1",
        order_ids=["o3", "nowhere", "o1"],
        payment_ids=["pay_1"],
        source_transactions=["ch_3"],
    )
    assert (found.by_refund, found.refund) == ("o1", refund_of_o1.refund.id)
    assert (list(found.by_id), list(found.by_payment), found.paid) == (
        ["o3", "o1"],
        ["o1", "o2"],
        frozenset({"o3"}),
    )
    by_charge = await directory.find_order(payment_ids=["ch_3"], source_transactions=["ch_3"])
    assert (by_charge.sole_by_payment, by_charge.by_refund, list(by_charge.by_id)) == (
        "o3",
        None,
        [],
    )
    assert (await directory.find_order(payment_ids=["ch_3"])).sole_by_payment is None, (
        "a charge is no payment id"
    )
    assert await directory.find_order(refund_id="psp_2", order_ids=[""]) == OrderMatches(
        by_id=[], by_payment=[]
    )


async def test_stripe_object_is_claimed_by_id_or_by_our_name(storage: Storage) -> None:
    paid, waiting = transfer(stripe_transfer_id="tr_paid"), transfer(status="pending")
    await stored(storage.ledger, paid, waiting, transfer(stripe_transfer_id=""))
    names = {
        "tr_paid": None,
        "tr_named": str(waiting.id),
        "tr_else": str(uuid4()),
        "tr_old": "17",
        "tr_bare": None,
        "": None,
    }
    seen = [TransferAtStripe(id_, 900, 0, "EUR", "acct_anna", name) for id_, name in names.items()]
    assert await storage.directory.claimed(seen) == {"tr_paid", "tr_named"}
    assert await storage.directory.claimed([]) == frozenset()


async def test_transfers_of_an_order_are_found_before_it(storage: Storage) -> None:
    one = transfer()
    await stored(storage.ledger, one, transfer())
    assert list(await storage.directory.transfers_of(one.order_id)) == [one.id]
    assert list(await storage.directory.transfers_of("nowhere")) == []
