"""Comparison of Stripe's records with ours: totals per seller, and duplicates."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from scripts.demo.service_under_test import Json


class SellerTotals(NamedTuple):
    """Amounts sent to a seller and reversed, in minor units, in Stripe's records and in ours."""

    seller: str
    sent_stripe: int
    sent_ours: int
    back_stripe: int
    back_ours: int

    @property
    def agrees(self) -> bool:
        """Return whether both records have the same totals."""
        return self.sent_stripe == self.sent_ours and self.back_stripe == self.back_ours


def totals_by_seller(stripe: Json, ours: Sequence[Json]) -> list[SellerTotals]:
    """Add up the transfers of each seller."""
    sent_stripe: Counter[str] = Counter()
    back_stripe: Counter[str] = Counter()
    for transfer in stripe["transfers"]:
        sent_stripe[transfer["destination"]] += transfer["amount"]
        back_stripe[transfer["destination"]] += sum(
            reversal["amount"] for reversal in transfer["reversals"]
        )
    known = {transfer["id"] for transfer in stripe["transfers"]}
    sent_ours: Counter[str] = Counter()
    back_ours: Counter[str] = Counter()
    for row in ours:
        if row["stripe_transfer_id"] in known:
            sent_ours[row["destination"]] += row["amount"]
            back_ours[row["destination"]] += row["amount_reversed"]
    sellers = sorted({*sent_stripe, *sent_ours})
    return [
        SellerTotals(
            s.removeprefix("acct_1"), sent_stripe[s], sent_ours[s], back_stripe[s], back_ours[s]
        )
        for s in sellers
    ]


def duplicates(stripe: Json) -> list[str]:
    """Return our ids for which Stripe has several transfers or reversals."""
    ids = [t["metadata"].get("transfer_id") for t in stripe["transfers"]]
    ids += [r["metadata"].get("reversal_id") for t in stripe["transfers"] for r in t["reversals"]]
    return [str(name) for name, times in Counter(filter(None, ids)).items() if times > 1]
