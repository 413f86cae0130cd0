"""Division of refunds among the sellers of an order: integers only, cumulative floors.

The target of a seller is a function of the whole amount that is effectively refunded, never of a
single refund. Cumulative floors are monotone, never exceed the share, are exact at the full refund
and do not depend on the order of proportional refunds. Largest remainders and prefix rounding look
fairer, but with them a seller's target can fall while the refund grows.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Portion(NamedTuple):
    """Amount of one effective refund or dispute, and its explicit allocation to sellers, if the
    caller gave one."""

    amount: int
    explicit: Mapping[str, int] | None = None


def allocate(
    shares: Mapping[str, int],
    order_amount: int,
    refunded: int,
    steps: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the amount to take back from each seller after `refunded` of `order_amount` (minor
    units, proportional).

    `steps`: the number of which each amount of a seller is a multiple, if it is not 1. Shares are
    multiples too, so that the full refund takes exactly the share. Raises ValueError when the
    amounts cannot belong to one order.
    """
    if order_amount <= 0 or not 0 <= refunded <= order_amount:
        raise ValueError(
            f"{refunded} refunded of {order_amount}: expected an order above 0 and at most all "
            "of it refunded."
        )
    if refunded == order_amount:
        return dict(shares)
    steps = steps or {}
    return {
        seller: share * refunded // order_amount // steps.get(seller, 1) * steps.get(seller, 1)
        for seller, share in shares.items()
    }


def targets(
    shares: Mapping[str, int],
    order_amount: int,
    portions: Sequence[Portion],
    summed: frozenset[str] | None = None,
    steps: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the target of each seller, the amount to take back, after these portions in the order
    they became known.

    An explicit allocation opens a new segment: later proportional refunds divide the rest of each
    share over max(rest of the order, sum of the rests of the shares). `summed` names the sellers
    whose shares are in the order's currency (None: all), since amounts of different currencies do
    not add up. `steps`: see `allocate`.
    """
    *_, last = _segments(shares, order_amount, portions, summed, steps)
    return last.taken()


def cumulative_targets(
    shares: Mapping[str, int],
    order_amount: int,
    portions: Sequence[Portion],
    summed: frozenset[str] | None = None,
    steps: Mapping[str, int] | None = None,
) -> list[dict[str, int]]:
    """Return the targets before the first portion, and those after each; see `targets`."""
    return [segment.taken() for segment in _segments(shares, order_amount, portions, summed, steps)]


def _segments(
    shares: Mapping[str, int],
    order_amount: int,
    portions: Sequence[Portion],
    summed: frozenset[str] | None,
    steps: Mapping[str, int] | None,
) -> Iterator["_Segment"]:
    """Yield the segment before the first portion, and those after each. Only `taken` costs time in
    proportion to the number of sellers."""
    nothing = dict.fromkeys(shares, 0)
    segment = _Segment(nothing, dict(shares), order_amount, order_amount, 0, steps or {})
    yield segment
    for portion in portions:
        segment = (
            segment.proportional(portion.amount)
            if portion.explicit is None
            else segment.divided(portion, summed)
        )
        yield segment


class _Segment(NamedTuple):
    """Refunds since the last explicit allocation, which divide the rest of the shares
    proportionally."""

    before: dict[str, int]
    shares: dict[str, int]
    order_left: int
    denominator: int
    refunded: int
    steps: Mapping[str, int]

    def taken(self) -> dict[str, int]:
        now = (
            allocate(self.shares, self.denominator, self.refunded, self.steps)
            if self.denominator
            else dict.fromkeys(self.shares, 0)
        )
        return {seller: self.before[seller] + amount for seller, amount in now.items()}

    def proportional(self, amount: int) -> "_Segment":
        return self._replace(refunded=self.refunded + amount)

    def divided(self, portion: Portion, summed: frozenset[str] | None) -> "_Segment":
        explicit = portion.explicit or {}
        # a refund that came after an explicit dispute comes first, and may leave less of a share
        taken = {
            seller: min(amount + explicit.get(seller, 0), self.before[seller] + self.shares[seller])
            for seller, amount in self.taken().items()
        }
        left = {
            seller: self.before[seller] + self.shares[seller] - amount
            for seller, amount in taken.items()
        }
        order_left = self.order_left - self.refunded - portion.amount
        shares_left = sum(
            amount for seller, amount in left.items() if summed is None or seller in summed
        )
        return _Segment(taken, left, order_left, max(order_left, shares_left), 0, self.steps)
