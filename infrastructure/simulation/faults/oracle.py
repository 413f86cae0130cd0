"""Port of the oracle that judges a run with faults."""

from collections.abc import Iterable
from typing import Protocol

from infrastructure.simulation.faults.books import Books
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.oracle import InvariantOracle
from infrastructure.simulation.faults.schedule import Schedule


class Oracle(Protocol):
    """Judges the books. A new one is made for each run."""

    def after_step(self, books: Books) -> Iterable[str]:
        """Return what is wrong right after an append or an answer of a provider: safety."""

    def at_end(self, books: Books) -> Iterable[str]:
        """Return what is wrong after the healing: safety and liveness."""


class NewOracle(Protocol):
    """Makes the oracle of a run."""

    def __call__(self, schedule: Schedule) -> Oracle: ...


class BooksJudged:
    """The independent invariants after each step, and at the end the product's own comparison of
    the books as well."""

    def __init__(self, schedule: Schedule) -> None:
        """Make the oracle of one run."""
        self._invariants = InvariantOracle(schedule)

    def after_step(self, books: Books) -> Iterable[str]:
        return self._invariants.after_step(books)

    def at_end(self, books: Books) -> Iterable[str]:
        compared = [broken("books_are_equal", one) for one in books.comparison]
        return [*self._invariants.at_end(books), *compared]
