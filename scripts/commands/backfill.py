"""Command `backfill`: finds the Stripe ids of transfers that have none."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import structlog
import typer

from application.backfill.backfill import Backfill
from application.backfill.matches import Doubt, Match
from application.rate_limited_stripe import RateLimitedStripe
from infrastructure.bootstrap import running
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.reconciliation import LedgerRows, RowsWithoutStripeId
from infrastructure.settings import Settings
from infrastructure.visible_text import csv_cells
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_line
from scripts.commands.progress import progress
from scripts.exit_codes import FOUND, fail

COLUMNS = (
    "transfer_id",
    "order_id",
    "seller_id",
    "destination",
    "amount",
    "currency",
    "status",
    "why",
    "candidates",
)
TEXTS = ("order_id", "seller_id", "destination", "why", "candidates")

app = new_app()
log = structlog.get_logger()


@command(app, "transfer-ledger backfill --review review.csv")
async def backfill(
    apply: Annotated[
        bool,
        typer.Option(
            "--apply", help="Record the matches; without this option they are only listed."
        ),
    ] = False,
    review: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV of transfers that need a person; overwritten."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Find transfers without a Stripe id in Stripe's lists; exit 1 when some need a person. Sends
    nothing."""
    return await run_backfill(read_settings(), apply, review, as_json)


async def run_backfill(settings: Settings, apply: bool, review: Path | None, as_json: bool) -> int:
    """Match all transfers without a Stripe id, print the result, and return the exit code. Raises
    StripeSilent."""
    with _review_file(
        review
    ) as file:  # opened first, so that a path that is not writable stops the run before it records
        async with running(settings, loops=False, writes=True) as service:
            missing = RowsWithoutStripeId(service.pool)
            historical = await missing.historical()
            log.info("historical completed transfers without a Stripe id", count=historical)
            report = BackfillReport(historical, apply, as_json)
            stripe = RateLimitedStripe(
                service.gateway, PostgresRateLimiter(service.pool, service.settings.stripe_max_rps)
            )
            run = Backfill(
                stripe,
                missing,
                LedgerRows(service.pool),
                service.commands.operator,
                service.clock,
                service.ledger_id,
            )
            every = await missing.destinations()
            async with progress(
                lambda: f"Stripe's lists: {missing.begun} of {every} destinations",
                lambda: missing.begun / every if every else None,
            ):
                async for one in run.run(apply):
                    if isinstance(one, Doubt) and file is not None:
                        csv.writer(file).writerow(csv_cells(_line(one), TEXTS).values())
                        file.flush()
                    report.add(one)
    report.end()
    return FOUND if report.counts["need_a_person"] else 0


@contextmanager
def _review_file(review: Path | None) -> Iterator[TextIO | None]:
    if review is None:
        yield None
        return
    try:
        file = review.open("w", newline="")
    except OSError as error:
        fail(f"--review {review} cannot be written: {error.strerror}.")
    with file:
        csv.writer(file).writerow(COLUMNS)
        yield file


def _line(doubt: Doubt) -> dict[str, object]:
    row = doubt.missing
    named = (
        str(row.transfer_id),
        row.order_id,
        row.seller_id,
        row.destination,
        row.amount,
        row.currency,
        row.status,
    )
    return dict(zip(COLUMNS, (*named, doubt.why, " ".join(doubt.candidates)), strict=True))


class BackfillReport:
    """Output of a run: as text, a line per transfer; as JSON, one object at the end."""

    def __init__(self, historical: int, apply: bool, as_json: bool) -> None:
        self._historical, self._apply, self._as_json = historical, apply, as_json
        self.counts: Counter[str] = Counter()
        self._matches: list[dict[str, str]] = []
        self._review: list[dict[str, object]] = []

    def add(self, one: Match | Doubt) -> None:
        """Count and print the result of one transfer."""
        kind = "open" if one.missing.open else "paid_without_id"
        self.counts.update([kind, "matched" if isinstance(one, Match) else "need_a_person"])
        if self._as_json:
            self._keep(one)
        elif isinstance(one, Doubt):
            candidates = " ".join(one.candidates)
            print_line(
                f"needs a person: {one.missing.transfer_id}: {one.why} {candidates}".rstrip()
            )
        else:
            done = "recorded" if self._apply else "would record"
            print_line(
                f"{done}: {one.missing.transfer_id} is {one.stripe_transfer_id}: {one.evidence}"
            )

    def _keep(self, one: Match | Doubt) -> None:
        if isinstance(one, Doubt):
            self._review.append(_line(one))
        else:
            named = {
                "transfer_id": str(one.missing.transfer_id),
                "stripe_transfer_id": one.stripe_transfer_id,
            }
            self._matches.append({**named, "evidence": one.evidence})

    def end(self) -> None:
        """Print the counts."""
        counts = {
            name: self.counts[name]
            for name in ("paid_without_id", "open", "matched", "need_a_person")
        }
        if self._as_json:
            header = {"apply": self._apply, "historical_completed": self._historical, **counts}
            typer.echo(
                json.dumps({**header, "matches": self._matches, "review": self._review}, indent=2)
            )
            return
        print_line(
            f"{counts['paid_without_id']} paid transfers without a Stripe id, {self._historical} "
            "of them completed."
        )
        print_line(f"{counts['open']} transfers of an older system that it may have paid.")
        done = "recorded" if self._apply else "matched; --apply records them"
        print_line(f"{counts['matched']} {done}, {counts['need_a_person']} need a person.")
