"""Double-entry balances: every posting takes from one holder what it gives to another, so the total is always zero."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from infrastructure.simulators.stripe.journal import Journal, Record

PLATFORM = "platform"
WORLD = "world"
"""The other side of every explicit funding, draining and payout: banks, buyers, whatever is not Stripe."""


class Pocket(NamedTuple):
    """Where an amount lies. `bucket` is `available` or `pending`."""

    holder: str
    currency: str
    bucket: str = "available"


class Purse:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._amounts: defaultdict[Pocket, int] = defaultdict(int)

    def amount(self, pocket: Pocket) -> int:
        return self._amounts.get(pocket, 0)

    def move(self, amount: int, source: Pocket, target: Pocket) -> None:
        """Raises ValueError for anything but a natural number, and for two currencies."""
        if type(amount) is not int or amount < 0 or source.currency != target.currency:
            raise ValueError(f"cannot move {amount} from {source} to {target}: amounts are whole and positive, currencies equal")
        for pocket, delta in ((source, -amount), (target, amount)):
            self._amounts[pocket] += delta
            self._journal.note("balance", "|".join(pocket), self._amounts[pocket])

    def totals(self) -> dict[str, int]:
        """Per currency the sum over all holders including the world; anything but zero is an error."""
        totals: defaultdict[str, int] = defaultdict(int)
        for pocket, amount in self._amounts.items():
            totals[pocket.currency] += amount
        return dict(totals)

    def of(self, holder: str) -> dict[str, dict[str, int]]:
        """`{"available": {"usd": 5}, "pending": {}}`."""
        return self.everyone(holder).get(holder, {"available": {}, "pending": {}})

    def everyone(self, only: str | None = None) -> dict[str, dict[str, dict[str, int]]]:
        """The same for each holder, the world included."""
        holders: dict[str, dict[str, dict[str, int]]] = {}
        for (holder, currency, bucket), amount in self._amounts.items():
            if only is None or holder == only:
                holders.setdefault(holder, {"available": {}, "pending": {}})[bucket][currency] = amount
        return holders

    def knows(self, pocket: Pocket) -> bool:
        return pocket in self._amounts

    def clear(self) -> None:
        self._amounts.clear()

    def records(self) -> Iterator[Record]:
        return (("balance", "|".join(pocket), orjson.dumps(amount)) for pocket, amount in self._amounts.items())

    def restore(self, bodies: Iterator[tuple[str, bytes]]) -> None:
        self.clear()
        for id_, body in bodies:
            self._amounts[Pocket(*id_.split("|"))] = orjson.loads(body)
