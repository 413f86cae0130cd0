"""Refusals that Stripe stores: the same key gives the same answer for a day."""

from collections.abc import Iterator

from infrastructure.simulation.faults.books import StoredFactView
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.glance import Glance

TOPIC = "ledger.seller_transfer."
STORED = (400, 402)
"""Statuses of refusals that come from the execution of a request, so that Stripe stores them."""
REFUSED = ("rejected", "awaiting_funds")
"""Reasons of a deferral that mean a refusal."""


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
        elif name == "failed" or (name == "attempt_deferred" and fact["why"] in REFUSED):
            key = self._asked.get(one.stream_id)
            if any(sent.key == key and sent.status in STORED for sent in books.requests):
                self._refused.add(key or "")
