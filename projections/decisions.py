"""Decisions of a person that no row shows: about a stored webhook, and about a seller's account.

They are found in the feed of all facts and in the history of their stream.
"""

from typing import NamedTuple

from domain.fact import Fact


class DecisionFold(NamedTuple):
    """State of a stream that has no rows: its version."""

    version: int


def evolve(fold: DecisionFold | None, fact: Fact) -> DecisionFold:
    """Return the state after a fact."""
    return DecisionFold(fact.originator_version)


def no_rows(
    before: DecisionFold | None, after: DecisionFold
) -> dict[str, list[tuple[object, ...]]]:
    """Return no rows."""
    return {}
