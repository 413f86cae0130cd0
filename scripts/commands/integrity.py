"""`transfer-ledger rebuild`, `verify` and `seal`: what proves that rows, facts and chain belong together."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from infrastructure.bootstrap import database
from infrastructure.postgres.connections import connect_blocking
from infrastructure.postgres.integrity.rebuild import Rebuilt, rebuild, rehearse
from infrastructure.postgres.integrity.row_diff import Difference
from infrastructure.postgres.integrity.seals import read_key, read_seal
from infrastructure.postgres.integrity.seals import seal as sealed
from infrastructure.postgres.integrity.snapshot import OnProgress
from infrastructure.postgres.integrity.verify import Verified, verify
from infrastructure.settings import Settings
from projections.registry import DERIVED, Derived
from scripts.exit_codes import FOUND, fail


def rebuild_tables(settings: Settings, tables: Sequence[str], dry_run: bool, as_json: bool) -> int:
    """0 when the rows are what the facts say; 1 when a rehearsal finds that some are not, or when facts cannot be read."""
    chosen = _chosen(tables)
    with database(settings) as url, _progress("folding facts") as on_progress:
        result = (rehearse if dry_run else rebuild)(url, chosen, on_progress)
    if as_json:
        typer.echo(json.dumps(_as_json(result, dry_run), indent=2))
    else:
        _tell(result, dry_run)
    return FOUND if result.unreadable or (dry_run and result.count) else 0


def _chosen(tables: Sequence[str]) -> list[Derived]:
    names = [derived.table for derived in DERIVED]
    for table in tables:
        if table not in names:
            fail(f"{table!r} is no read model; expected one of {', '.join(names)}.")
    return [derived for derived in DERIVED if not tables or derived.table in tables]


def _tell(result: Rebuilt, dry_run: bool) -> None:
    for difference in result.differences.values():
        typer.echo(f"{'differs' if dry_run else 'repaired'}: {difference.table} {difference.id}: {difference.sentence}")
    if result.count > len(result.differences):
        typer.echo(f"… and {result.count - len(result.differences)} more rows")
    for one in result.unreadable:
        typer.echo(f"left alone: stream {one.stream}, at position {one.position}: {one.why}; see `transfer-ledger verify`")
    for table, found in result.tables.items():
        differing = result.counts.get(table, 0)
        what = f"{differing} {'differ' if dry_run else 'repaired'}" if differing else "all as the facts have them"
        typer.echo(f"{table}: {found.rows} rows at position {result.position}, {what}; sha256 {found.digest}")
    typer.echo(f"{result.facts} facts in {result.seconds:.1f} s")


def _as_json(result: Rebuilt, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "position": result.position,
        "facts": result.facts,
        "seconds": round(result.seconds, 3),
        "tables": {
            table: {"rows": found.rows, "sha256": found.digest, "differing": result.counts.get(table, 0)}
            for table, found in result.tables.items()
        },
        "differences": [_difference(difference) for difference in result.differences.values()],
        "omitted": result.count - len(result.differences),
        "unreadable": [{"stream": str(s), "position": position, "what": why} for s, position, why in result.unreadable],
    }


def _difference(difference: Difference) -> dict[str, object]:
    columns = {name: {"is": kept, "should_be": expected} for name, (kept, expected) in difference.columns.items()}
    kind = "missing" if difference.kept is None else "unknown to the facts" if difference.expected is None else "changed"
    return {"table": difference.table, "id": difference.id, "kind": kind, "columns": columns}


def verify_ledger(settings: Settings, seals: Sequence[Path], key_file: Path | None, as_json: bool) -> int:
    """0 when everything is as it must be. Raises InvalidSeal."""
    key = read_key(_content(key_file)) if key_file else None
    known = [read_seal(_content(file)) for file in seals]
    with database(settings) as url, _progress("checking") as on_progress:
        verified = verify(url, known, key, on_progress)
    if as_json:
        typer.echo(json.dumps(_verified(verified), indent=2))
    else:
        _tell_findings(verified, len(known))
    return FOUND if verified.findings else 0


def _verified(verified: Verified) -> dict[str, object]:
    return {
        "position": verified.position,
        "digest": verified.digest,
        "rows": verified.rows,
        "notes": verified.notes,
        "findings": [finding._asdict() for finding in verified.findings],
        "omitted": verified.omitted,
    }


def _tell_findings(verified: Verified, seals: int) -> None:
    for finding in verified.findings:
        at = f" (position {finding.position})" if finding.position is not None and "position" not in finding.id else ""
        typer.echo(f"{finding.check}: {finding.id}{at}: {finding.what}")
    if verified.omitted:
        typer.echo(f"… and {verified.omitted} more rows")
    for note in verified.notes:
        typer.echo(note)
    rows = ", ".join(f"{count} {table}" for table, count in verified.rows.items())
    wrong = len(verified.findings) + verified.omitted
    typer.echo(f"{wrong or 'No'} findings in {verified.position} facts, {rows}, {seals} seals. Head: {verified.digest}")


def seal_head(settings: Settings, out: Path | None, key_file: Path | None) -> None:
    """Raises InvalidSeal."""
    key = read_key(_content(key_file)) if key_file else None
    with database(settings) as url, connect_blocking(url) as connection:
        made = sealed(connection)
    content = (made if key is None else made.signed(key)).to_json()
    if out is None:
        typer.echo(content.decode(), nl=False)
        return
    try:
        with out.open("xb") as file:  # an older seal is evidence: never overwritten
            file.write(content)
    except OSError as error:
        fail(f"The seal cannot be written to {out}: {error.strerror}; name a new file.")
    typer.echo(f"Sealed position {made.position} in {out}.")


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.")


@contextmanager
def _progress(what: str) -> Iterator[OnProgress]:
    """A bar on a terminal, on standard error; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
