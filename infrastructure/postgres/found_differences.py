"""Differences that the newest reconciliation of their period has found, so that a person can decide
about them later."""

from datetime import datetime

from application.reconciliation.reader import DetectedDifference
from domain.finding import Difference, DifferenceKind
from infrastructure.postgres.check_runs import CheckRuns
from infrastructure.postgres.connections import Pool, execute, fetch_one, fetch_rows
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.texts import cleaned

SQL = queries("found_differences")


class FoundDifferences:
    """The differences that one reconciliation finds. A role that only reads keeps none."""

    def __init__(self, pool: Pool, began: datetime, *, writes: bool) -> None:
        self._pool, self._began, self._writes, self._undecided = pool, began, writes, 0

    @classmethod
    async def begin(cls, pool: Pool) -> "FoundDifferences":
        """Begin a reconciliation."""
        row = await fetch_one(pool, SQL["begin"])
        assert row, "the statement always returns a row"
        return cls(pool, row[0], writes=row[1])

    async def add(self, found: DetectedDifference) -> None:
        """Keep a difference. Transfers of others on the same account are no differences."""
        one = found.difference
        if not self._writes or one.kind is DifferenceKind.UNCLAIMED:
            return
        self._undecided += found.ignored is None
        values = one._asdict() | {
            "finding_id": one.id,
            "kind": one.kind.value,
            "detail": cleaned(one.detail),
            "since": found.since,
        }
        await execute(self._pool, SQL["keep"], values)

    async def end(self, start: datetime, end: datetime, read: int) -> None:
        """Forget the differences of this period that were not found again, and record the end of
        the reconciliation, which has read `read` transfers."""
        if not self._writes:
            return
        values = {"start": start, "end": end, "began": self._began}
        await execute(self._pool, SQL["forget"], values)
        told = (
            f"{self._undecided or 'No'} differences without a decision in {read} transfers from "
            f"{start:%Y-%m-%d} to {end:%Y-%m-%d}."
        )
        await CheckRuns(self._pool).record("reconcile", self._undecided, told)


async def difference_named(pool: Pool, finding_id: str) -> Difference | None:
    """Return a difference that a reconciliation has kept."""
    rows = await fetch_rows(pool, Difference, SQL["one"], (finding_id,))
    return next((row._replace(kind=DifferenceKind(row.kind)) for row in rows), None)
