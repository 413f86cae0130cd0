"""Refusals that Stripe stores: the same key gives the same answer for a day."""

from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure.simulation.faults.books import StoredFactView
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.glance import Glance

TOPIC = "ledger.seller_transfer."
STORED = (400, 402)
"""Statuses of refusals that come from the execution of a request, so that Stripe stores them."""
REFUSED = ("rejected", "awaiting_funds")
"""Reasons of a deferral that mean a refusal."""
UNHEARD = ("exhausted", "evidence_held")
"""Reasons of a failure after which the ledger has read Stripe's books, and has heard no refusal."""


class Refusals:
    """Keys under which Stripe has refused, as far as the ledger has recorded it. A restore begins a
    new one."""

    def __init__(self) -> None:
        self._asked: dict[str, str] = {}
        """The last key of each transfer."""
        self._refused = set[str]()

    def take(self, one: StoredFactView, books: Glance) -> Iterator[str]:
        """Remember a recorded refusal, and yield an intent under a key that is refused already."""
        name, fact = one.topic.removeprefix(TOPIC), one.fact
        if name == "call_started":
            self._asked[one.stream_id] = fact["key"]
            if fact["key"] in self._refused:
                yield broken(
                    "no_key_after_a_refusal",
                    f"key {fact['key']} is to be used again at position {one.position}, and Stripe "
                    f"has stored a refusal for it",
                )
        elif _tells_refusal(name, fact):
            key = self._asked.get(one.stream_id)
            if any(sent.key == key and sent.status in STORED for sent in books.requests):
                self._refused.add(key or "")


def _tells_refusal(name: str, fact: Mapping[str, Any]) -> bool:
    """Return whether a fact records a refusal that the ledger has heard.

    A refusal whose answer was lost each time is not known to the ledger. After its attempts and
    the look-up, the same key is right: Stripe repeats the refusal, and the next key follows.
    """
    if name == "failed":
        return fact["reason"] not in UNHEARD
    return name == "attempt_deferred" and fact["why"] in REFUSED
