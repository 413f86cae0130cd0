"""Pauses by Stripe's account events, handled concurrently and late."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from application.command_handler import CommandHandler
from application.commands import commands_on
from application.webhooks.handler import DONE, StoredEvent
from application.webhooks.stripe.account_pauses import AccountPauses
from application.webhooks.stripe.accounts import StripeAccounts
from application.webhooks.stripe.event_object import StripeObjects
from domain.identity import pause_stream
from domain.pause import scope_of_seller
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory

LEASE = timedelta(seconds=10)


class OneSellerDirectory:
    """A directory with one seller for every account, none of whose transfers waits."""

    async def sellers_of(self, account: str) -> list[str]:
        return ["anna"]

    async def waiting(self, *_: object) -> list[UUID]:
        return []


class FakeStripe:
    """An account whose capability changes. `meanwhile` runs after the account is read and before
    the answer is used."""

    def __init__(self) -> None:
        self.transfers = "inactive"
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def get_object(self, path: str, account: str | None = None) -> dict[str, object]:
        shown: dict[str, object] = {"id": "acct_1", "capabilities": {"transfers": self.transfers}}
        if self.meanwhile is not None:
            turn, self.meanwhile = self.meanwhile, None
            await turn()
        return shown


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with in_memory() as storage:
        yield storage


async def test_pause_stored_after_its_end_is_ended(storage: Storage) -> None:
    """Two concurrent events: the first has read that the account is not ready, and the second is
    handled before the first acts."""
    stripe, directory = FakeStripe(), OneSellerDirectory()
    work = AccountPauses(CommandHandler(storage.ledger, DatabaseClock()), directory)  # type: ignore[arg-type]
    updated = StripeAccounts(work, directory, StripeObjects(stripe)).handlers()["account.updated"]  # type: ignore[arg-type]

    async def hears(event_id: str, transfers: str) -> None:
        carried = {"object": {"id": "acct_1", "capabilities": {"transfers": transfers}}}
        body = json.dumps(
            {"id": event_id, "type": "account.updated", "account": "acct_1", "data": carried}
        ).encode()
        await storage.inbox.put("stripe", event_id, "account.updated", body, await storage.now())
        (claimed,) = (await storage.inbox.claim("w", 1, LEASE)).events
        assert (
            await updated(
                StoredEvent(claimed.inbox_id, "stripe", event_id, "account.updated", body)
            )
            == DONE
        )

    async def turns() -> None:
        stripe.transfers = "active"
        await hears("evt_2", "active")

    stripe.meanwhile = turns
    await hears("evt_1", "inactive")
    assert not await is_held(storage)


async def test_resumed_seller_ends_stripes_pause_too(storage: Storage) -> None:
    commands = commands_on(storage.ledger, OneSellerDirectory(), DatabaseClock())  # type: ignore[arg-type]
    work = AccountPauses(CommandHandler(storage.ledger, DatabaseClock()), OneSellerDirectory())  # type: ignore[arg-type]
    await work.pause(["anna"], "acct_1", "it is inactive", "stripe:evt_1")
    assert await is_held(storage)
    assert await commands.operator.resume(
        scope_of_seller("anna"), "mia", "Stripe says it is a mistake"
    )
    assert not await is_held(storage)
    assert not await commands.operator.resume(scope_of_seller("anna"), "mia", "again")


async def is_held(storage: Storage) -> bool:
    scope = scope_of_seller("anna", "transferring")
    pause = (await storage.ledger.load([pause_stream(scope)])).pause(scope)
    return pause is not None and pause.paused
