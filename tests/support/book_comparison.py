"""Comparison of Stripe's books with the facts and rows of the database in memory, for the end of
every scenario."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from infrastructure.simulation.book_comparison import Snapshot, compared
from infrastructure.simulation.in_memory.constraints import KINDS
from infrastructure.simulation.in_memory.database import MemoryDatabase
from tests.support.json_types import Json


class ComparedStripe(Protocol):
    """A Stripe that shows its own books."""

    @property
    def transfers(self) -> list[Json]:
        """Return every transfer with all its reversals."""
        ...

    @property
    def violations(self) -> Sequence[str]: ...


def books_agree(stripe: ComparedStripe, database: MemoryDatabase) -> None:
    """Compare the books. Raises AssertionError that names every difference. No process may be at
    work meanwhile."""
    rows = {table: list(database.tables[table].values()) for table in KINDS}
    inbox = Counter(row.status for row in database.inbox.rows.values())
    found = compared(Snapshot(database.recorded, rows, inbox), stripe.transfers, stripe.violations)
    assert not found, "the books disagree:\n" + "\n".join(found)
