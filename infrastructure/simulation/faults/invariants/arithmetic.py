"""Arithmetic of shares: how much refunds and disputes leave to each seller of an order.

Written from docs/guarantees.md (4, 24) and ADR 7. Amounts in minor units.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Claim(NamedTuple):
    """An effective refund, or an effective dispute (which comes after all refunds)."""

    cause: str
    amount: int
    explicit: Mapping[str, int] | None = None
    """Amount of each seller, if the caller or a person has decided it."""
    dispute: bool = False


def remaining(shares: Mapping[str, int], collected: int, claims: Iterable[Claim]) -> dict[str, int]:
    """Return the amount that each seller keeps. Proportional claims since the last explicit one are
    added up and take the floor of their part, so that their order does not matter."""
    keeps, rest, total = dict(shares), collected, 0
    before, divided_over = dict(shares), collected
    for claim in sorted(claims, key=lambda one: one.dispute):
        amount = min(claim.amount, rest) if claim.dispute else claim.amount
        rest -= amount
        if claim.explicit is None:
            total += amount
            keeps = {seller: _left(left, total, divided_over) for seller, left in before.items()}
        else:
            keeps = {
                seller: max(0, left - claim.explicit.get(seller, 0))
                for seller, left in keeps.items()
            }
            before, total = dict(keeps), 0
            divided_over = max(rest, sum(keeps.values()))
    return keeps


def _left(share: int, gone: int, whole: int) -> int:
    if not whole or gone >= whole:
        return 0 if whole else share
    return share - (share * gone) // whole
