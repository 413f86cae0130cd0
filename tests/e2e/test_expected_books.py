"""The check of the books: it finds every planted disagreement."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView
from tests.support.postgres_books import disagreements
from tests.support.service import OFF, SystemUnderTest, account

pytestmark = pytest.mark.usefixtures("kindness")

Damage = Callable[[SystemUnderTest], Awaitable[object]]


@pytest.fixture
async def true_books(
    settings: Settings, view: LedgerView, stripe: SimulatorControl
) -> SystemUnderTest:
    """Make one order that was partly refunded, one that is paid, one whose reversal is due."""
    system = SystemUnderTest(settings, view, stripe)
    async with system.at_work() as caller:
        await system.paid(caller, "refunded", 1_000, anna=900, bert=50)
        await system.paid(caller, "paid")
        await system.paid(caller, "due")
        await caller.refund("r1", "refunded", 500)
        await view.reached("refunded", "partially_reversed", "partially_reversed")
    async with system.at_work(reversals=OFF) as caller:
        await caller.refund("r2", "due", 1_000)
    assert await disagreements(stripe, view.pool) == []
    return system


def sql(statement: str) -> Damage:
    async def damage(system: SystemUnderTest) -> object:
        async with system.view.pool.connection() as connection:
            return await connection.execute(statement.encode())

    return damage


async def paid_again(system: SystemUnderTest) -> object:
    row = await system.view.transfer("paid")
    return await system.stripe.external_transfer(
        row.destination, row.amount, "eur", metadata={"transfer_id": str(row.transfer_id)}
    )


async def reversed_again(system: SystemUnderTest) -> object:
    (theirs, *_) = await held(system)
    (reversal,) = theirs["reversals"]
    return await system.stripe.external_reversal(theirs["id"], 10, metadata=reversal["metadata"])


async def reversed_behind_our_back(system: SystemUnderTest) -> object:
    return await system.stripe.external_reversal((await held(system))[0]["id"], 1)


async def paid_for_nobody(system: SystemUnderTest) -> object:
    return await system.stripe.external_transfer(
        account("carl"), 5, "eur", metadata={"transfer_id": str(UUID(int=17))}
    )


async def forgotten(system: SystemUnderTest) -> object:
    await system.stripe.reset()
    return None


async def held(system: SystemUnderTest) -> list[Json]:
    transfers: list[Json] = (await system.stripe.ledger())["transfers"]
    return transfers


async def taken_without_a_refund(system: SystemUnderTest) -> object:
    """By facts, rows and Stripe alike, which agree with each other: only the order and its refunds
    say otherwise."""
    theirs = await system.at_stripe("old")
    await system.stripe.external_reversal(theirs, 100)
    columns = {"status": "partially_reversed", "stripe_transfer_id": theirs, "amount_reversed": 100}
    return await system.take_over("old", with_order=True, **columns)


OPEN_THE_DOOR = "alter table ledger_events disable trigger history_only_grows;"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "a row that its facts do not tell": (sql("update seller_transfers set amount_reversed = 1"),
    "its facts fold to"),
    "a row that is gone": (sql("delete from refunds where refund_id = 'r1'"), "refunds: row"),
    "a row nobody asked for": (
        sql("insert into orders (order_id, stream_id, currency, amount, refunded, status, shares, version, created_at, updated_at) "
            "select 'more', gen_random_uuid(), currency, amount, 0, 'open', '[]', 1, now(), now() from orders limit 1"),
        "orders: row more",
    ),
    "a fact that was changed": (
        sql(OPEN_THE_DOOR + (
            "update ledger_events set topic = topic, state = state || ' '::bytea where "
            "notification_id = 3"
        )),
        "chain: position 3",
    ),
    "a fact that was cut out": (sql(OPEN_THE_DOOR + "delete from ledger_events where notification_id = 4"),
    "chain: position 5"),
    "the newest facts cut off": (
        sql(OPEN_THE_DOOR + (
            "delete from ledger_events where notification_id = (select max(notification_id) from "
            "ledger_events)"
        )),
        "its facts fold to",
    ),
    "a seller paid twice": (paid_again, "Stripe holds 2 objects for transfer"),
    "a refund reversed twice": (reversed_again, "Stripe holds 2 objects for refund"),
    "money taken behind our back": (reversed_behind_our_back, "reversed here"),
    "money taken without a refund": (taken_without_a_refund, "seller anna has 800, but 900 is left"),
    "money sent for nobody": (paid_for_nobody, "which we do not know"),
    "a Stripe that knows nothing": (forgotten, "and [] at Stripe"),
    "a webhook that nobody handled": (
        sql("insert into webhook_inbox (provider, event_id, event_type, body, received_at, due_at) "
            "values ('stripe', 'evt_1', 'transfer.created', '', now(), now())"),
        "inbox: 1 webhooks are stored",
    ),
    "a reversal that is never due": (
        sql("alter table seller_transfers drop constraint chk_reversal_pending_has_next_retry_at;"
            "update seller_transfers set next_retry_at = null where status = 'reversal_pending'"),
        "reversal_pending without next_retry_at",
    ),
    "a settled row that waits": (
        sql("alter table seller_transfers drop constraint a_settled_transfer_waits_for_nothing;"
            "update seller_transfers set waiting_for = 'funds' where status = 'completed'"),
        "still waits for funds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
async def test_planted_disagreement_of_books_is_found(
    true_books: SystemUnderTest, damage: str
) -> None:
    inflict, expected = DAMAGES[damage]
    await inflict(true_books)
    found = await disagreements(true_books.stripe, true_books.view.pool)
    assert any(expected in sentence for sentence in found), found
