"""Stripe's books against ours, to the cent: per transfer, and per seller."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from scripts.demo.stage import Json


class Net(NamedTuple):
    """What a seller has received and given back, in minor units, by Stripe's books and by ours."""

    seller: str
    sent_stripe: int
    sent_ours: int
    back_stripe: int
    back_ours: int

    @property
    def agrees(self) -> bool:
        return self.sent_stripe == self.sent_ours and self.back_stripe == self.back_ours


def compare(stripes: Json, ours: Sequence[Json]) -> list[Net]:
    """One line per seller of both books."""
    sent_stripe: Counter[str] = Counter()
    back_stripe: Counter[str] = Counter()
    for transfer in stripes["transfers"]:
        sent_stripe[transfer["destination"]] += transfer["amount"]
        back_stripe[transfer["destination"]] += sum(reversal["amount"] for reversal in transfer["reversals"])
    known = {transfer["id"] for transfer in stripes["transfers"]}
    sent_ours: Counter[str] = Counter()
    back_ours: Counter[str] = Counter()
    for row in ours:
        if row["stripe_transfer_id"] in known:
            sent_ours[row["destination"]] += row["amount"]
            back_ours[row["destination"]] += row["amount_reversed"]
    sellers = sorted({*sent_stripe, *sent_ours})
    return [Net(s.removeprefix("acct_1"), sent_stripe[s], sent_ours[s], back_stripe[s], back_ours[s]) for s in sellers]


def twice(stripes: Json) -> list[str]:
    """Transfers and reversals that Stripe holds more than once for one id of ours; must be empty."""
    ids = [t["metadata"].get("transfer_id") for t in stripes["transfers"]]
    ids += [r["metadata"].get("reversal_id") for t in stripes["transfers"] for r in t["reversals"]]
    return [str(name) for name, times in Counter(filter(None, ids)).items() if times > 1]
