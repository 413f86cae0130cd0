"""What a reconciliation found, as text or as JSON. Findings wait in a file until all are known, however many there are."""

import json
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Self

import typer

from domain.finding import Difference, DifferenceKind
from infrastructure.postgres.reconciliation import LetStand
from projections.audit_trail.payload import instant

ADOPTED, IGNORED = "adopted", "ignored"
Line = dict[str, object]


class Found(NamedTuple):
    """A difference, since when its transfer is at Stripe or, where it is not there, here, and who lets it stand."""

    difference: Difference
    since: datetime
    ignored: LetStand | None = None


class Report:
    """Takes findings one by one; those that a person decides about are kept at hand."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids
        self.chosen: dict[str, Difference] = {}
        self.count = 0
        self._undecided: Counter[str] = Counter()
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `__exit__`

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, found: Found) -> None:
        """One more."""
        difference = found.difference
        self.count += 1
        if difference.id in self._ids:
            self.chosen[difference.id] = difference
        elif found.ignored is None:
            self._undecided[difference.kind] += 1
        self._file.write(json.dumps(_line(found), default=str) + "\n")

    def left(self, outcomes: Mapping[str, str]) -> int:
        """How many differences nobody has decided about; what is not ours is none."""
        refused = sum(outcome not in (ADOPTED, IGNORED) for outcome in outcomes.values())
        return refused + sum(count for kind, count in self._undecided.items() if kind != DifferenceKind.UNCLAIMED)

    def show(self, outcomes: Mapping[str, str], now: datetime, as_json: bool) -> None:
        """All of them, with what has become of those that were decided about."""
        lines = (_aged(line, outcomes, now) for line in self._lines())
        if as_json:
            _show_json(lines)
        else:
            _show_text(lines)

    def _lines(self) -> Iterator[Line]:
        self._file.seek(0)
        return (json.loads(text) for text in self._file)


def _line(found: Found) -> Line:
    stands = found.ignored
    by = {"actor": stands.actor, "reason": stands.reason, "at": instant(stands.updated_at)} if stands is not None else None
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
        typer.echo(f"{line['id']}: {line['detail']} At risk: {line['at_risk']} {line['currency']}, {line['age_days']} days old.")
        typer.echo(f"  {_state(line)}")
        stands = line["ignored"] is not None or line["outcome"] == IGNORED
        counts["ignored" if stands else "unclaimed" if line["kind"] == DifferenceKind.UNCLAIMED else "findings"] += 1
        if not stands and line["outcome"] != ADOPTED:
            risks[str(line["currency"])] += int(str(line["at_risk"]))
    at_risk = ", ".join(f"{amount} {currency}" for currency, amount in sorted(risks.items()) if amount) or "nothing"
    told = f"{counts['findings']} findings, {counts['unclaimed']} unclaimed transfers, {counts['ignored']} ignored"
    typer.echo(f"{told}; at risk: {at_risk} (minor units).")


def _state(line: Line) -> str:
    ignored = line["ignored"]
    if line["outcome"] is not None:
        return str(line["outcome"])
    if isinstance(ignored, dict):
        return f"ignored by {ignored['actor']} on {ignored['at'][:10]}: {ignored['reason']}"
    return f"not adoptable: {line['obstacle']}" if line["obstacle"] is not None else "adoptable"
