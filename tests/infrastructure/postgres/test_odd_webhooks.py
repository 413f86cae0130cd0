"""Webhooks with absurd names, and facts of a newer release: each webhook ends, and none hinders
another."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import orjson
import pytest

from application.command_handler import CommandHandler
from application.commands.refunds import RefundReport
from application.ports import Inbox as InboxPort
from application.webhooks.handler import EventHandler, Ignored, StoredEvent, WebhookHandler
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from application.webhooks.inbox_worker import MAX_ATTEMPTS, InboxLoop
from application.webhooks.retention import RetentionLoop
from application.webhooks.stripe.account_pauses import AccountPauses
from application.webhooks.stripe.accounts import StripeAccounts
from application.webhooks.stripe.event_object import StripeObjects
from domain.errors import NewerRelease
from domain.identity import order_stream
from infrastructure.bootstrap import stored
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.event_store import StoredFact
from infrastructure.postgres.inbox import InboxRow, PostgresInbox
from infrastructure.postgres.integrity.verify import verify
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.read_side.as_of import AsOfQueries
from infrastructure.postgres.read_side.audit_trail import AuditTrail
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.postgres.texts import LONGEST, storable
from infrastructure.service import Storage
from infrastructure.settings import Settings
from tests.support.database_edits import quiet

NO_READS = StripeObjects(None)  # type: ignore[arg-type]  # the events carry their objects
GIFT = "ledger.order.gift_noted"


class Inbox:
    """The inbox of one ledger and its worker, whose every turn handles all that waits."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        directory = PostgresDirectory(storage.pool)
        handlers = HyperswitchPaymentsRefunds(storage.commands, directory).handlers()
        commands = CommandHandler(PostgresEventLog(storage.store), storage.clock)
        pauses = AccountPauses(commands, directory)
        accounts = StripeAccounts(pauses, directory, NO_READS).handlers()
        self.works_with(WebhookHandler(hyperswitch=handlers, stripe=accounts))

    def works_with(self, handler: WebhookHandler, inbox: InboxPort | None = None) -> None:
        self.loop = InboxLoop(
            inbox or self.storage.inbox,
            handler,
            self.storage.alarms,
            self.storage.clock,
            parked_deadline=timedelta(hours=1),
        )

    async def gets(
        self, provider: str, event_id: str, event_type: str, content: Mapping[str, object]
    ) -> None:
        if provider == "hyperswitch":
            shown: object = {"object": content}
            event = {"event_id": event_id, "event_type": event_type, "content": shown}
        else:
            event = {"id": event_id, "type": event_type, "data": {"object": content}}
            if "account" in content:  # the connected account that sends the event
                event["account"] = content["account"]
        body, now = json.dumps(event).encode(), self.storage.clock.now()
        await self.storage.inbox.put(provider, event_id, event_type, body, now)

    async def is_worked_on(self, turns: int = 1) -> None:
        for _ in range(turns):
            await self._all_due()
            await self.loop.turn()
            await self.loop.drain()

    async def row(self, event_id: str) -> InboxRow:
        (row,) = [one for one in await self.storage.inbox.newest() if one.event_id == event_id]
        return row

    async def alarms(self) -> list[tuple[str, str]]:
        return [(one.kind, one.subject) for one in await self.storage.alarms.raised()]

    async def _all_due(self) -> None:
        async with self.storage.pool.connection() as connection:
            await connection.execute(
                "update webhook_inbox set due_at = now() where status in ('stored', 'parked')"
            )


@pytest.fixture
async def inbox(database_url: str) -> AsyncIterator[Inbox]:
    async with stored(Settings(database_url=database_url)) as storage:
        yield Inbox(storage)


def a_refund(**members: object) -> dict[str, object]:
    refund = {"refund_id": "r1", "payment_id": "pay_1", "amount": 500, "currency": "EUR"}
    return {**refund, "status": "succeeded", **members}


# --- absurd names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["x" * 5_000, "a\x00b", "\x00" * 3_000], ids=["long", "NUL", "NULs"]
)
async def test_absurd_order_id_is_no_name_of_an_order(inbox: Inbox, name: str) -> None:
    await inbox.gets("hyperswitch", "e1", "refund_succeeded", a_refund(metadata={"order_id": name}))
    await inbox.is_worked_on()
    row = await inbox.row("e1")
    assert (row.status, row.subject, row.attempts) == ("parked", "payment:pay_1", 0)


