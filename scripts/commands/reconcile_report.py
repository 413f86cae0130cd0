"""Report of a reconciliation, as text or JSON. A temporary file keeps the findings until all are
known, however many."""

import json
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

import typer

from application.reconciliation.adoption import ADOPTED, IGNORED
from application.reconciliation.reader import DetectedDifference
from domain.finding import Difference, DifferenceKind
from projections.audit_trail.payload import instant
from scripts.commands.output import print_line

Line = dict[str, object]


class ReconcileReport:
    """Collects findings one by one. Findings that the command line decides about are kept in
    memory."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids
        self.chosen: dict[str, Difference] = {}
        self.count = 0
        self._undecided: Counter[str] = Counter()
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `__exit__`

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, found: DetectedDifference) -> None:
        """Add a finding."""
        difference = found.difference
        self.count += 1
        if difference.id in self._ids:
            self.chosen[difference.id] = difference
        elif found.ignored is None:
            self._undecided[difference.kind] += 1
        self._file.write(json.dumps(_line(found), default=str) + "\n")

    def undecided(self, outcomes: Mapping[str, str]) -> int:
        """Count the differences without a decision that was carried out. Transfers at Stripe that
        are not ours do not count."""
        refused = sum(outcome not in (ADOPTED, IGNORED) for outcome in outcomes.values())
        return refused + sum(
            count for kind, count in self._undecided.items() if kind != DifferenceKind.UNCLAIMED
        )

    def show(
        self, outcomes: Mapping[str, str], now: datetime, as_json: bool, skipped: int = 0
    ) -> None:
        """Print all findings, with the outcomes of the decisions by the id of the finding.

        `skipped` is the number of transfers of others that could not be read.
        """
        lines = (_aged(line, outcomes, now) for line in self._lines())
        if as_json:
            _show_json(lines)
        else:
            _show_text(lines)
        if skipped:
            typer.echo(f"Skipped {skipped} unreadable transfers that are not ours.", err=as_json)

    def _lines(self) -> Iterator[Line]:
        self._file.seek(0)
        return (json.loads(text) for text in self._file)


def _line(found: DetectedDifference) -> Line:
    decision = found.ignored
    by = None
    if decision is not None:
        by = {
            "actor": decision.actor,
            "reason": decision.reason,
            "at": instant(decision.updated_at),
        }
    since = instant(found.since)
    return {"id": found.difference.id, **found.difference._asdict(), "since": since, "ignored": by}


def _aged(line: Line, outcomes: Mapping[str, str], now: datetime) -> Line:
    age = (now - datetime.fromisoformat(str(line["since"]))).days
    return {**line, "age_days": age, "outcome": outcomes.get(str(line["id"]))}


def _show_json(lines: Iterator[Line]) -> None:
    separator = "[\n"
    for line in lines:
        typer.echo(separator + json.dumps(line, indent=2), nl=False)
        separator = ",\n"
    typer.echo("\n]" if separator == ",\n" else "[]")


def _show_text(lines: Iterator[Line]) -> None:
    risks: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for line in lines:
        print_line(
            f"{line['id']}: {line['detail']} At risk: {line['at_risk']} {line['currency']}, "
            f"{line['age_days']} days old."
        )
        print_line(f"  {_state(line)}")
        ignored = line["ignored"] is not None or line["outcome"] == IGNORED
        counts[
            "ignored"
            if ignored
            else "unclaimed"
            if line["kind"] == DifferenceKind.UNCLAIMED
            else "findings"
        ] += 1
        if not ignored and line["outcome"] != ADOPTED:
            risks[str(line["currency"])] += int(str(line["at_risk"]))
    at_risk = (
        ", ".join(f"{amount} {currency}" for currency, amount in sorted(risks.items()) if amount)
        or "nothing"
    )
    summary = (
        f"{counts['findings']} findings, {counts['unclaimed']} unclaimed transfers, "
        f"{counts['ignored']} ignored"
    )
    print_line(f"{summary}; at risk: {at_risk} (minor units).")


def _state(line: Line) -> str:
    ignored = line["ignored"]
    if line["outcome"] is not None:
        return str(line["outcome"])
    if isinstance(ignored, dict):
        return f"ignored by {ignored['actor']} on {ignored['at'][:10]}: {ignored['reason']}"
    return f"not adoptable: {line['obstacle']}" if line["obstacle"] is not None else "adoptable"
