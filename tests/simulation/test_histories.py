"""Random histories: orders, partial refunds, refunds that fail after they succeeded, webhooks that
come twice and in any order, three processes that die and freeze, and a network that loses requests
and answers.

At the end, Stripe's books, our facts and our rows agree. More seeds: LEDGER_SEEDS=100 or
LEDGER_SEEDS=17,18.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import NamedTuple

import pytest

from domain.identity import transfer_stream
from infrastructure.postgres.event_store import RecordedFact
from infrastructure.simulation.fleet import Fleet, Process
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.virtual_time import run
from tests.support.book_comparison import books_agree
from tests.support.marketplace import Marketplace

SELLERS = ("anna", "ben", "cleo", "dora")
ORDERS, TROUBLES = 10, 6
SPAN = 600.0
"""Virtual seconds in which all reports come; their consequences take longer."""
QUIET_WITHIN = timedelta(days=3)


def seeds() -> Sequence[int]:
    """Return the seeds: three, or the number or list in LEDGER_SEEDS."""
    wanted = os.environ.get("LEDGER_SEEDS", "3")
    return [int(seed) for seed in wanted.split(",")] if "," in wanted else range(1, int(wanted) + 1)


class Refund(NamedTuple):
    name: str
    order_id: str
    amount: int
    fails: bool
    """The PSP later reports the refund as failed."""


class History:
    """The events of one history, drawn from its seed before it begins."""

    def __init__(self, seed: int, fleet: Fleet, stripe: VirtualStripe) -> None:
        self._chance = random.Random(f"history {seed}")
        self._fleet, self._stripe, self._market = fleet, stripe, Marketplace(fleet)

    async def happen(self) -> None:
        """Let each event happen at its own instant; then end all faults and finish the work."""
        orders = [self._order(f"o{number}") for number in range(ORDERS)]
        troubles = [self._trouble() for _ in range(TROUBLES)]
        await asyncio.gather(*orders, *troubles)
        self._stripe.network.lost_requests = self._stripe.network.lost_answers = 0.0
        await self._fleet.until(self._fleet.quiet, QUIET_WITHIN, "everything settles")

    async def _order(self, order_id: str) -> None:
        """Register an order before or after its webhooks, which are parked until then."""
        chance, market = self._chance, self._market
        amount = chance.randint(100, 5_000)
        sellers = chance.sample(SELLERS, k=chance.randint(1, 3))
        shares = {seller: chance.randint(1, amount // len(sellers)) for seller in sellers}
        refunds = self._refunds(order_id, amount)
        said: list[Awaitable[None]] = [
            self._later(market.order(order_id, amount, **shares)),
            self._later(market.payment_webhook(order_id, amount, times=chance.randint(1, 2))),
            *(self._refund(refund) for refund in refunds),
        ]
        await asyncio.gather(*said)

    def _refunds(self, order_id: str, amount: int) -> list[Refund]:
        """Draw partial refunds, up to all of the order; some of them fail at the end."""
        chance, refunds = self._chance, list[Refund]()
        for number in range(chance.randint(0, 4)):
            left = amount - sum(refund.amount for refund in refunds)
            part = chance.choice([left, chance.randint(1, max(1, left))])
            if left > 0:
                refunds.append(
                    Refund(f"{order_id}-r{number}", order_id, part, chance.random() < 0.3)
                )
        return refunds

    async def _refund(self, refund: Refund) -> None:
        chance, market, (name, order_id, amount, fails) = self._chance, self._market, refund
        await self._later(
            market.refund_webhook(
                "refund_succeeded", name, order_id, amount, times=chance.randint(1, 2)
            )
        )
        if fails:
            await self._later(market.refund_webhook("refund_failed", name, order_id, amount))

    async def _trouble(self) -> None:
        chance = self._chance
        process = chance.choice(self._fleet.processes)
        at, length = chance.uniform(0, SPAN), chance.uniform(1, 40)
        await asyncio.sleep(at)
        if chance.random() < 0.6:
            await _die_and_come_back(process, length)
        else:
            await process.freeze(length)

    async def _later(self, said: Awaitable[None]) -> None:
        await asyncio.sleep(self._chance.uniform(0, SPAN / 3))
        await said


async def _die_and_come_back(process: Process, after: float) -> None:
    await process.kill()
    await asyncio.sleep(after)
    if all(
        end.done() for end in process.ends
    ):  # it may have died again meanwhile, and be back already
        process.start()


def lived_through(seed: int) -> list[RecordedFact]:
    """Return the facts of one history after checking its books."""

    async def live() -> list[RecordedFact]:
        stripe = VirtualStripe(seed)
        stripe.network.lost_requests = stripe.network.lost_answers = 0.1
        async with Fleet(stripe.gateway, seed=seed, latency=0.02) as fleet:
            await History(seed, fleet, stripe).happen()
        books_agree(stripe, fleet.database)
        _nothing_twice(stripe)
        return fleet.database.recorded

    try:
        return run(live())
    except BaseException as failure:
        failure.add_note(f"replay it with LEDGER_SEEDS={seed},{seed}")
        raise


def _nothing_twice(stripe: VirtualStripe) -> None:
    """Check for one transfer per order, seller and cause, and for one reversal per requested
    reversal."""
    paid = [transfer["metadata"]["transfer_id"] for transfer in stripe.transfers]
    taken = [
        reversal["metadata"]["reversal_id"]
        for transfer in stripe.transfers
        for reversal in transfer["reversals"]
    ]
    assert len(set(paid)) == len(paid)
    assert len(set(taken)) == len(taken)
    sales = {
        str(transfer_stream(f"o{number}", seller)) for number in range(ORDERS) for seller in SELLERS
    }
    assert len(sales.intersection(paid)) > ORDERS / 2, (
        "a history in which hardly anybody is paid proves nothing"
    )


@pytest.mark.parametrize("seed", seeds())
def test_random_history_ends_with_equal_books(seed: int) -> None:
    assert len(lived_through(seed)) > 5 * ORDERS


def test_same_seed_gives_the_same_hash_chain() -> None:
    """The last link of the hash chain covers all facts before it, with their instants."""
    one, again, other = lived_through(1), lived_through(1), lived_through(2)
    assert one[-1] == again[-1]
    assert one[-1].digest != other[-1].digest