@pytest.mark.parametrize("member", ["payment_id", "refund_id"])
@pytest.mark.parametrize("name", ["x" * 5_000, "a\x00b"], ids=["long", "NUL"])
async def test_absurd_id_parks_its_webhook_with_an_alarm(
    inbox: Inbox, member: str, name: str
) -> None:
    await inbox.gets("hyperswitch", "e1", "refund_succeeded", a_refund(**{member: name}))
    await inbox.is_worked_on()
    assert (await inbox.row("e1")).status == "parked"
    assert await inbox.alarms() == [("webhook_unreadable", "hyperswitch:e1")]


async def test_poisoned_webhook_takes_no_neighbour_along(inbox: Inbox) -> None:
    for number in range(13):
        await inbox.gets("stripe", f"good{number}", "charge.refunded", {})
    odd = {"id": "card\x00payments", "account": "acct_1", "status": "active"}
    await inbox.gets("stripe", "bad", "capability.updated", odd)
    await inbox.is_worked_on()
    assert {(await inbox.row(f"good{number}")).status for number in range(13)} == {"ignored"}
    assert (await inbox.row("bad")).status == "parked"
    assert await inbox.alarms() == [("webhook_unreadable", "stripe:bad")]


class RefusingInbox:
    """An inbox that refuses to close an event for one reason, however often."""

    def __init__(self, inbox: PostgresInbox, reason: str) -> None:
        self._inbox, self._reason = inbox, reason
        self.claim, self.park, self.bury = inbox.claim, inbox.park, inbox.bury
        self.retry_later, self.next_due = inbox.retry_later, inbox.next_due

    async def ignore(self, reasons: Mapping[int, str]) -> None:
        if self._reason in reasons.values():
            raise ValueError("this text cannot be stored")
        await self._inbox.ignore(reasons)


async def test_webhook_that_cannot_be_closed_ends_dead(inbox: Inbox) -> None:
    async def ignore(event: StoredEvent) -> Ignored:
        return Ignored("poison" if event.event_id == "bad" else "no concern")

    handlers: Mapping[str, EventHandler] = {"transfer.updated": ignore}
    inbox.works_with(WebhookHandler(stripe=handlers), RefusingInbox(inbox.storage.inbox, "poison"))
    for name in ("one", "bad", "two"):
        await inbox.gets("stripe", name, "transfer.updated", {})
    await inbox.is_worked_on()
    assert [(await inbox.row(name)).status for name in ("one", "bad", "two")] == [
        "ignored",
        "stored",
        "ignored",
    ]
    assert (await inbox.row("bad")).attempts == 1
    await inbox.is_worked_on(MAX_ATTEMPTS)
    assert (await inbox.row("bad")).status == "dead"
    assert await inbox.alarms() == [("webhook_dead", "stripe:bad")]


async def test_unreadable_webhook_is_dead_until_it_is_discarded(inbox: Inbox) -> None:
    now = inbox.storage.clock.now()
    await inbox.storage.inbox.put("stripe", "sha256:1", "unreadable", b"\x00no json", now)
    await inbox.is_worked_on()
    row = await inbox.row("sha256:1")
    assert (row.status, await inbox.alarms()) == (
        "dead",
        [("webhook_unreadable", "stripe:sha256:1")],
    )
    await inbox.storage.commands.inbox.discard(row.inbox_id, "mia", "a test of the sender")
    assert ((await inbox.row("sha256:1")).status, await inbox.alarms()) == ("discarded", [])


def test_storable_text_keeps_different_texts_different() -> None:
    long, other = "x" * 5_000, "x" * 4_999 + "y"
    assert len(storable(long)) == LONGEST
    assert storable(long) != storable(other)
    assert storable("short") == "short"
    assert storable("a\x00\ud800b") == "a\ufffd?b"


# --- retention ------------------------------------------------------------------------------------


