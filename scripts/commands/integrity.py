"""Commands `verify`, `rebuild` and `seal`: consistency of read models, facts and hash chain."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from infrastructure.bootstrap import checked_database
from infrastructure.postgres.check_runs import CheckKind, record_check
from infrastructure.postgres.connections import connect_blocking
from infrastructure.postgres.integrity.rebuild import Rebuilt, rehearse
from infrastructure.postgres.integrity.rebuild import rebuild as rebuild_database
from infrastructure.postgres.integrity.row_diff import RowDifference
from infrastructure.postgres.integrity.seals import read_key, read_seal
from infrastructure.postgres.integrity.seals import seal as seal_database
from infrastructure.postgres.integrity.snapshot import OnProgress
from infrastructure.postgres.integrity.verify import Verified
from infrastructure.postgres.integrity.verify import verify as verify_database
from projections.registry import DERIVED, Derived
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_line, print_result
from scripts.exit_codes import FOUND, fail

app = new_app()
Key = Annotated[
    Path | None,
    typer.Option(
        "--key-file", help="File with the key, at least 16 bytes, of the seals' HMAC-SHA256."
    ),
]


@command(app, "transfer-ledger verify --seal seal.json --key-file seal.key")
def verify(
    seals: Annotated[
        list[Path] | None,
        typer.Option("--seal", metavar="FILE", help="A seal kept elsewhere; repeatable."),
    ] = None,
    key_file: Key = None,
    as_json: AsJson = False,
) -> int:
    """Check the hash chain, the read models and the invariants; exit 1 when a check fails."""
    key = read_key(_content(key_file)) if key_file else None
    known = [read_seal(_content(file)) for file in seals or []]
    with checked_database(read_settings()) as url, _progress("checking") as on_progress:
        verified = verify_database(url, known, key, on_progress)
        _record(url, "verify", len(verified.findings) + verified.omitted, verified.position)
    if as_json:
        typer.echo(json.dumps(_verified(verified), indent=2))
    else:
        _print_verified(verified, len(known))
    return FOUND if verified.findings else 0


@command(app, "transfer-ledger rebuild seller_transfers --dry-run")
def rebuild(
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE]...", help="Read models; without any, all."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only list the differences; exit 1 when there are any."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Recompute read models from the facts while the ledger runs, and list the repaired rows."""
    chosen = _chosen(tables or [])
    with checked_database(read_settings()) as url, _progress("folding facts") as on_progress:
        result = (rehearse if dry_run else rebuild_database)(url, chosen, on_progress)
    if as_json:
        typer.echo(json.dumps(_rebuilt(result, dry_run), indent=2))
    else:
        _print_rebuilt(result, dry_run)
    return FOUND if result.unreadable or (dry_run and result.count) else 0


@command(app, "transfer-ledger seal --out seal-$(date +%F).json --key-file seal.key")
def seal(
    out: Annotated[
        Path | None, typer.Option(help="A new file; without it, standard output.")
    ] = None,
    key_file: Key = None,
    as_json: AsJson = False,
) -> None:
    """Write the head of the hash chain as JSON. Keep it out of reach of every account that can
    write to the database."""
    key = read_key(_content(key_file)) if key_file else None
    with checked_database(read_settings()) as url, connect_blocking(url) as connection:
        made = seal_database(connection)
        record_check(connection, "seal", 0, f"Sealed position {made.position}.", made.position)
    content = (made if key is None else made.signed(key)).to_json()
    if out is None:
        typer.echo(content.decode(), nl=False)
        return
    try:
        with out.open("xb") as file:  # an older seal is evidence: never overwritten
            file.write(content)
    except OSError as error:
        fail(f"The seal cannot be written to {out}: {error.strerror}; name a new file.")
    row = {"position": made.position, "file": str(out)}
    print_result(as_json, row, f"Sealed position {made.position} in {out}.")


def _record(url: str, kind: CheckKind, findings: int, position: int) -> None:
    """Record the end of a check for the overview, where this role may."""
    found = f"{findings or 'No'} findings in {position} facts."
    with connect_blocking(url) as connection:
        record_check(connection, kind, findings, found, position)


def _chosen(tables: Sequence[str]) -> list[Derived]:
    names = [derived.table for derived in DERIVED]
    for table in tables:
        if table not in names:
            fail(f"{table!r} is not a read model; expected one of {', '.join(names)}.")
    return [derived for derived in DERIVED if not tables or derived.table in tables]


def _print_rebuilt(result: Rebuilt, dry_run: bool) -> None:
    for difference in result.differences.values():
        print_line(
            f"{'differs' if dry_run else 'repaired'}: {difference.table} {difference.id}: "
            f"{difference.sentence}"
        )
    if result.count > len(result.differences):
        print_line(f"… and {result.count - len(result.differences)} more rows")
    for one in result.unreadable:
        print_line(
            f"not rebuilt: stream {one.stream}, at position {one.position}: {one.why}; see "
            "`transfer-ledger verify`"
        )
    for table, found in result.tables.items():
        differing = result.counts.get(table, 0)
        state = (
            f"{differing} {'differ' if dry_run else 'repaired'}"
            if differing
            else "all equal to the facts"
        )
        print_line(
            f"{table}: {found.rows} rows at position {result.position}, {state}; sha256 "
            f"{found.digest}"
        )
    print_line(f"{result.facts} facts in {result.seconds:.1f} s")


def _rebuilt(result: Rebuilt, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "position": result.position,
        "facts": result.facts,
        "seconds": round(result.seconds, 3),
        "tables": {
            table: {
                "rows": found.rows,
                "sha256": found.digest,
                "differing": result.counts.get(table, 0),
            }
            for table, found in result.tables.items()
        },
        "differences": [_difference(difference) for difference in result.differences.values()],
        "omitted": result.count - len(result.differences),
        "unreadable": [
            {"stream": str(s), "position": position, "what": why}
            for s, position, why in result.unreadable
        ],
    }


def _difference(difference: RowDifference) -> dict[str, object]:
    columns = {
        name: {"is": kept, "should_be": expected}
        for name, (kept, expected) in difference.columns.items()
    }
    kind = (
        "missing"
        if difference.kept is None
        else "unknown to the facts"
        if difference.expected is None
        else "changed"
    )
    return {"table": difference.table, "id": difference.id, "kind": kind, "columns": columns}


def _verified(verified: Verified) -> dict[str, object]:
    return {
        "position": verified.position,
        "digest": verified.digest,
        "rows": verified.rows,
        "notes": verified.notes,
        "findings": [finding._asdict() for finding in verified.findings],
        "omitted": verified.omitted,
    }


def _print_verified(verified: Verified, seals: int) -> None:
    for finding in verified.findings:
        at = (
            f" (position {finding.position})"
            if finding.position is not None and "position" not in finding.id
            else ""
        )
        print_line(f"{finding.check}: {finding.id}{at}: {finding.what}")
    if verified.omitted:
        print_line(f"… and {verified.omitted} more rows")
    for note in verified.notes:
        print_line(note)
    rows = ", ".join(f"{count} {table}" for table, count in verified.rows.items())
    wrong = len(verified.findings) + verified.omitted
    print_line(
        f"{wrong or 'No'} findings in {verified.position} facts, {rows}, {seals} seals. Head: "
        f"{verified.digest}"
    )


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.")


@contextmanager
def _progress(title: str) -> Iterator[OnProgress]:
    """Show a progress bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
