"""Random histories with a restore: a backup is taken at a random instant, the ledger goes on, is lost,
and starts again from the backup with `--look-up-first`, behind a Stripe that has moved on.

The reports of the marketplace are sent again in any order, of a refund only its last status. Stripe's
events may come as well, and the mode ends. At the end each seller has exactly the share minus the
target, and Stripe holds nothing that the ledger does not know. More seeds: LEDGER_SEEDS=100.
"""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import suppress
from copy import deepcopy
from typing import NamedTuple

import orjson
import pytest

from domain.errors import Refused
from domain.pause import LOOK_UP_FIRST
from domain.seller_transfer.opening_facts import LONG_AGO
from infrastructure.postgres.ledger import FactCodec
from infrastructure.simulation.fleet import Fleet
from infrastructure.simulation.in_memory.database import MemoryDatabase
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.virtual_time import now, run
from tests.simulation.test_histories import seeds
from tests.support.book_comparison import books_agree
from tests.support.json_types import Json
from tests.support.marketplace import Marketplace

SELLERS = ("anna", "ben")
ORDERS = 6
HOUR, SPAN = 3_600.0, 240.0
"""Virtual seconds: an hour, and the time in which all reports come."""
CHECKS, BETWEEN = 200, 5.0
"""Number of checks whether everything has settled, and the virtual seconds between two."""


class Refund(NamedTuple):
    name: str
    amount: int
    turns: tuple[str, ...]
    """The statuses that the PSP reports, one after the other."""

    @property
    def effective(self) -> bool:
        return self.turns[-1] == "succeeded"


class Order(NamedTuple):
    order_id: str
    amount: int
    shares: dict[str, int]
    refunds: list[Refund]

    def net(self, seller: str) -> int:
        """Return what the seller keeps, by the plainest formula."""
        refunded = sum(refund.amount for refund in self.refunds if refund.effective)
        return self.shares[seller] - self.shares[seller] * refunded // self.amount


class LostLedger:
    """One history with a restore, drawn from its seed."""

    def __init__(self, seed: int, stripe: VirtualStripe) -> None:
        self._chance, self._stripe = random.Random(f"restore {seed}"), stripe
        self.orders = [self._drawn(f"o{number}") for number in range(ORDERS)]
        self.backup: MemoryDatabase | None = None
        self._seed = seed

    def _drawn(self, order_id: str) -> Order:
        chance, left = self._chance, 1_000
        refunds = list[Refund]()
        for number in range(chance.randint(0, 3)):
            amount = chance.choice([left, chance.randint(1, left)])
            turns = chance.choice(
                [
                    ("succeeded",),
                    ("succeeded",),
                    ("succeeded", "failed"),
                    ("failed",),
                ]
            )
            refunds.append(Refund(f"{order_id}-r{number}", amount, turns))
            left -= amount
            if left < 1:
                break
        shares = {seller: chance.randint(1, 500) for seller in SELLERS}
        return Order(order_id, 1_000, shares, refunds)

    # --- before the loss --------------------------------------------------------------------------

    async def before(self, fleet: Fleet) -> None:
        market = Marketplace(fleet)
        stories = [self._story(order, market) for order in self.orders]
        await asyncio.gather(self._back_up(fleet.database), *stories)
        if self._chance.random() < 0.7:
            await settled(fleet, "everything settles before the loss")

    async def _back_up(self, database: MemoryDatabase) -> None:
        await asyncio.sleep(self._chance.uniform(0, SPAN))
        self.backup = copied(database)

    async def _story(self, order: Order, market: Marketplace) -> None:
        await self._later(market.order(order.order_id, order.amount, **order.shares))
        payment = self._later(market.payment_webhook(order.order_id, order.amount))
        await asyncio.gather(payment, *(self._refund(order, one, market) for one in order.refunds))

    async def _refund(self, order: Order, refund: Refund, market: Marketplace) -> None:
        for turn in refund.turns:
            await self._later(
                market.refund_webhook(f"refund_{turn}", refund.name, order.order_id, refund.amount)
            )

    async def _later(self, said: Awaitable[None], most: float = SPAN / 3) -> None:
        await asyncio.sleep(self._chance.uniform(0, most))
        await said

    # --- after the restore ------------------------------------------------------------------------

    async def after(self, fleet: Fleet) -> None:
        market = Marketplace(fleet, first_event=1_000)
        said = [self._again(order, market) for order in self.orders]
        if self._chance.random() < 0.5:
            said += [self._later(self._events(fleet))]
        await asyncio.gather(*said)
        await settled(fleet, "everything settles after the restore")
        await self._events(fleet)
        await settled(fleet, "Stripe's events settle")
        await fleet.commands.operator.resume(LOOK_UP_FIRST, "mia", "reconciled")
        await self._refund_the_rest(market)
        await settled(fleet, "the last refunds settle")

    async def _again(self, order: Order, market: Marketplace) -> None:
        """Report the order again, and each refund by its last status."""
        with suppress(Refused):
            await self._later(market.order(order.order_id, order.amount, **order.shares))
        said = [self._later(market.payment_webhook(order.order_id, order.amount))]
        for refund in order.refunds:
            event_type = f"refund_{refund.turns[-1]}"
            said.append(
                self._later(
                    market.refund_webhook(event_type, refund.name, order.order_id, refund.amount)
                )
            )
        await asyncio.gather(*said)

    async def _events(self, fleet: Fleet) -> None:
        """Deliver Stripe's events, as the poller finds them, in any order."""
        held = list(self._stripe.transfers)
        events = [("transfer.created", one) for one in held]
        events += [("transfer.reversed", one) for one in held if one["amount_reversed"]]
        self._chance.shuffle(events)
        for event_type, shown in events:
            event_id = f"evt_{self._chance.getrandbits(64):x}"
            await fleet.inbox.put("stripe", event_id, event_type, event(event_type, shown), now())

    async def _refund_the_rest(self, market: Marketplace) -> None:
        """Refund all that is left of some orders, after the mode."""
        for order in self.orders:
            left = order.amount - sum(one.amount for one in order.refunds if one.effective)
            if left and self._chance.random() < 0.5:
                rest = Refund(f"{order.order_id}-rest", left, ("succeeded",))
                order.refunds.append(rest)
                await market.refund_webhook("refund_succeeded", rest.name, order.order_id, left)

    def nets(self) -> dict[tuple[str, str], int]:
        """Return what each seller has of each order at Stripe."""
        nets = {(order.order_id, seller): 0 for order in self.orders for seller in order.shares}
        for held in self._stripe.transfers:
            names = held["metadata"]["order_id"], held["metadata"]["seller_id"]
            nets[names] += held["amount"] - held["amount_reversed"]
        return nets