async def test_old_bodies_are_emptied_and_rows_stay(inbox: Inbox, database_url: str) -> None:
    for name in ("old", "young", "open"):
        await inbox.gets("hyperswitch" if name == "open" else "stripe", name, "x", {})
    await inbox.is_worked_on()
    async with inbox.storage.pool.connection() as connection:
        await connection.execute(
            "update webhook_inbox set handled_at = now() - interval '91 days' where event_id = 'old'"
        )
        await connection.execute(
            "update webhook_inbox set status = 'parked', subject = 's', handled_at = null "
            "where event_id = 'open'"
        )
    await RetentionLoop(inbox.storage.inbox, timedelta(days=90)).turn()
    bodies = {
        name: await inbox.storage.inbox.body((await inbox.row(name)).inbox_id)
        for name in ("old", "young", "open")
    }
    assert bodies["old"] == b""
    assert bodies["young"]
    assert bodies["open"]
    await inbox.gets("stripe", "old", "x", {"again": True})
    assert (await inbox.row("old")).status == "ignored", "a duplicate"
    assert not await inbox.storage.inbox.replay((await inbox.row("old")).inbox_id)
    assert (await asyncio.to_thread(verify, database_url, [], None, quiet)).findings == []


async def test_body_of_one_closed_webhook_is_erased(inbox: Inbox) -> None:
    for name, content in (("closed", {}), ("open", a_refund())):
        await inbox.gets("hyperswitch", name, "refund_succeeded" if content else "x", content)
    await inbox.is_worked_on()
    ids = {name: (await inbox.row(name)).inbox_id for name in ("closed", "open")}
    erased = {name: await inbox.storage.inbox.erase(ids[name]) for name in ids}
    assert erased == {"closed": True, "open": False}
    assert await inbox.storage.inbox.body(ids["closed"]) == b""
    assert await inbox.storage.inbox.body(ids["open"])


# --- a newer release ------------------------------------------------------------------------------


async def with_a_newer_fact(storage: Storage) -> None:
    """Register and pay an order, and append a fact that this release does not know."""
    await storage.commands.orders.register(
        order_id="k",
        currency="EUR",
        amount=1_000,
        shares=[{"seller_id": "a", "destination": "acct_a", "amount": 900}],
        payment_id="pay_1",
    )
    await storage.commands.orders.record_payment("k", "pay_1", None, "api")
    stream = order_stream("k")
    version = len((await storage.store.load([stream]))[stream]) + 1
    at = {"_type_": "datetime_iso", "_data_": storage.clock.now().isoformat()}
    state = orjson.dumps({"timestamp": at, "note": "gift"})
    await storage.store.append([StoredFact(stream, version, GIFT, state)])


async def test_webhook_about_a_newer_fact_waits_without_attempts(inbox: Inbox) -> None:
    await with_a_newer_fact(inbox.storage)
    await inbox.gets("hyperswitch", "e1", "refund_succeeded", a_refund())
    await inbox.gets("hyperswitch", "e2", "payment_processing", {})
    await inbox.is_worked_on(2 * MAX_ATTEMPTS)
    row = await inbox.row("e1")
    assert (row.status, row.attempts) == ("stored", 0)
    assert row.reason is not None
    assert GIFT in row.reason
    assert (await inbox.row("e2")).status == "ignored"
    assert await inbox.alarms() == [("newer_release", "ledger")]


async def test_feed_and_history_show_a_newer_fact_as_it_is(inbox: Inbox) -> None:
    await with_a_newer_fact(inbox.storage)
    reader = FactReader(inbox.storage.store)
    trail = await AuditTrail(AsOfQueries(inbox.storage.pool, reader), reader).of_order("k")
    told = trail[-1]
    assert (told.fact, told.payload, told.by) == ("GiftNoted", {"note": "gift"}, "unknown")
    assert told.sentence == (
        f"A newer release recorded {GIFT}; this release does not know its meaning."
    )


async def test_command_about_a_newer_fact_says_one_sentence(inbox: Inbox) -> None:
    await with_a_newer_fact(inbox.storage)
    report = RefundReport("r1", "k", 500, "EUR", "api")
    with pytest.raises(NewerRelease, match=r"deploy that release or a later one"):
        await inbox.storage.commands.refunds.succeeded(report)
