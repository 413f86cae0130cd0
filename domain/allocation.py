"""How a refund is divided among the sellers of an order: integers only, cumulative floors.

Each seller's *target* is a function of everything effectively refunded so far, never of a single refund. Cumulative floors
are monotone, never exceed the share, are exact at the full refund and do not depend on the order of proportional refunds.
Largest remainders and prefix rounding look fairer, but some seller's target falls while the refund grows.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Portion(NamedTuple):
    """One effective refund: its amount, and the caller's own division of it, if there was one."""

    amount: int
    explicit: Mapping[str, int] | None = None


def allocate(shares: Mapping[str, int], order_amount: int, refunded: int) -> dict[str, int]:
    """What must have come back from each seller after `refunded` of `order_amount` in all (minor units, proportional).

    Raises ValueError when the amounts cannot belong to one order.
    """
    if order_amount <= 0 or not 0 <= refunded <= order_amount:
        raise ValueError(f"{refunded} refunded of {order_amount}: expected an order above 0 and at most all of it refunded.")
    return {seller: share * refunded // order_amount for seller, share in shares.items()}


def targets(
    shares: Mapping[str, int], order_amount: int, portions: Sequence[Portion], summed: frozenset[str] | None = None
) -> dict[str, int]:
    """What must have come back from each seller after these effective refunds, in the order they became known.

    An explicit division opens a new segment: later proportional refunds divide what remains of each share over
    max(what remains of the order, the sum of what remains of the shares). `summed` names the sellers whose shares are in
    the order's currency (None: all), since amounts of different currencies do not add up.
    """
    segment = _Segment(dict.fromkeys(shares, 0), dict(shares), order_amount, order_amount, 0)
    for portion in portions:
        segment = segment.proportional(portion.amount) if portion.explicit is None else segment.divided(portion, summed)
    return segment.taken()


class _Segment(NamedTuple):
    before: dict[str, int]
    shares: dict[str, int]
    order_left: int
    denominator: int
    refunded: int

    def taken(self) -> dict[str, int]:
        now = allocate(self.shares, self.denominator, self.refunded) if self.denominator else dict.fromkeys(self.shares, 0)
        return {seller: self.before[seller] + amount for seller, amount in now.items()}

    def proportional(self, amount: int) -> "_Segment":
        return self._replace(refunded=self.refunded + amount)

    def divided(self, portion: Portion, summed: frozenset[str] | None) -> "_Segment":
        explicit = portion.explicit or {}
        taken = {seller: amount + explicit.get(seller, 0) for seller, amount in self.taken().items()}
        left = {seller: self.before[seller] + self.shares[seller] - amount for seller, amount in taken.items()}
        order_left = self.order_left - self.refunded - portion.amount
        shares_left = sum(amount for seller, amount in left.items() if summed is None or seller in summed)
        return _Segment(taken, left, order_left, max(order_left, shares_left), 0)
