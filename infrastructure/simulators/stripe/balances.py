"""Double-entry balances: each posting takes from one holder and gives to another, so the total is
always zero."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from infrastructure.simulators.stripe.state_file import Record, Records, WriteBuffer

KIND = "balance"
PLATFORM = "platform"
OUTSIDE = "world"
"""The other side of every funding, drain and payout: banks, buyers, and all others outside
Stripe."""


class BalanceKey(NamedTuple):
    """One amount of one holder. `bucket` is `available` or `pending`."""

    holder: str
    currency: str
    bucket: str = "available"


class Balances:
    def __init__(self, buffer: WriteBuffer) -> None:
        self._buffer = buffer
        self._amounts: defaultdict[BalanceKey, int] = defaultdict(int)

    def amount(self, key: BalanceKey) -> int:
        return self._amounts.get(key, 0)

    def move(self, amount: int, source: BalanceKey, target: BalanceKey) -> None:
        """Move money. Raises ValueError for anything but a natural number, and for two
        currencies."""
        if type(amount) is not int or amount < 0 or source.currency != target.currency:
            raise ValueError(
                f"cannot move {amount} from {source} to {target}: amounts are whole and "
                "positive, currencies equal"
            )
        for key, delta in ((source, -amount), (target, amount)):
            self._amounts[key] += delta
            self._buffer.put(KIND, "|".join(key), self._amounts[key])

    def totals(self) -> dict[str, int]:
        """Return the sum over all holders, `OUTSIDE` included, for each currency. Anything but zero
        is an error."""
        totals: defaultdict[str, int] = defaultdict(int)
        for key, amount in self._amounts.items():
            totals[key.currency] += amount
        return dict(totals)

    def of(self, holder: str) -> dict[str, dict[str, int]]:
        """Return the holder's amounts such as `{"available": {"usd": 5}, "pending": {}}`."""
        return self.by_holder(holder).get(holder, {"available": {}, "pending": {}})

    def by_holder(self, only: str | None = None) -> dict[str, dict[str, dict[str, int]]]:
        """Return the same for each holder, `OUTSIDE` included."""
        holders: dict[str, dict[str, dict[str, int]]] = {}
        for (holder, currency, bucket), amount in self._amounts.items():
            if only is None or holder == only:
                holders.setdefault(holder, {"available": {}, "pending": {}})[bucket][currency] = (
                    amount
                )
        return holders

    def held_by(self, holder: str) -> list[BalanceKey]:
        """Return the keys of the holder's amounts."""
        return [key for key in self._amounts if key.holder == holder]

    def __contains__(self, key: BalanceKey) -> bool:
        return key in self._amounts

    def clear(self) -> None:
        self._amounts.clear()

    def records(self) -> Iterator[Record]:
        return (
            (KIND, "|".join(key), orjson.dumps(amount)) for key, amount in self._amounts.items()
        )

    def restore(self, records: Records) -> None:
        self.clear()
        for id_, body in records.get(KIND, ()):
            self._amounts[BalanceKey(*id_.split("|"))] = orjson.loads(body)
