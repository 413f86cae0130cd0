"""Chance of one element of a schedule."""

import math
import random
from collections.abc import Sequence


class Draw:
    """The chance of one element: independent of all others."""

    def __init__(self, seed: int, name: str) -> None:
        self.chance = random.Random(f"{seed} {name}")
        self.seed = self.chance.getrandbits(32)

    def early(self, span: float) -> float:
        """Return an instant in the span, near its beginning more often."""
        return round(span * self.chance.random() ** 2, 3)

    def near(self, moments: Sequence[float]) -> float:
        """Return an instant right before or after one of these moments, or the beginning."""
        moment = self.chance.choice(moments) if self.chance.random() < 0.8 else 0.0
        return round(max(0.0, moment + self.chance.choice((-1, 1)) * self.seconds(0.01, 60)), 3)

    def seconds(self, low: float, high: float) -> float:
        """Return a length, short ones as often as long ones."""
        return round(low * math.pow(high / low, self.chance.random()), 3)
