"""Explanation of the division of a refund: how each seller's part follows from the share, and why
the platform bears the rest."""

from collections.abc import Sequence
from typing import NamedTuple

from infrastructure.web.console.ledger import Json
from infrastructure.web.console.texts import money


class Division(NamedTuple):
    """The division of all refunds of an order until a moment, in minor units of its currency.
    `collected`: the amount over which refunds are divided; `taken`: from each seller, with the
    share."""

    collected: int
    refunded: int
    taken: Sequence[tuple[int, int]]

    @property
    def is_plain(self) -> bool:
        """True if each seller has given the share in proportion, rounded down. An explicit
        allocation, a dispute, or a currency that Stripe moves in larger steps differs."""
        return self.own >= 0 and all(
            amount == share * self.refunded // self.collected for share, amount in self.taken
        )

    @property
    def own(self) -> int:
        """The platform's part in proportion to the part of the order that no seller has."""
        unclaimed = self.collected - sum(share for share, _ in self.taken)
        return unclaimed * self.refunded // self.collected

    @property
    def borne(self) -> int:
        """The amount that the platform bears."""
        return self.refunded - sum(amount for _, amount in self.taken)

    @property
    def rounding(self) -> int:
        """The amount that rounding down has left with the platform."""
        return self.borne - self.own


def division_of(order: Json, refunds: Sequence[Json]) -> Division:
    """Return the division of these refunds of an order."""
    taken = {
        one["seller_id"]: [one["amount"], 0]
        for one in order["shares"]
        if one["currency"] == order["currency"]
    }
    for refund in refunds:
        for part in refund["allocation"]:
            if part["seller_id"] in taken:
                taken[part["seller_id"]][1] += part["amount"]
    return Division(
        order["collected"] or order["amount"],
        sum(refund["amount"] for refund in refunds),
        [(share, amount) for share, amount in taken.values()],
    )


def explained(before: Division, after: Division, currency: str) -> list[str]:
    """Explain the amount that the platform bears of one refund, between two divisions."""
    own, rounding = after.own - before.own, after.rounding - before.rounding
    borne = money(own + rounding, currency)
    if not (before.is_plain and after.is_plain):
        return [
            f"The platform bears the rest, {borne}. It is no plain proportion, because an explicit "
            "allocation, a dispute, or the smallest step of a currency plays a part."
        ]
    line = f"The platform bears {borne}: {money(own, currency)} for its own part of the order"
    if rounding > 0:
        line += f", and {money(rounding, currency)} by rounding the part of each seller down."
    elif rounding < 0:
        line += (
            f", less {money(-rounding, currency)} that the rounding of earlier refunds had left "
            "with it, and that the sellers give now."
        )
    else:
        line += "; rounding changes nothing."
    if after.refunded == after.collected:
        return [
            line,
            "The order is refunded whole, so the part of each seller is exactly the share.",
        ]
    return [
        line,
        "Rounding counts over all refunds of the order together, so a refund of the whole order "
        "takes exactly each share.",
    ]


def worked_out(share: int, before: int, after: Division, currency: str) -> str:
    """Return the calculation of one seller's part; empty if it is no plain proportion."""
    if not after.is_plain:
        return ""
    ratio = f"{money(after.refunded, currency)} of {money(after.collected, currency)}"
    less = f", less {money(before, currency)} until now" if before else ""
    return f"{money(share, currency)} × {ratio}, rounded down{less}"
