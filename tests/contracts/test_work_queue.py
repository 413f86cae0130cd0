"""Contract of `WorkQueue`: one holder at a time, no transfer forgotten, pauses obeyed, and sellers
in turns."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from domain.pause import EVERYTHING, LOOK_UP_FIRST, scope_of_seller, scope_of_work
from domain.seller_transfer.stripe_call import keep_evidence
from tests.support.storage import CHANNELS, Storage
from tests.support.streams import NOW, due, paused, stored, transfer

LEASE, HOUR = timedelta(seconds=10), timedelta(hours=1)


async def claimed(
    storage: Storage, kind: str = "transferring", holder: str = "w", limit: int = 100
) -> list[UUID]:
    return list((await storage.work.claim(kind, holder, limit, LEASE)).ids)


async def test_each_kind_claims_its_own_due_statuses(storage: Storage) -> None:
    later = await storage.now() + HOUR
    unsent = {
        await due(storage.ledger, status="pending"),
        await due(storage.ledger, status="failed"),
    }
    reversing = await due(storage.ledger, status="reversal_pending")
    for status in ("pending", "failed", "reversal_pending"):
        await due(storage.ledger, later, status=status)
    await stored(
        storage.ledger,
        transfer(status="completed"),
        transfer(status="pending"),
        transfer(status="cancelled"),
    )
    assert set(await claimed(storage)) == unsent
    assert await claimed(storage, "reversing") == [reversing]


async def test_longest_due_transfer_of_a_seller_comes_first(storage: Storage) -> None:
    hours = [5, 1, 4, 2, 3]
    ids = {hour: await due(storage.ledger, NOW + timedelta(hours=hour)) for hour in hours}
    assert await claimed(storage, limit=3) == [ids[1], ids[2], ids[3]]
    assert await claimed(storage, limit=3) == [ids[4], ids[5]]


async def test_empty_claim_returns_the_database_time(storage: Storage) -> None:
    before, claim, after = (
        await storage.now(),
        await storage.work.claim("reversing", "w", 10, LEASE),
        await storage.now(),
    )
    assert list(claim.ids) == []
    assert before <= claim.now <= after


async def test_concurrent_claims_are_distinct_and_complete(storage: Storage) -> None:
    wanted = {await due(storage.ledger, seller=f"s{n % 3}") for n in range(60)}
    reversals = await asyncio.gather(
        *(claimed(storage, holder=f"w{n}", limit=10) for n in range(8))
    )
    ids = [each for claim in reversals for each in claim]
    while more := await claimed(storage, holder="w9"):  # a short claim does not mean idle
        ids += more
    assert len(ids) == len(set(ids))
    assert set(ids) == wanted


async def test_held_transfer_is_claimed_by_none_until_it_is_released(storage: Storage) -> None:
    one, two, worked_on = [await due(storage.ledger) for _ in range(3)]
    assert worked_on in await claimed(storage, holder="w", limit=3)
    await storage.work.release("w", [one, two])
    await storage.work.hold("command", [one, two, worked_on, uuid4()], LEASE)
    assert await claimed(storage) == []
    assert set(await storage.work.renew("w", [worked_on], LEASE)) == {worked_on}, "it stays there"
    await storage.work.release("command", [one, two, worked_on])
    assert set(await claimed(storage)) == {one, two}


async def test_hold_ends_with_its_lease_and_covers_waiting_transfers(storage: Storage) -> None:
    waits = await due(storage.ledger, await storage.now() + LEASE)
    await storage.work.hold("dead", [waits], LEASE + LEASE)
    await storage.let_pass(LEASE)
    assert await claimed(storage) == []
    await storage.let_pass(LEASE)
    assert await claimed(storage) == [waits]


async def test_lease_excludes_others_until_it_expires(storage: Storage) -> None:
    transfer_id = await due(storage.ledger)
    assert await claimed(storage, holder="dead") == [transfer_id]
    assert await claimed(storage, holder="alive") == []
    await storage.let_pass(LEASE)
    assert await claimed(storage, holder="alive") == [transfer_id]
    assert set(await storage.work.renew("dead", [transfer_id], LEASE)) == set(), (
        "the dead one learns that it lost it"
    )
    await storage.work.release("dead", [transfer_id])
    assert await claimed(storage, holder="third") == [], (
        "and cannot give away what is no longer its own"
    )


async def test_renewed_lease_runs_on(storage: Storage) -> None:
    transfer_id = await due(storage.ledger)
    await claimed(storage)
    assert set(await storage.work.renew("w", [transfer_id, uuid4()], 6 * LEASE)) == {transfer_id}
    await storage.let_pass(3 * LEASE)
    assert await claimed(storage, holder="v") == []
    await storage.let_pass(3 * LEASE)
    assert await claimed(storage, holder="v") == [transfer_id]


async def test_expired_lease_can_be_renewed_if_not_taken(storage: Storage) -> None:
    transfer_id = await due(storage.ledger)
    await claimed(storage)
    await storage.let_pass(2 * LEASE)
    assert set(await storage.work.renew("w", [transfer_id], LEASE)) == {transfer_id}
    assert await claimed(storage, holder="v") == []


async def test_released_transfer_is_claimable_and_wakes_workers(storage: Storage) -> None:
    transfer_id = await due(storage.ledger)
    await claimed(storage)
    woken = asyncio.Event()
    await storage.listen(CHANNELS[1], woken.set)
    await storage.work.release("w", [transfer_id])
    async with asyncio.timeout(30):
        await woken.wait()
    assert await claimed(storage, holder="v") == [transfer_id]


async def test_append_does_not_end_a_lease(storage: Storage) -> None:
    transfer_id = await due(storage.ledger)
    await claimed(storage)
    uow = await storage.ledger.load([transfer_id])
    uow.transfer(transfer_id).retry("olga", "at once", NOW)
    await storage.ledger.append(uow)
    assert await claimed(storage, holder="v") == []


async def test_finished_transfer_is_not_claimed(storage: Storage) -> None:
    transfer_id = await due(storage.ledger)
    await claimed(storage)
    uow = await storage.ledger.load([transfer_id])
    keep_evidence(uow.transfer(transfer_id), "transfer", "tr_1", 900, "it is over", None, NOW)
    await storage.ledger.append(uow)
    await storage.work.release("w", [transfer_id])
    assert await claimed(storage, holder="v") == []
    assert await storage.work.next_due("transferring") is None


@pytest.mark.parametrize(
    ("kind", "status"), [("transferring", "failed"), ("reversing", "reversal_pending")]
)
async def test_worker_can_sleep_until_the_next_due_time(
    storage: Storage, kind: str, status: str
) -> None:
    assert await storage.work.next_due(kind) is None
    now = await storage.now()
    await due(storage.ledger, now + 2 * HOUR, status=status)
    assert await storage.work.next_due(kind) == now + 2 * HOUR
    await due(storage.ledger, now + HOUR, status=status)
    assert await storage.work.next_due(kind) == now + HOUR
    await due(storage.ledger, status=status)
    due_at = await storage.work.next_due(kind)
    assert due_at is not None
    assert due_at <= now
    claim = await storage.work.claim(kind, "another", 10, LEASE)
    assert await storage.work.next_due(kind) == claim.now + LEASE, (
        "what another holds is due when its lease ends"
    )


async def test_seller_with_many_transfers_does_not_delay_others(storage: Storage) -> None:
    for _ in range(40):
        await due(storage.ledger, seller="busy", status="reversal_pending")
    others = {
        await due(storage.ledger, NOW + HOUR, seller, "reversal_pending")
        for seller in ("ben", "cleo", "dora")
    }
    first = await claimed(storage, "reversing", limit=10)
    assert others < set(first), (
        "every seller has a turn in the first claim, although the busy seller came first"
    )
    taken = set(first)
    while more := await claimed(storage, "reversing", limit=10):
        taken.update(more)
    assert len(taken) == 43, "and no seller is forgotten"


@pytest.mark.parametrize("kind", ["transferring", "reversing"])
async def test_open_breaker_stops_claims_and_due_times(storage: Storage, kind: str) -> None:
    breaker = storage.new_breaker()
    transfer_id = await due(
        storage.ledger, status="pending" if kind == "transferring" else "reversal_pending"
    )
    await breaker.open_breaker()
    assert await claimed(storage, kind) == []
    assert await storage.work.next_due(kind) is None
    await breaker.close_breaker()
    assert await storage.work.next_due(kind) == NOW
    assert await claimed(storage, kind) == [transfer_id]


@pytest.mark.parametrize(
    "scope",
    [
        EVERYTHING,
        scope_of_work("reversing"),
        scope_of_seller("anna"),
        scope_of_seller("anna", "reversing"),
    ],
)
async def test_paused_transfers_are_not_claimed_until_resumed(storage: Storage, scope: str) -> None:
    transfer_id = await due(storage.ledger, status="reversal_pending")
    resume = await paused(storage.ledger, scope)
    assert await claimed(storage, "reversing") == []
    assert await storage.work.next_due("reversing") is None
    await resume()
    assert await storage.work.next_due("reversing") == NOW
    assert await claimed(storage, "reversing") == [transfer_id]


@pytest.mark.parametrize(
    "scope",
    [
        scope_of_work("reversing"),
        scope_of_seller("ben"),
        scope_of_seller("anna", "reversing"),
        LOOK_UP_FIRST,
    ],
)
async def test_pause_stops_only_its_own_scope(storage: Storage, scope: str) -> None:
    transfer_id = await due(storage.ledger, seller="anna", status="pending")
    await due(storage.ledger, seller="ben", status="reversal_pending")
    await paused(storage.ledger, scope)
    assert await storage.work.next_due("transferring") == NOW
    assert await claimed(storage, "transferring") == [transfer_id]
