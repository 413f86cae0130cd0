"""A refund, divided among the sellers: their parts, the reversals that take them back, and the rest
that the platform bears."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from infrastructure.web.console.ledger import Json
from infrastructure.web.console.residue import Division, division_of, explained
from infrastructure.web.console.texts import money

SETTLED: Final = {
    "reversed": "came back",
    "reduced": "were deducted before the transfer was sent",
    "cancelled": "were deducted before the transfer was sent",
    "resolved": "were settled by a person",
    "withdrawn": "are not taken any more",
}
OPEN: Final = {
    "queued": "wait for an earlier step",
    "requested": "are being taken back",
    "waiting_for_payment": "are deducted once the order is paid",
}
STUCK: Final = {"failed": "did not come back, and need a person"}
"""Words for the parts of a refund with each status."""


class Progress(NamedTuple):
    """The progress of a refund's parts. `tone`: `bad`, `waits` or `good`."""

    tone: str
    lines: list[str]


def divided(refund: Json, order: Json) -> Json:
    """Return a refund with each seller's share, and with the explained part that no seller
    bears."""
    shares = {one["seller_id"]: one for one in order["shares"]}
    reversals = _reversals(order)
    parts = [
        {
            **part,
            **_share_of(shares.get(part["seller_id"])),
            "reversal": reversals.get(part["reversal_id"] or ""),
        }
        for part in refund["allocation"]
    ]
    shown = {
        **refund,
        "allocation": parts,
        "progress": progress(parts),
        "undecided": refund["status"] == "review",
    }
    if refund["currency"] != order["currency"]:
        why = f"The refund is in {refund['currency']}, so a person has divided it."
        return {**shown, "platform": None, "explained": [why]}
    before, after = _divisions(refund, order)
    lines = explained(before, after, order["currency"])
    return {**shown, "platform": after.borne - before.borne, "explained": lines}


def _divisions(refund: Json, order: Json) -> tuple[Division, Division]:
    """Return the divisions before and after a refund, with the earlier refunds of its order."""
    counted = sorted(
        (
            one
            for one in order["refunds"]
            if one["status"] == "succeeded" and one["currency"] == order["currency"]
        ),
        key=lambda one: str(one["created_at"]),
    )
    place = next(
        (n for n, one in enumerate(counted) if one["refund_id"] == refund["refund_id"]), None
    )
    earlier = counted if place is None else counted[:place]
    return division_of(order, earlier), division_of(order, [*earlier, refund])


def _share_of(share: Json | None) -> Json:
    if share is None:
        return {"share": None, "currency": ""}
    return {"share": share["amount"], "currency": share["currency"]}


def progress(parts: Iterable[Json]) -> Progress:
    """Sum the parts of a refund by their fate, the worst first."""
    sums: dict[tuple[str, str], int] = {}
    for part in parts:
        words = {**STUCK, **OPEN, **SETTLED}[part["status"]]
        key = words, part["currency"]
        sums[key] = sums.get(key, 0) + part["amount"]
    told = [words for words, _ in sums]
    tone = "good"
    if any(words in OPEN.values() for words in told):
        tone = "waits"
    if any(words in STUCK.values() for words in told):
        tone = "bad"
    order = [*STUCK.values(), *OPEN.values(), *SETTLED.values()]
    lines = sorted(sums.items(), key=lambda one: order.index(one[0][0]))
    return Progress(
        tone, [f"{money(amount, currency)} {words}." for (words, currency), amount in lines]
    )


def _reversals(order: Json) -> dict[str, Json]:
    """Return the reversals of an order with the state of their transfers, by id."""
    return {
        one["reversal_id"]: {
            "stripe_reversal_id": one["stripe_reversal_id"],
            "waiting_for": transfer["waiting_for"],
            "next_retry_at": transfer["next_retry_at"],
        }
        for transfer in order["transfers"]
        for one in transfer["reversals"]
    }
