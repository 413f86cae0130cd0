"""The timeline of a transfer: three lanes, each call with its outcome, and equal attempts folded
into one."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from infrastructure.web.console.ledger import Json

BUYER, LEDGER, STRIPE = "buyer", "ledger", "stripe"
LANES = {BUYER: "Buyer and payment provider", LEDGER: "Ledger", STRIPE: "Stripe"}
_OUTCOMES = frozenset({
    "Completed", "Failed", "AttemptDeferred", "PartiallyReversed", "Reversed", "EvidenceHeld",
    "PermanentlyFailed", "ChargeFound", "ChargeNotFound", "ChargeReadDeferred",
})  # fmt: skip
"""Facts that repeat an answer of Stripe."""


class Step(NamedTuple):
    """One fact, or a call with its outcome. `kind` is equal for attempts that ended alike."""

    lane: str
    entries: Sequence[Json]
    kind: str

    @property
    def last(self) -> Json:
        return self.entries[-1]


class Fold(NamedTuple):
    """Steps that are shown as one: the last of them, and the others on request."""

    last: Step
    earlier: Sequence[Step]

    @property
    def first(self) -> Step:
        return self.earlier[0] if self.earlier else self.last


def timeline(entries: Sequence[Json], transfer_id: str) -> list[Fold]:
    """Build the timeline of one transfer from the history of its order, oldest first. Facts of the
    order's other transfers are left out."""
    own = [
        entry
        for entry in entries
        if entry["stream"] != "seller_transfer" or entry["stream_id"] == transfer_id
    ]
    folds = []
    for _, equal in groupby(_steps(own), key=lambda step: step.kind):
        *earlier, last = equal
        folds.append(Fold(last, earlier))
    return folds


def _steps(entries: Iterable[Json]) -> list[Step]:
    steps: list[Step] = []
    for entry in entries:
        began = steps[-1].last if steps else None
        if began is not None and _ends(entry, began):
            steps[-1] = Step(_lane(entry), [*steps[-1].entries, entry], _kind(entry))
        else:
            steps.append(Step(_lane(entry), [entry], _kind(entry)))
    return steps


def _ends(entry: Json, began: Json) -> bool:
    same = entry["stream_id"] == began["stream_id"]
    of_call = began["key"] is not None and entry["key"] == began["key"]
    return bool(same and of_call and began["fact"] == "CallStarted")


def _kind(entry: Json) -> str:
    if entry["fact"] not in ("AttemptDeferred", "Failed"):
        return str(entry["position"])
    told = entry["payload"]
    return f"{entry['stream_id']} {entry['fact']} {told.get('what')} {told.get('why')} " + str(
        entry["error"]
    )


def _lane(entry: Json) -> str:
    if entry["stream"] == "seller_transfer":
        at_stripe = entry["fact"] in _OUTCOMES or entry["by"].startswith("stripe:")
        return STRIPE if at_stripe else LEDGER
    return STRIPE if entry["by"].startswith("stripe:") or entry["fact"] in _OUTCOMES else BUYER
