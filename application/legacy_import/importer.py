"""Importer: stores an older system's transfers as opening facts, and compares the read model with
its rows."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple, Protocol
from uuid import UUID

from application.legacy_import.row_parser import BadCell, Cells, differing, imported
from application.ports import Clock, EventLog
from domain.errors import Conflict, ConstraintBroken
from domain.fact import Fact, opened
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.opening_facts import Imported

BATCH, MOST_SENTENCES = 250, 50
ATTEMPTS = 5
"""Attempts to store a batch while other imports store some of its rows."""


class LegacyRow(NamedTuple):
    """A row of the older system that can be imported."""

    number: int
    fact: Imported
    due_now: bool
    """The row has no `next_retry_at`: its fact has the time of the import."""


class RecordedTransfers(Protocol):
    """The transfers that are recorded here."""

    async def first_facts(self, ids: Collection[UUID]) -> Mapping[UUID, Fact]:
        """Return the first fact of each of these transfers that exists."""
        ...

    async def differing_columns(self, rows: Sequence[LegacyRow]) -> Mapping[int, Sequence[str]]:
        """Return by row number the columns of the read model that differ from the row.

        A transfer with facts after its import does not count: the older system's row is out of
        date.
        """
        ...


@dataclass(slots=True)
class ImportReport:
    """Counts of a pass over all rows, and sentences about bad and differing rows, at most
    `MOST_SENTENCES` of them."""

    dry_run: bool
    imported: int = 0
    already_there: int = 0
    differ: int = 0
    bad: int = 0
    unclear: int = 0
    """Pending and failed rows among the imported ones: each waits until a person clears it."""
    sentences: list[str] = field(default_factory=list)

    def add_bad(self, number: int, why: str) -> None:
        self.bad += 1
        self._say(number, why)

    def add_differing(self, number: int, why: str) -> None:
        self.differ += 1
        self._say(number, why)

    def add_imported(self, rows: Collection[LegacyRow]) -> None:
        self.imported += len(rows)
        self.unclear += sum(row.fact.uncleared for row in rows)

    def merge(self, attempt: "ImportReport") -> None:
        """Add the bad and differing rows of a batch."""
        self.differ, self.bad = self.differ + attempt.differ, self.bad + attempt.bad
        self.sentences += attempt.sentences[: MOST_SENTENCES - len(self.sentences)]

    def _say(self, number: int, why: str) -> None:
        if len(self.sentences) < MOST_SENTENCES:
            self.sentences.append(f"row {number}: {why}")


class Importer:
    """Imports rows in batches. An import that was cut can be repeated: rows that are recorded
    already are only compared."""

    def __init__(self, log: EventLog, recorded: RecordedTransfers, clock: Clock) -> None:
        self._log, self._recorded, self._clock = log, recorded, clock

    async def run(
        self, rows: Iterable[Cells], source: str, *, store: bool, on_progress: Callable[[int], None]
    ) -> ImportReport:
        """Check all rows, or check and store them. `source` is named in the evidence of each fact.

        Raises Conflict when other imports of the same rows win `ATTEMPTS` times.
        """
        report, now = ImportReport(dry_run=not store), self._clock.now()
        numbered = enumerate(rows, start=1)
        while batch := list(islice(numbered, BATCH)):
            parsed = [
                row
                for number, cells in batch
                if (row := _parse(source, number, cells, now, report))
            ]
            await (self._store_batch if store else self._check_batch)(parsed, report)
            on_progress(len(batch))
        return report

    async def _check_batch(self, rows: Sequence[LegacyRow], report: ImportReport) -> None:
        new, known = await self._split(rows, report)
        report.add_imported(new)
        await self._compare(known, report)

    async def _store_batch(self, rows: Sequence[LegacyRow], report: ImportReport) -> None:
        for left in reversed(range(ATTEMPTS)):
            attempt = ImportReport(report.dry_run)
            new, known = await self._split(rows, attempt)
            try:
                stored = await self._store(new, attempt)
            except Conflict:
                if not left:
                    raise
                continue  # another import has stored some of the rows: the next attempt knows them
            report.merge(attempt)
            report.add_imported(stored)
            await self._compare([*stored, *known], report, stored)
            return

    async def _split(
        self, rows: Sequence[LegacyRow], report: ImportReport
    ) -> tuple[list[LegacyRow], list[LegacyRow]]:
        """Return the new rows, and the rows whose transfer is recorded with the same content.
        Report the others."""
        first = dict(await self._recorded.first_facts([row.fact.originator_id for row in rows]))
        new, known = [], []
        for row in rows:
            before = first.setdefault(row.fact.originator_id, row.fact)
            if before is row.fact:
                new.append(row)
            elif names := differing(before, row.fact, due_now=row.due_now):
                transfer = f"transfer {row.fact.originator_id}"
                report.add_differing(
                    row.number, f"{transfer} is here already and differs in {', '.join(names)}."
                )
            else:
                known.append(row)
        return new, known

    async def _store(self, rows: Sequence[LegacyRow], report: ImportReport) -> list[LegacyRow]:
        """Return the stored rows. After a refusal by the database, each half is tried, until the
        bad rows are found."""
        if not rows:
            return []
        try:
            uow = await self._log.load([])
            uow.add(opened(SellerTransfer, row.fact) for row in rows)
            await self._log.append(uow)
        except ConstraintBroken as broken:
            if len(rows) > 1:
                middle = len(rows) // 2
                return [
                    row
                    for half in (rows[:middle], rows[middle:])
                    for row in await self._store(half, report)
                ]
            report.add_bad(
                rows[0].number, f"transfer {rows[0].fact.originator_id} is not stored: {broken}"
            )
            return []
        return list(rows)

    async def _compare(
        self, rows: Sequence[LegacyRow], report: ImportReport, stored: Sequence[LegacyRow] = ()
    ) -> None:
        new, differing_columns = (
            {row.number for row in stored},
            await self._recorded.differing_columns(rows),
        )
        for row in rows:
            if names := differing_columns.get(row.number):
                transfer = f"the row of transfer {row.fact.originator_id}"
                report.add_differing(row.number, f"{transfer} differs in {', '.join(names)}.")
            elif row.number not in new:
                report.already_there += 1


def _parse(
    source: str, number: int, cells: Cells, now: datetime, report: ImportReport
) -> LegacyRow | None:
    try:
        fact = imported(cells, f"{source}, row {number}", now)
    except BadCell as bad:
        report.add_bad(number, str(bad))
        return None
    return LegacyRow(number, fact, due_now=not cells.text("next_retry_at"))
