"""Guarantees of an append, and the changes that the database refuses."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from domain.errors import Conflict, ConstraintBroken, Unavailable
from infrastructure.postgres.event_store import EventStore, StoredFact
from infrastructure.postgres.inbox import PostgresInbox
from tests.infrastructure.postgres.conftest import Make, Person

OpenStore = Callable[..., AbstractAsyncContextManager[EventStore]]


async def positions(person: Person) -> list[int]:
    rows = await person.execute(
        "select notification_id from ledger_events order by notification_id"
    )
    return [row[0] for row in await rows.fetchall()]


async def transactions(person: Person) -> int:
    row = await (
        await person.execute("select count(distinct xmin::text) from ledger_events")
    ).fetchone()
    assert row
    return int(row[0])


async def test_waiting_appends_share_one_transaction(
    open_store: OpenStore, fact: Make, person: Person
) -> None:
    async with open_store(group_limit=64) as store:
        got = await asyncio.gather(*(store.append([fact()]) for _ in range(64)))
    assert got == list(range(1, 65))
    assert await transactions(person) == 1


async def test_append_group_is_limited_in_size(
    open_store: OpenStore, fact: Make, person: Person
) -> None:
    async with open_store(group_limit=16) as store:
        await asyncio.gather(*(store.append([fact()]) for _ in range(64)))
    assert await transactions(person) == 4


async def test_faulty_appends_of_group_fail_alone(
    open_store: OpenStore, fact: Make, transfer: Make, person: Person
) -> None:
    async with open_store(group_limit=64) as store:
        taken = fact()
        await store.append([taken])
        facts = [fact() for _ in range(64)]
        rows = [{"seller_transfers": [transfer(f.originator_id)]} for f in facts]
        facts[20] = taken
        rows[40]["seller_transfers"][0]["amount_reversed"] = 1201
        answers = await asyncio.gather(
            *(store.append([f], r) for f, r in zip(facts, rows, strict=True)),
            return_exceptions=True,
        )

    conflict, broken = answers.pop(20), answers.pop(39)
    assert isinstance(conflict, Conflict)
    assert conflict.taken == ((taken.originator_id, 1),)
    assert isinstance(broken, ConstraintBroken)
    assert broken.constraint == "reversals_never_exceed_the_transfer"
    assert sorted(answer for answer in answers if isinstance(answer, int)) == list(range(2, 64))
    assert await positions(person) == list(range(1, 64))


async def test_conflict_names_only_taken_versions(store: EventStore, fact: Make) -> None:
    stream, other = uuid4(), uuid4()
    await store.append([fact(stream, 1), fact(stream, 2)])
    with pytest.raises(Conflict) as caught:
        await store.append([fact(other, 1), fact(stream, 2), fact(stream, 3)])
    assert caught.value.taken == ((stream, 2),)
    assert await store.load([other]) == {}


async def test_equal_versions_in_one_group_store_once(store: EventStore, fact: Make) -> None:
    stream = uuid4()
    answers = await asyncio.gather(
        *(store.append([fact(stream, 1, b'{"by":%d}' % n)]) for n in range(5)),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [int, Conflict, Conflict, Conflict, Conflict]


async def test_append_may_follow_a_waiting_one(store: EventStore, fact: Make) -> None:
    stream = uuid4()
    got = await asyncio.gather(*(store.append([fact(stream, version)]) for version in range(1, 6)))
    assert got == [1, 2, 3, 4, 5]


async def test_append_fails_with_the_one_it_builds_on(
    store: EventStore, fact: Make, transfer: Make
) -> None:
    stream = uuid4()
    bad = {"seller_transfers": [transfer(stream, status="lost", next_retry_at=None)]}
    first, second = await asyncio.gather(
        store.append([fact(stream, 1)], bad),
        store.append([fact(stream, 2)]),
        return_exceptions=True,
    )
    assert isinstance(first, ConstraintBroken)
    assert first.constraint == "a_transfer_has_a_known_status"
    assert isinstance(second, ConstraintBroken)
    assert second.constraint == "every_version_has_a_predecessor"


async def test_append_stores_facts_and_rows_atomically(
    store: EventStore, fact: Make, transfer: Make, person: Person
) -> None:
    one, two = uuid4(), uuid4()
    with pytest.raises(ConstraintBroken):
        await store.append(
            [fact(one), fact(two)],
            {"seller_transfers": [transfer(one), transfer(two, next_retry_at=None)]},
        )
    assert await positions(person) == []
    assert await (await person.execute("select from seller_transfers")).fetchall() == []


@pytest.mark.parametrize("version", [0, -1, 2, 7])
async def test_stream_starts_at_1_without_gaps(store: EventStore, fact: Make, version: int) -> None:
    with pytest.raises(ConstraintBroken) as caught:
        await store.append([fact(uuid4(), version)])
    assert caught.value.constraint == (
        "every_version_has_a_predecessor" if version > 1 else "streams_start_at_version_1"
    )


async def test_gap_inside_append_is_refused(store: EventStore, fact: Make) -> None:
    stream = uuid4()
    await store.append([fact(stream, 1)])
    with pytest.raises(ConstraintBroken, match="v4 would leave a gap"):
        await store.append([fact(stream, 2), fact(stream, 4)])
    assert await store.append([fact(stream, 2), fact(stream, 3)]) == 3


async def test_unstorable_value_fails_alone(
    store: EventStore, fact: Make, transfer: Make, person: Person
) -> None:
    good = [fact() for _ in range(20)]
    nul, overflow, surrogate, not_json = (uuid4() for _ in range(4))
    answers = await asyncio.gather(
        *(store.append([f], {"seller_transfers": [transfer(f.originator_id)]}) for f in good[:10]),
        store.append([fact(nul)], {"seller_transfers": [transfer(nul, last_error="a\x00b")]}),
        store.append([fact(overflow)], {"seller_transfers": [transfer(overflow, amount=1 << 63)]}),
        store.append(
            [fact(surrogate)], {"seller_transfers": [transfer(surrogate, last_error="\ud800")]}
        ),
        store.append([fact(not_json, 1, b"\x80 not json")]),
        store.append([fact(uuid4(), 1, b'{"reason":"a\\u0000b"}')]),
        *(store.append([f]) for f in good[10:]),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers[10:15]] == [
        ConstraintBroken, ConstraintBroken, TypeError, ConstraintBroken, ConstraintBroken,
    ]  # fmt: skip
    assert all(isinstance(answer, int) for answer in answers[:10] + answers[15:])
    assert await positions(person) == list(range(1, 21))


@pytest.mark.parametrize(
    "state",
    [
        b"{}",
        b'{ "spaces" : [ 1 ,2 ] }',
        '{"é":"€ \\u00e9 \\ud83d\\ude00 \\/ 😀"}'.encode(),
        b'{"a":1.10,"a":2}',
    ],
)
async def test_state_is_stored_byte_by_byte(store: EventStore, fact: Make, state: bytes) -> None:
    stored = fact(uuid4(), 1, state)
    await store.append([stored])
    [recorded] = (await store.load([stored.originator_id]))[stored.originator_id]
    assert StoredFact(*recorded[:4]) == stored


async def test_cancelled_caller_withdraws_no_append(
    store: EventStore, fact: Make, person: Person
) -> None:
    calls = [asyncio.create_task(store.append([fact()])) for _ in range(200)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers[:2]] == [asyncio.CancelledError, int]
    await store.append([fact()])
    assert await positions(person) == list(range(1, 202))


async def test_closing_answers_all_waiting_appends(open_store: OpenStore, fact: Make) -> None:
    async with open_store(group_limit=4) as store:
        calls = [asyncio.create_task(store.append([fact()])) for _ in range(50)]
        await asyncio.sleep(0)
    assert [await call for call in calls] == list(range(1, 51))
    with pytest.raises(Unavailable, match="closed"):
        await store.append([fact()])


async def test_append_to_unknown_table_is_a_caller_error(store: EventStore) -> None:
    with pytest.raises(ValueError, match="no table seller_transfer;"):
        await store.append([], {"seller_transfer": []})


async def test_append_without_facts_stores_its_rows(
    store: EventStore, fact: Make, person: Person
) -> None:
    alarm = {"kind": "drift", "subject": "t1", "detail": "first", "raised_at": datetime.now(UTC)}
    await store.append([fact()])
    got = await asyncio.gather(
        store.append([], {"alarms": [alarm]}),
        store.append([fact()], {"alarms": [alarm | {"detail": "second"}]}),
    )
    assert list(got) == [1, 2]
    rows = await person.execute("select kind, subject, detail, cleared_at from alarms")
    assert await rows.fetchall() == [("drift", "t1", "second", None)]


async def test_append_never_changes_a_lease(
    store: EventStore, fact: Make, transfer: Make, person: Person
) -> None:
    stream = uuid4()
    await store.append([fact(stream)], {"seller_transfers": [transfer(stream)]})
    await person.execute("update seller_transfers set leased_by = 'worker-1', leased_until = now()")
    later = transfer(
        stream, status="completed", next_retry_at=None, version=2, stripe_transfer_id="tr_1"
    )
    await store.append([fact(stream, 2)], {"seller_transfers": [later]})
    rows = await person.execute(
        "select status, version, stripe_transfer_id, leased_by from seller_transfers"
    )
    assert await rows.fetchall() == [("completed", 2, "tr_1", "worker-1")]


async def test_row_columns_all_follow_their_facts(
    store: EventStore, fact: Make, transfer: Make, reversal: Make, person: Person
) -> None:
    """A column that the upsert forgets would stay as the first fact wrote it."""
    now, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    stream, reversed_by, order, refund = (uuid4() for _ in range(4))
    before = {
        "seller_transfers": [transfer(stream)],
        "transfer_reversals": [reversal(reversed_by, stream)],
        "orders": [{"order_id": "o", "stream_id": order, "currency": "EUR", "amount": 9,
        "refunded": 0,
                    "status": "open", "shares": [], "retry_count": 0, "version": 1,
                    "created_at": now,
                    "updated_at": now}],
        "refunds": [{"stream_id": refund, "refund_id": "r", "order_id": "o", "amount": 9,
        "currency": "EUR",
                     "status": "requested", "allocation": [], "retry_count": 0,
                     "next_retry_at": now, "version": 1,
                     "created_at": now, "updated_at": now}],
    }  # fmt: skip
    after = {
        "seller_transfers": [{
            "transfer_id": stream, "order_id": "o2", "seller_id": "s2", "destination": "d2",
            "cause": "c2", "amount": 2,
            "currency": "USD", "status": "failed", "amount_reversed": 1,
            "stripe_transfer_id": "tr_2",
            "stripe_reversal_id": "trr_2", "retry_count": 2, "next_retry_at": later,
            "waiting_for": "w2",
            "last_error": "e2", "refund_id": "r2", "transfer_group": "g2",
            "source_transaction": "ch_2", "version": 2,
            "created_at": later, "updated_at": later}],
        "transfer_reversals": [{
            "reversal_id": reversed_by, "transfer_id": uuid4(), "order_id": "o2",
            "seller_id": "s2", "refund_id": "r2",
            "amount": 2, "currency": "USD", "status": "reversed", "reason": "why2",
            "settled_by": "us",
            "stripe_reversal_id": "trr_2", "waiting_for": "w2", "created_at": later,
            "updated_at": later}],
        "orders": [{
            "order_id": "o", "stream_id": uuid4(), "currency": "USD", "amount": 8, "refunded": 2,
            "collected": 9,
            "status": "paid",
            "payment_id": "p2", "source_transaction": "ch_2", "shares": [{"seller_id": "s"}],
            "connector_payment": "pi_2", "last_error": "e2", "retry_count": 2,
            "next_retry_at": later,
            "version": 2,
            "created_at": later, "updated_at": later}],
        "refunds": [{
            "stream_id": refund, "refund_id": "r2", "psp_refund_id": "pr2", "order_id": "o2",
            "amount": 2,
            "currency": "USD", "status": "submitted", "reason": "why2",
            "allocation": [{"amount": 2}], "retry_count": 2,
            "next_retry_at": later,
            "last_error": "e2", "version": 2, "created_at": later, "updated_at": later}],
    }  # fmt: skip
    await store.append([fact(stream)], before)
    await store.append([fact(stream, 2)], after)
    for table, [expected] in after.items():
        cursor = await person.execute(f"select * from {table}".encode())
        names = [column.name for column in cursor.description or ()]
        row = dict(zip(names, await cursor.fetchone() or (), strict=True))
        leases = (
            {"leased_by": None, "leased_until": None}
            if table in ("seller_transfers", "refunds", "orders")
            else {}
        )
        assert row == expected | leases


@pytest.mark.parametrize("next_first", [True, False])
async def test_append_may_end_one_reversal_and_start_next(
    store: EventStore, fact: Make, reversal: Make, next_first: bool
) -> None:
    stream, ended, started = uuid4(), uuid4(), uuid4()
    await store.append([fact(stream)], {"transfer_reversals": [reversal(ended, stream)]})
    rows = [reversal(ended, stream, status="reversed"), reversal(started, stream)]
    rows.sort(key=lambda row: row["status"] == "requested", reverse=next_first)
    assert await store.append([fact(stream, 2)], {"transfer_reversals": rows}) == 2


async def test_transfer_has_one_reversal_in_flight(
    store: EventStore, fact: Make, reversal: Make
) -> None:
    stream = uuid4()
    with pytest.raises(ConstraintBroken) as caught:
        await store.append(
            [fact(stream)],
            {"transfer_reversals": [reversal(uuid4(), stream), reversal(uuid4(), stream)]},
        )
    assert caught.value.constraint == "one_reversal_in_flight_per_transfer"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"status": "paid", "next_retry_at": None}, "a_transfer_has_a_known_status"),
        ({"amount": -1}, "a_transfer_is_never_negative"),
        ({"amount_reversed": -1}, "reversals_never_exceed_the_transfer"),
        ({"amount_reversed": 1201}, "reversals_never_exceed_the_transfer"),
        ({"retry_count": -1}, "retries_are_counted_from_zero"),
        ({"next_retry_at": None}, "an_unsent_transfer_is_due_or_says_what_it_waits_for"),
        ({"status": "failed", "next_retry_at": None}, "an_unsent_transfer_is_due_or_says_what_it_waits_for"),
        ({"status": "reversal_pending", "next_retry_at": None}, "chk_reversal_pending_has_next_retry_at"),
        ({"status": "completed"}, "a_settled_transfer_waits_for_nothing"),
        ({"status": "partially_reversed", "next_retry_at": None, "waiting_for": "rain"},
         "a_settled_transfer_waits_for_nothing"),
        ({"status": "reversed"}, "a_final_status_has_no_next_retry"),
        ({"status": "permanently_failed"}, "a_final_status_has_no_next_retry"),
        ({"status": "cancelled"}, "a_final_status_has_no_next_retry"),
    ],
)  # fmt: skip
async def test_database_enforces_transfer_rules(
    store: EventStore, fact: Make, transfer: Make, changes: dict[str, object], rule: str
) -> None:
    stream = uuid4()
    with pytest.raises(ConstraintBroken) as caught:
        await store.append([fact(stream)], {"seller_transfers": [transfer(stream, **changes)]})
    assert caught.value.constraint == rule


@pytest.mark.parametrize("column", ["stripe_transfer_id", "stripe_reversal_id"])
async def test_stripe_object_belongs_to_one_transfer(
    store: EventStore, fact: Make, transfer: Make, column: str
) -> None:
    async def append(name: str | None) -> int:
        stream = uuid4()
        return await store.append(
            [fact(stream)], {"seller_transfers": [transfer(stream, **{column: name})]}
        )

    for name in (None, None, "", "", "tr_1"):
        await append(name)
    with pytest.raises(ConstraintBroken) as caught:
        await append("tr_1")
    assert caught.value.constraint == column.replace("_id", "").replace(
        "stripe", "one_transfer_per_stripe"
    )


async def test_locked_row_delays_only_its_own_append(
    store: EventStore, fact: Make, transfer: Make, person: Person
) -> None:
    held = uuid4()
    await store.append([fact(held)], {"seller_transfers": [transfer(held)]})
    async with person.transaction():
        await person.execute("select from seller_transfers for update")
        answers = await asyncio.gather(
            *(store.append([fact()]) for _ in range(8)),
            store.append([fact(held, 2)], {"seller_transfers": [transfer(held, version=2)]}),
            *(store.append([fact()]) for _ in range(8)),
            return_exceptions=True,
        )
    refused = answers.pop(8)
    assert isinstance(refused, Unavailable)
    assert not refused.in_doubt
    assert all(isinstance(answer, int) for answer in answers)
    assert await store.append([fact(held, 2)], {"seller_transfers": [transfer(held, version=2)]})


@pytest.mark.parametrize(
    "statement",
    [
        "insert into ledger_events select gen_random_uuid(), 1, 't', '{}', 99, sha256('')",
        "insert into ledger_events select * from ledger_events where false",
        "update ledger_events set state = '{}'",
        "delete from ledger_events",
        "truncate ledger_events",
    ],
)
async def test_table_owner_cannot_write_history_directly(
    store: EventStore, fact: Make, person: Person, statement: str
) -> None:
    await store.append([fact()])
    with pytest.raises(psycopg.Error) as caught:
        await person.execute(statement.encode())
    assert caught.value.sqlstate == "LG003"
    assert await positions(person) == [1]


async def test_append_leaves_no_write_permission_behind(person: Person) -> None:
    async with person.transaction():
        one = '[{"id":"00000000-0000-0000-0000-000000000001","version":1,"topic":"t","state":{}}]'
        await person.execute("select ledger_append(%s, '{}')", (one,))
        with pytest.raises(psycopg.Error) as caught:
            async with person.transaction():
                await person.execute(
                    "insert into ledger_events select gen_random_uuid(), 1, 't', '{}', 99, "
                    "sha256('')"
                )
    assert caught.value.sqlstate == "LG003"


async def test_application_role_cannot_write_history(person: Person) -> None:
    rows = await person.execute("select grantee from information_schema.role_table_grants "
                                "where table_name = 'ledger_events' and grantee = 'PUBLIC'")  # fmt: skip
    assert await rows.fetchall() == []


async def test_stored_facts_are_read_back(store: EventStore, fact: Make) -> None:
    one, two, none = uuid4(), uuid4(), uuid4()
    await store.append([fact(one, 1), fact(two, 1)])
    await store.append([fact(one, 2)])
    await store.append([fact(two, 2), fact(one, 3)])
    loaded = await store.load([two, one, none])
    assert {
        stream: [(r.originator_version, r.position) for r in facts]
        for stream, facts in loaded.items()
    } == {
        one: [(1, 1), (2, 3), (3, 5)],
        two: [(1, 2), (2, 4)],
    }
    assert [r.position for r in await store.feed(after=1, limit=3)] == [2, 3, 4]
    assert await store.head() == 5
    assert await store.load([]) == {}


async def test_handled_webhook_is_done_with_its_facts(
    store: EventStore, fact: Make, inbox: PostgresInbox, person: Person
) -> None:
    for name in ("e1", "e2", "e3"):
        await inbox.put("stripe", name, "transfer.created", b"{}", datetime.now(UTC))
    claim = await inbox.claim("worker-1", 10, timedelta(seconds=10))
    one, two, three = (event.inbox_id for event in claim.events)
    await asyncio.gather(
        store.append(
            [fact(), fact()],
            {"webhook_inbox": [{"inbox_id": one, "status": "done", "reason": "paid"}]},
        ),
        store.append([fact()], {"webhook_inbox": [{"inbox_id": two, "status": "done"}]}),
        store.append(
            [], {"webhook_inbox": [{"inbox_id": three, "status": "ignored", "reason": "not ours"}]}
        ),
    )
    rows = await person.execute(
        "select event_id, status, reason, position, due_at, leased_by, handled_at is not null "
        "from webhook_inbox order by event_id"
    )
    assert await rows.fetchall() == [
        ("e1", "done", "paid", 2, None, None, True),
        ("e2", "done", None, 3, None, None, True),
        ("e3", "ignored", "not ours", None, None, None, True),
    ]


async def test_webhook_with_refused_facts_is_not_done(
    store: EventStore, fact: Make, inbox: PostgresInbox, person: Person
) -> None:
    await inbox.put("stripe", "e1", "transfer.created", b"{}", datetime.now(UTC))
    [event] = (await inbox.claim("worker-1", 10, timedelta(seconds=10))).events
    taken: StoredFact = fact()
    await store.append([taken])
    with pytest.raises(Conflict):
        await store.append(
            [taken], {"webhook_inbox": [{"inbox_id": event.inbox_id, "status": "done"}]}
        )
    rows = await person.execute("select status, position from webhook_inbox")
    assert await rows.fetchall() == [("stored", None)]


async def test_append_releases_webhooks_waiting_for_it(
    store: EventStore, fact: Make, inbox: PostgresInbox, person: Person
) -> None:
    for name in ("e1", "e2"):
        await inbox.put("stripe", name, "transfer.created", b"{}", datetime.now(UTC))
    for event in (await inbox.claim("worker-1", 10, timedelta(seconds=10))).events:
        await inbox.park(
            event.inbox_id, f"order of {event.event_id}", None, "the order is not known yet"
        )
    assert (await inbox.claim("worker-1", 10, timedelta(seconds=10))).events == []
    await store.append([fact()], {"released": [{"subject": "order of e2"}]})
    [event] = (await inbox.claim("worker-1", 10, timedelta(seconds=10))).events
    assert (event.event_id, event.status, event.subject) == ("e2", "parked", "order of e2")
