"""Callers that send orders, payments and refunds without a pause, and repeat each call until it is
acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from time import monotonic
from typing import NamedTuple

import httpx

from infrastructure.simulators.stripe import SimulatorControl
from tests.support.crash_world import order_of
from tests.support.json_types import Json
from tests.support.ledger_process import LedgerClient, payment, refund, signed
from tests.support.ledger_view import LedgerView
from tests.support.service import account

CALLERS = 6
PAUSE = 0.02
"""Seconds between two attempts of one call."""
SHARE = 900


class Acknowledged(NamedTuple):
    """A call that the ledger has answered with a status below 300."""

    at: float
    name: str
    """Id of the order of a call, or of the event of a webhook."""
    is_webhook: bool


class SteadyLoad:
    """The callers, and the calls that the ledger has acknowledged."""

    def __init__(self, web: Sequence[LedgerClient]) -> None:
        self._web, self._stopping, self._news = web, asyncio.Event(), asyncio.Condition()
        self.acknowledged: list[Acknowledged] = []
        self.refused = 0
        """Attempts without an acknowledgement."""
        self.lost: int | None = None
        """Acknowledged calls that the database does not hold, once they are counted."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SteadyLoad"]:
        """Send calls until the end; the last order of each caller is complete."""
        self._stopping.clear()
        begun = len(self.acknowledged)
        async with asyncio.TaskGroup() as callers:
            for number in range(CALLERS):
                callers.create_task(
                    self._call(f"o_{begun}_{number}", self._web[number % len(self._web)])
                )
            try:
                yield self
            finally:
                self._stopping.set()

    async def _call(self, prefix: str, web: LedgerClient) -> None:
        """Send an order and its payment, and refund the order before it, whose transfer may be sent."""
        number, paid = 0, ""
        while not self._stopping.is_set():
            number += 1
            name = f"{prefix}_{number}"
            body = order_of(name, anna=SHARE) | {"payment_id": f"pay_{name}"}
            await self._insist(web, "/v1/orders", name, json=body)
            await self._webhook(web, "payment_succeeded", payment(name, 1_000))
            if paid:
                await self._webhook(web, "refund_succeeded", refund(f"r_{paid}", paid, 1_000))
            paid = name
        await self._webhook(web, "refund_succeeded", refund(f"r_{paid}", paid, 1_000))

    async def _webhook(self, web: LedgerClient, event_type: str, content: Json) -> None:
        event_id = f"evt_{event_type}_{content['metadata']['order_id']}"
        kind = f"{event_type.partition('_')[0]}_details"
        sent, headers = signed(event_id, event_type, kind, content)
        await self._insist(web, "/webhooks/hyperswitch", event_id, content=sent, headers=headers)

    async def _insist(self, web: LedgerClient, path: str, name: str, **request: object) -> None:
        while True:
            try:
                answer = await web.http.post(path, **request)  # type: ignore[arg-type]
                if answer.status_code < 300:
                    break
                assert answer.status_code >= 500, answer.text
            except httpx.TransportError:
                pass
            self.refused += 1
            await asyncio.sleep(PAUSE)
        async with self._news:
            self.acknowledged.append(Acknowledged(monotonic(), name, "webhooks" in path))
            self._news.notify_all()

    async def until_acknowledged(self, more: int, within: float = 60.0) -> None:
        """Wait until that many more calls are acknowledged."""
        wanted = len(self.acknowledged) + more
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: len(self.acknowledged) >= wanted)

    def longest_gap(self) -> float:
        """Return the longest time in seconds between two acknowledgements: the time that the ledger
        was away."""
        times = [one.at for one in self.acknowledged]
        return max(after - before for before, after in pairwise(times))

    @property
    def figures(self) -> str:
        """Return the counts as a sentence."""
        return (
            f"{len(self.acknowledged)} calls acknowledged, {self.lost} of them lost, {self.refused} "
            f"attempts refused or unanswered, longest time without an acknowledgement "
            f"{self.longest_gap():.1f} s"
        )

    @property
    def orders(self) -> set[str]:
        return {one.name for one in self.acknowledged if not one.is_webhook}

    async def assert_nothing_lost(self, view: LedgerView, stripe: SimulatorControl) -> None:
        """Check that all acknowledged calls are stored, and that each order has moved its money once
        there and once back."""
        stored = await view.select("select order_id as name from orders")
        received = await view.select("select event_id as name from webhook_inbox")
        kept = {row["name"] for row in [*stored, *received]}
        missing = [one.name for one in self.acknowledged if one.name not in kept]
        self.lost = len(missing)
        assert not missing, f"{self.lost} acknowledged calls are lost: {missing}"

        async def all_final() -> bool:
            return sum((await self._ends(view)).values()) == len(self.orders)

        await view.until(all_final, "all orders are reversed or cancelled", patience=90)
        ends = await self._ends(view)
        held = [
            (one["destination"], one["amount"], [back["amount"] for back in one["reversals"]])
            for one in (await stripe.ledger())["transfers"]
        ]
        assert held == [(account("anna"), SHARE, [SHARE])] * ends["reversed"], held
        assert ends["reversed"] > 0

    async def _ends(self, view: LedgerView) -> dict[str, int]:
        """Count the transfers that were paid and taken back, and those refunded before they were
        sent."""
        rows = await view.select(
            "select status, count(*) as n from seller_transfers "
            "where status in ('reversed', 'cancelled') group by status"
        )
        return {"reversed": 0, "cancelled": 0} | {row["status"]: row["n"] for row in rows}
