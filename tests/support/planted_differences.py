"""A ledger and a simulated Stripe that agree except for a known number of planted differences of
every kind."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from domain.fact import Stream
from domain.order.aggregate import Order
from domain.order.recovery import parts_of, pay_sellers, recover_shares
from domain.order.state import Share
from domain.refund.aggregate import Refund
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal_outcome import complete_reversal
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Storage
from infrastructure.simulators.stripe.accounts import fund
from infrastructure.simulators.stripe.balances import PLATFORM
from infrastructure.simulators.stripe.books import DASHBOARD, SimulatedStripeBooks
from infrastructure.simulators.stripe.transfers import create_reversal, create_transfer

SELLERS, SHARE, BACK = 5, 1_000, 100
"""Sellers per order, share of each seller, and the part of each share that a refund takes back."""
PER_APPEND, AT_ONCE = 5, 8
MANY = 105
"""Reversals of one transfer: more than one page of their list."""
OF_REVERSALS = ("lost_reversal", "invented_reversal", "smaller_reversal")
PLANTS = (
    "missing_here", "without_marks", "missing_there", "amount", "currency", "external_reversal",
    "duplicate", "unclaimed",
    *OF_REVERSALS,
)  # fmt: skip


@dataclass
class PlantedDifferences:
    """Plants differences, and lists the kind of finding that each object at Stripe has to lead
    to."""

    books: SimulatedStripeBooks
    now: datetime
    each: int
    planted: dict[str, str] = field(default_factory=dict)

    async def grow(self, storage: Storage, transfers: int) -> None:
        """Make so many transfers here and at Stripe, through the real event log."""
        for currency in ("eur", "usd"):
            fund(self.books, PLATFORM, currency, 2_000 * transfers, "available")
        ledger, orders = PostgresEventLog(storage.store), self._orders(transfers // SELLERS)
        while group := list(islice(orders, PER_APPEND * AT_ONCE)):
            parts = [group[n : n + PER_APPEND] for n in range(0, len(group), PER_APPEND)]
            await asyncio.gather(*(_stored(ledger, part) for part in parts))

    def _orders(self, count: int) -> Iterator[list[Stream]]:
        plants = iter([plant for plant in PLANTS for _ in range(self.each)] + ["many"])
        every = count // (self.each * len(PLANTS) + 1)
        assert every, f"{count} orders are too few for {self.each} of each kind"
        for number in range(count):
            yield self._order(
                f"o{number}", next(plants, None) if number % every == 0 else None, number
            )

    def _order(self, order_id: str, plant: str | None, number: int) -> list[Stream]:
        now, amount = self.now, SELLERS * SHARE
        shares = [
            Share(seller_id=f"s{n}", destination=f"acct_1s{n}", amount=SHARE)
            for n in range(SELLERS)
        ]
        order = Order.register(
            order_id=order_id, currency="EUR", amount=amount, shares=shares, now=now
        )
        order.pay(f"pay_{order_id}", None, "api", now)
        transfers = pay_sellers(order, now)
        for place, transfer in enumerate(transfers):
            self._pay(transfer, plant if place == 0 else None)
        streams: list[Stream] = [order, *transfers]
        if plant in OF_REVERSALS or (plant is None and number % 5 == 0):
            streams.append(self._refund(order, transfers))
            for place, transfer in enumerate(transfers):
                self._take_back(transfer, plant if place == 0 else None)
        return streams

    def _refund(self, order: Order, transfers: Sequence[SellerTransfer]) -> Refund:
        amount = SELLERS * BACK
        opened = f"re-{order.order_id}"
        refund = Refund.open(
            refund_id=opened,
            order_id=order.order_id,
            amount=amount,
            currency="EUR",
            origin="settled",
            now=self.now,
        )
        order.allocate_refund(refund.key, amount, "EUR", None, self.now)
        recover_shares(order, transfers, refund.key, self.now)
        refund.succeed("api", parts_of(order, transfers, refund.key), self.now)
        return refund

    def _pay(self, transfer: SellerTransfer, plant: str | None) -> None:
        if plant == "missing_there":
            self._complete(transfer, self._plant(f"tr_nowhere{transfer.order_id}", "missing_there"))
            return
        amount = SHARE - 7 if plant == "amount" else SHARE
        made = self._at_stripe(
            transfer,
            amount,
            "usd" if plant == "currency" else "eur",
            marked=plant != "without_marks",
        )
        match plant:
            case "missing_here" | "without_marks":
                self._plant(made, "missing_here")
                return
            case "amount" | "currency":
                self._plant(made, plant)
            case "duplicate":
                self._plant(self._at_stripe(transfer, SHARE, "eur"), plant)
            case "unclaimed":
                params = {"destination": transfer.destination, "amount": SHARE, "currency": "eur"}
                self._plant(create_transfer(self.books, params, DASHBOARD).id, plant)
        self._complete(transfer, made)
        for _ in range({"external_reversal": 1, "many": MANY}.get(plant or "", 0)):
            self._plant(self._reversed(made, 3), "external_reversal")

    def _at_stripe(
        self, transfer: SellerTransfer, amount: int, currency: str, marked: bool = True
    ) -> str:
        named = {
            "transfer_id": str(transfer.id),
            "order_id": transfer.order_id,
            "seller_id": transfer.seller_id,
        }
        params = {"destination": transfer.destination, "amount": amount, "currency": currency}
        params |= {"transfer_group": transfer.transfer_group, "metadata": named if marked else {}}
        return create_transfer(self.books, params, DASHBOARD).id

    def _complete(self, transfer: SellerTransfer, stripe_transfer_id: str) -> None:
        complete(transfer, stripe_transfer_id, SHARE, None, self.now)

    def _take_back(self, transfer: SellerTransfer, plant: str | None) -> None:
        claim = transfer.in_flight
        assert claim is not None
        paid = transfer.stripe_transfer_id or ""
        named = {"reversal_id": claim.reversal_id, "transfer_id": str(transfer.id)}
        match plant:
            case "lost_reversal":
                self._plant(self._reversed(paid, BACK, named), "missing_here")
                return
            case "invented_reversal":
                made = self._plant(f"trr_nowhere{transfer.order_id}", "missing_there")
            case "smaller_reversal":
                made = self._plant(self._reversed(paid, BACK - 1, named), "amount")
            case _:
                made = self._reversed(paid, BACK, named)
        complete_reversal(transfer, claim.reversal_id, made, BACK, None, self.now)

    def _reversed(
        self, stripe_transfer_id: str, amount: int, named: dict[str, str] | None = None
    ) -> str:
        transfer = self.books.transfers.by_id[stripe_transfer_id]
        return create_reversal(
            self.books, transfer, {"amount": amount, "metadata": named or {}}, DASHBOARD
        ).id

    def _plant(self, stripe_id: str, kind: str) -> str:
        self.planted[stripe_id] = kind
        return stripe_id


async def _stored(ledger: PostgresEventLog, orders: Sequence[Sequence[Stream]]) -> None:
    uow = await ledger.load([])
    uow.add(stream for streams in orders for stream in streams)
    await ledger.append(uow)
