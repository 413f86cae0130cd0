"""Latency of Stripe: quantiles of recorded test-mode requests, in milliseconds."""

import random
from typing import NamedTuple

from infrastructure.simulators.common.fault_actions import Latency


class Quantiles(NamedTuple):
    median: float
    tenth_slowest: float
    slowest: float


RECORDED = {
    "transfers.create": Quantiles(1012, 1156, 1327),
    "reversals.create": Quantiles(1233, 3961, 7043),
    "transfers.retrieve": Quantiles(325, 378, 929),
    "transfers.list": Quantiles(414, 900, 1185),
}
OTHERS = Quantiles(552, 1340, 5097)
FASTEST_OF_MEDIAN = 0.6
"""The recordings have no minimum: this share of the median replaces the minimum."""


def seconds_of(action: Latency, operation: str, random_: random.Random) -> float:
    """Return the delay that the action asks for."""
    if action.recorded:
        milliseconds = recorded(operation, random_.random())
    elif action.between is not None:
        milliseconds = random_.uniform(*action.between)
    else:
        milliseconds = action.ms or 0.0
    return milliseconds * action.scale / 1000


def recorded(operation: str, share: float) -> float:
    """Return the milliseconds below which `share` (0 to 1) of the requests stay, interpolated
    between the quantiles."""
    known = RECORDED.get(operation, OTHERS)
    if share < 0.5:
        return _between(known.median * FASTEST_OF_MEDIAN, known.median, share / 0.5)
    if share < 0.9:
        return _between(known.median, known.tenth_slowest, (share - 0.5) / 0.4)
    return _between(known.tenth_slowest, known.slowest, (share - 0.9) / 0.1)


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
