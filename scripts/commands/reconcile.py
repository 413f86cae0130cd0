"""Command `reconcile`: compares Stripe's transfers and reversals of a period with ours, and carries
out decisions."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

import typer

from application.rate_limited_stripe import RateLimitedStripe
from application.reconciliation.adoption import IGNORED, adopt
from application.reconciliation.reader import ReconciliationReader
from domain.finding import DecidedBy, Difference
from infrastructure.bootstrap import running
from infrastructure.postgres.found_differences import FoundDifferences
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.reconciliation import LedgerRows, SeenAtStripe
from infrastructure.reader_rate_limiter import ReaderRateLimiter
from infrastructure.service import Service
from projections.audit_trail.payload import instant
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, instant_of, read_settings, require_text
from scripts.commands.progress import progress
from scripts.commands.reconcile_report import ReconcileReport
from scripts.exit_codes import FOUND, fail

PERIOD = timedelta(days=30)

app = new_app()


@command(
    app,
    "transfer-ledger reconcile --from 2026-11-01T00:00:00Z --adopt ID --actor mia --reason "
    "'checked'",
)
async def reconcile(
    start: Annotated[
        str | None,
        typer.Option("--from", help="Start of the period (RFC 3339); else 30 days before --to."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="End of the period (RFC 3339), not part of it; else now."),
    ] = None,
    adopted: Annotated[
        list[str] | None,
        typer.Option(
            "--adopt", metavar="ID", help="Record the content of this finding; repeatable."
        ),
    ] = None,
    ignored: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore",
            metavar="ID",
            help="Accept this finding until its amounts change; repeatable.",
        ),
    ] = None,
    unignored: Annotated[
        list[str] | None,
        typer.Option(
            "--unignore", metavar="ID", help="Report this ignored finding again; repeatable."
        ),
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Person or program that decides.")] = None,
    reason: Annotated[str | None, typer.Option(help="Reason of the decision.")] = None,
    as_json: AsJson = False,
) -> int:
    """Compare Stripe's transfers and reversals with ours; exit 1 when a difference has no
    decision."""
    to_adopt, to_ignore = frozenset(adopted or []), frozenset(ignored or [])
    by, to_report = DecidedBy(actor or "", reason or ""), frozenset(unignored or [])
    _require_usable(to_adopt, to_ignore, to_report, by)
    since = None if start is None else instant_of("--from", start)
    until = None if end is None else instant_of("--to", end)
    chosen = to_adopt | to_ignore
    async with (
        running(read_settings(), loops=False, writes=bool(chosen)) as service,
        SeenAtStripe.begin(service.database_url) as seen,
    ):
        for id_ in sorted(to_report):
            await service.commands.reconciliation.unignore(id_, by)
        with ReconcileReport(chosen) as report:
            reader = _reader(service, seen, writes=bool(chosen))
            period = _period(since, until, service.clock.now())
            kept = await FoundDifferences.begin(service.pool)
            async with progress(
                lambda: f"Stripe's transfers: {reader.read} read, {report.count} findings",
                lambda: reader.part_read(*period),
            ):
                async for found in reader.differences(*period):
                    report.add(found)
                    await kept.add(found)
            await kept.end(*period, reader.read)
            if unknown := chosen - report.chosen.keys():
                fail(
                    f"There is no finding {', '.join(sorted(unknown))} in this period; run "
                    "reconcile without decisions first."
                )
            outcomes: dict[str, str] = {}
            for id_, one in adoptable_order(report.chosen):
                if id_ in to_adopt:
                    outcomes[id_] = await adopt(reader, service.commands.reconciliation, one, by)
                else:
                    await service.commands.reconciliation.ignore(one, by)
                    outcomes[id_] = IGNORED
            report.show(outcomes, service.clock.now(), as_json, reader.skipped)
            return FOUND if report.undecided(outcomes) else 0


def adoptable_order(chosen: Mapping[str, Difference]) -> list[tuple[str, Difference]]:
    """Return the findings in the order found, as a reversal may only be adoptable after an earlier
    one; a lost compensation comes after the reversal that it gives back."""
    return sorted(chosen.items(), key=lambda one: one[1].awaits_others)


def _reader(service: Service, seen: SeenAtStripe, *, writes: bool) -> ReconciliationReader:
    rate = service.settings.stripe_max_rps
    limiter = PostgresRateLimiter(service.pool, rate) if writes else ReaderRateLimiter(rate)
    stripe = RateLimitedStripe(service.gateway, limiter)
    return ReconciliationReader(
        stripe,
        PostgresEventLog(service.store),
        LedgerRows(service.pool),
        seen,
        service.clock,
        service.ledger_id,
    )


def _period(
    since: datetime | None, until: datetime | None, now: datetime
) -> tuple[datetime, datetime]:
    end = until or now + timedelta(seconds=1)
    start = since or end - PERIOD
    if start >= end:
        fail(f"--from is {instant(start)}; expected an instant before --to, {instant(end)}.")
    return start, end


def _require_usable(
    adopted: frozenset[str], ignored: frozenset[str], reported: frozenset[str], by: DecidedBy
) -> None:
    if twice := (adopted & ignored) | (reported & (adopted | ignored)):
        fail(
            f"{', '.join(sorted(twice))} is named by two of --adopt, --ignore and --unignore; "
            "expected one of them."
        )
    if adopted or ignored or reported:
        require_text(actor=by.actor, reason=by.reason)
    elif by.actor or by.reason:
        fail("--actor and --reason belong to a decision; add --adopt, --ignore or --unignore.")