async def settled(fleet: Fleet, what: str) -> None:
    """Wait until no transfer is due and every webhook is handled. A webhook may cause no fact."""
    for _ in range(CHECKS):
        await asyncio.sleep(BETWEEN)
        if fleet.quiet() and not any(row.open for row in fleet.database.inbox.rows.values()):
            return
    open_ = [(row.event_type, row.reason) for row in fleet.database.inbox.rows.values() if row.open]
    raise AssertionError(f"waited in vain: {what}; open webhooks: {open_}")


def event(event_type: str, shown: Json) -> bytes:
    """Return the body of Stripe's event about a transfer."""
    member = {**shown, "reversals": {"object": "list", "data": [], "has_more": False}}
    return orjson.dumps(
        {"id": "evt", "type": event_type, "livemode": False, "data": {"object": member}}
    )


def copied(database: MemoryDatabase) -> MemoryDatabase:
    """Return the database as a backup has it, without its listeners."""
    listeners = dict(database._listeners)
    database._listeners.clear()
    backup = deepcopy(database)
    database._listeners.update(listeners)
    return backup


def lived_through(seed: int) -> None:
    async def live() -> None:
        stripe = VirtualStripe(seed)
        lost = LostLedger(seed, stripe)
        fleet = Fleet(stripe.gateway, seed=seed, latency=0.02)
        for process in fleet.processes:
            process.start()
        await lost.before(fleet)
        for process in fleet.processes:
            await process.kill()
        await asyncio.sleep(lost._chance.choice([HOUR, 30 * HOUR]))
        assert lost.backup is not None
        async with await restored(stripe, seed, lost.backup) as fleet:
            await lost.after(fleet)
        assert lost.nets() == {
            (order.order_id, seller): order.net(seller)
            for order in lost.orders
            for seller in order.shares
        }
        books_agree(stripe, fleet.database)

    try:
        run(live())
    except BaseException as failure:
        failure.add_note(f"replay it with LEDGER_SEEDS={seed},{seed}")
        raise


async def restored(stripe: VirtualStripe, seed: int, backup: MemoryDatabase) -> Fleet:
    """Return a fleet on the backup that looks first."""
    fleet = Fleet(stripe.gateway, seed=seed + 1, latency=0.02, database=backup)
    facts = [FactCodec().fact(one).timestamp for one in backup.recorded[-100:]]
    await fleet.commands.operator.pause(
        LOOK_UP_FIRST, "serve --look-up-first", "restored", lost_since=min(facts, default=LONG_AGO)
    )
    return fleet


@pytest.mark.parametrize("seed", seeds())
def test_random_history_with_a_restore_ends_exact(seed: int) -> None:
    lived_through(seed)
