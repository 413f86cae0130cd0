"""Plan of a simulated week: every order, refund and dispute, drawn from the seed before it begins.

Amounts are in minor units, instants in seconds from the beginning.
"""

import random
from typing import NamedTuple

HOUR, DAY = 3_600.0, 86_400.0
DAYS = 7
FEWEST = 20
"""Fewest orders of a week that shows anything."""
CURRENCY = "EUR"
REFUNDED, DISPUTED = 0.08, 0.005
"""Shares of the orders."""
PAID_FIRST = 0.05
"""Share of the orders whose payment is known before the order."""
POOR_SELLER = "seller-without-money"
"""This seller sells on the first day only, and never has money again after the payouts."""


class PlannedReturn(NamedTuple):
    """A refund, or a dispute, of an order."""

    at: float
    amount: int
    ends_after: float
    """Seconds until the connector or the bank has decided."""
    succeeds: bool = True
    """False for a dispute that is won."""


class PlannedOrder(NamedTuple):
    """An order, its payment, and what becomes of it."""

    order_id: str
    at: float
    amount: int
    shares: tuple[tuple[str, int], ...]
    """Seller and amount."""
    paid_after: float
    """Seconds from the order to the payment; negative: the payment is reported first."""
    refunds: tuple[PlannedReturn, ...] = ()
    dispute: PlannedReturn | None = None

    @property
    def payment_id(self) -> str:
        return f"pay_{self.order_id}"

    @property
    def paid_at(self) -> float:
        return max(0.0, self.at + self.paid_after)


def planned(orders: int, seed: int) -> list[PlannedOrder]:
    """Draw the orders of a week, in the order of their instants."""
    chance = random.Random(f"week {seed}")
    sellers = [f"seller-{number:03}" for number in range(1, max(4, min(60, orders // 80)) + 1)]
    poor = max(3, orders // 1_000)
    instants = sorted(chance.uniform(0, DAYS * DAY) for _ in range(orders - poor))
    early = sorted(chance.uniform(0, DAY / 2) for _ in range(poor))
    drawn = [_order(chance, at, chance.sample(sellers, chance.choice((1, 1, 1, 2, 3))))
             for at in instants]  # fmt: skip
    drawn += [_of_poor_seller(chance, at) for at in early]
    drawn.sort(key=lambda order: order.at)
    return [order._replace(order_id=f"o{number:05}") for number, order in enumerate(drawn, 1)]


def _order(chance: random.Random, at: float, sellers: list[str]) -> PlannedOrder:
    amount = chance.randint(500, 20_000)
    after = chance.uniform(5, 600)
    order = PlannedOrder(
        order_id="",
        at=at,
        amount=amount,
        shares=_shares(chance, amount, sellers),
        paid_after=-after / 10 if chance.random() < PAID_FIRST else after,
    )
    if chance.random() < REFUNDED:
        order = order._replace(refunds=_refunds(chance, order))
    if chance.random() < DISPUTED:
        at = order.paid_at + chance.uniform(HOUR, 3 * DAY)
        lost = chance.random() < 0.75
        dispute = PlannedReturn(min(at, DAYS * DAY), amount, chance.uniform(HOUR, 2 * DAY), lost)
        order = order._replace(dispute=dispute, refunds=())
    return order


def _of_poor_seller(chance: random.Random, at: float) -> PlannedOrder:
    """Draw an order that is refunded after its money was paid out."""
    order = _order(chance, at, [POOR_SELLER])
    refund = PlannedReturn(chance.uniform(4.5 * DAY, 6 * DAY), order.amount, 600)
    return order._replace(dispute=None, refunds=(refund,), paid_after=abs(order.paid_after))


def _shares(chance: random.Random, amount: int, sellers: list[str]) -> tuple[tuple[str, int], ...]:
    """Divide nine tenths of the amount; the rest is the platform's."""
    left, shares = amount * 9 // 10, []
    for seller in sellers[:-1]:
        share = chance.randint(1, max(1, left // 2))
        shares.append((seller, share))
        left -= share
    return (*shares, (sellers[-1], left))


def _refunds(chance: random.Random, order: PlannedOrder) -> tuple[PlannedReturn, ...]:
    """Draw one refund of all, or one or two of a part."""
    parts = [order.amount] if chance.random() < 0.6 else []
    if not parts:
        parts.append(chance.randint(1, order.amount // 2))
        if chance.random() < 0.4:
            parts.append(order.amount - parts[0])
    at, refunds = order.paid_at, []
    for part in parts:
        at = min(at + chance.uniform(60, 2.5 * DAY), DAYS * DAY)
        refunds.append(PlannedReturn(at, part, chance.uniform(1, 2 * HOUR)))
    return tuple(refunds)
