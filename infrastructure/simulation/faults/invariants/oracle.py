"""The oracle of the fault simulation: all invariants, after each step and at the end."""

from collections.abc import Iterable, Iterator

from infrastructure.simulation.faults.books import Books, StoredFactView
from infrastructure.simulation.faults.invariants.alarms import without_cause
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.evidence import without_evidence
from infrastructure.simulation.faults.invariants.glance import Glance
from infrastructure.simulation.faults.invariants.promises import Promises
from infrastructure.simulation.faults.invariants.refusals import Refusals
from infrastructure.simulation.faults.invariants.rows import broken_order_rows, broken_rows
from infrastructure.simulation.faults.invariants.settlement import unsettled
from infrastructure.simulation.faults.invariants.stripe import RequestLog, broken_at_stripe
from infrastructure.simulation.faults.invariants.told import Told
from infrastructure.simulation.faults.invariants.world import World


class InvariantOracle:
    """Judges the books of one run by the invariants. Its memory spans the restores."""

    def __init__(self, schedule: object = None) -> None:
        """Make the oracle of a new run; it needs nothing of the schedule."""
        self._told, self._world = Told(), World()
        self._requests, self._promises, self._refusals = RequestLog(), Promises(), Refusals()
        self._era, self._facts = 0, list[StoredFactView]()

    def after_step(self, books: Books) -> Iterable[str]:
        """Return the broken invariants of safety."""
        return list(self._safety(Glance(books)))

    def at_end(self, books: Books) -> Iterable[str]:
        """Return the broken invariants of safety and liveness, after the healing."""
        return list(self._liveness(Glance(books)))

    def _safety(self, books: Glance) -> Iterator[str]:
        if books.era != self._era:
            self._era, self._told, self._facts = books.era, Told(), []
            self._refusals = Refusals()
        new = books.facts(len(self._facts))
        wrong = list(self._positions(new))
        for one in new:
            wrong += self._told.take(one)
            self._world.intent(one)
        self._world.see(books, self._told)
        yield from wrong
        for one in new:
            yield from without_evidence(one, books, self._told, self._world)
            yield from self._refusals.take(one, books)
        if new:
            yield from broken_rows(books, self._told)
        yield from self._requests.broken(books, self._world)
        yield from broken_at_stripe(books, self._told, self._world)
        yield from self._promises.broken(books, self._told)
        self._facts += new

    def _positions(self, new: Iterable[StoredFactView]) -> Iterator[str]:
        for position, one in enumerate(new, len(self._facts) + 1):
            if one.position != position:
                yield broken(
                    "positions_have_no_gaps",
                    f"fact {one.topic} has position {one.position}, expected {position}",
                )

    def _liveness(self, books: Glance) -> Iterator[str]:
        yield from self._safety(books)
        if list(books.facts()) != self._facts:
            changed = next((old for old, now in zip(self._facts, books.facts(), strict=False)
                            if old != now), None)  # fmt: skip
            yield broken(
                "facts_never_change",
                f"{len(self._facts)} facts were read and {len(books.facts())} are stored; the "
                f"first that differs is {changed and changed.position}",
            )
        yield from broken_rows(books, self._told)
        yield from broken_order_rows(books, self._told)
        yield from self._promises.broken_at_end(books, self._told)
        yield from unsettled(books, self._told, self._world)
        yield from without_cause(books, self._told, self._world)
