"""`transfer-ledger backfill`: Stripe's ids of transfers that have none, found in Stripe's lists, one list per destination."""

import asyncio
import csv
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import structlog
import typer

from application.backfill.matching import Doubt, Match, Missing, matched, money_of
from application.gateways import ListedTransfer
from domain.errors import ConstraintBroken, Refused, StripeSilent
from domain.provider_call.outcome import LookUpFailed, ProviderSignal
from infrastructure.bootstrap import running
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.reconciliation import LedgerRows, RowsWithoutStripeId
from infrastructure.service import Service
from infrastructure.settings import Settings
from scripts.exit_codes import FOUND, fail

ACTOR = "backfill"
ENDPOINT = "transfers.list"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""The whole list is read: that exactly one fits is known only of all of them."""
UNREAD_IN_A_ROW = 3
"""From so many lists on that cannot be read, the rest is left to another run."""
COLUMNS = ("transfer_id", "order_id", "seller_id", "destination", "amount", "currency", "status", "why", "candidates")

log = structlog.get_logger()


async def backfill(settings: Settings, apply: bool, review: Path | None, as_json: bool) -> int:
    """0 when every row is matched; 1 when some need a person. Without `apply` nothing is written but the review.

    What a run that was cut has recorded stays; the next one does the rest. Raises StripeSilent.
    """
    with _reviewing(review) as file:  # before anything is recorded, so that a path nobody can write to stops it
        async with running(settings, loops=False) as service:
            historical = await RowsWithoutStripeId(service.pool).historical()
            log.info("historical completed transfers without a Stripe id", count=historical)
            told = Told(historical, apply, as_json)
            async for one in Backfill(service).decided(apply):
                if isinstance(one, Doubt) and file is not None:
                    csv.writer(file).writerow(_line(one).values())
                    file.flush()
                told.take(one)
    told.end()
    return FOUND if told.counts["need_a_person"] else 0


class Backfill:
    """Reads Stripe's lists at the pace that all processes share."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._rate_limiter = PostgresRateLimiter(service.pool, service.settings.stripe_max_rps)
        self._rows, self._beside = RowsWithoutStripeId(service.pool), LedgerRows(service.pool)

    async def decided(self, apply: bool) -> AsyncIterator[Match | Doubt]:
        """What becomes of each row, recorded where that is wanted."""
        unread = 0
        async for rows in self._rows.by_destination():
            try:
                several, unread = await self._matched(rows), 0
            except LookUpFailed as failed:
                unread += 1
                if failed.signal is ProviderSignal.TOO_FAST:
                    await self._rate_limiter.slow_down(ENDPOINT)
                if unread == UNREAD_IN_A_ROW:
                    raise StripeSilent("the lists of transfers", str(failed)) from None
                several = [Doubt(row, f"Stripe's list could not be read; run it again: {failed}") for row in rows]
            for one in several:
                yield await self._recorded(one) if apply and isinstance(one, Match) else one

    async def _matched(self, rows: Sequence[Missing]) -> list[Match | Doubt]:
        possible = money_of(rows)
        listed = [
            one async for one in self._list_to(rows[0].destination) if (one.transfer.amount, one.transfer.currency) in possible
        ]
        claimed = await self._beside.paid_by([one.transfer.stripe_transfer_id for one in listed])
        return list(matched(rows, listed, claimed.keys()))

    async def _list_to(self, destination: str) -> AsyncIterator[ListedTransfer]:
        until = self._service.clock.now() + timedelta(days=1)
        after, more = None, True
        while more:
            (wait,) = await self._rate_limiter.reserve(ENDPOINT, 1)
            await asyncio.sleep(wait)
            listed, more = await self._service.gateway.page(BEGINNING, until, after, destination)
            after = listed[-1].transfer.stripe_transfer_id if listed else None
            for one in listed:
                yield one

    async def _recorded(self, match: Match) -> Match | Doubt:
        row, stripe_transfer_id, evidence = match
        try:
            await self._service.commands.operator.backfill(row.transfer_id, stripe_transfer_id, ACTOR, evidence)
        except (ConstraintBroken, Refused) as meanwhile:
            return Doubt(row, f"somebody was faster: {meanwhile}", [stripe_transfer_id])
        return match


@contextmanager
def _reviewing(review: Path | None) -> Iterator[TextIO | None]:
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
    named = (str(row.transfer_id), row.order_id, row.seller_id, row.destination, row.amount, row.currency, row.status)
    return dict(zip(COLUMNS, (*named, doubt.why, " ".join(doubt.candidates)), strict=True))


class Told:
    """What is said of a run: line by line as text, at the end as JSON."""

    def __init__(self, historical: int, apply: bool, as_json: bool) -> None:
        self._historical, self._apply, self._as_json = historical, apply, as_json
        self.counts: Counter[str] = Counter()
        self._matches: list[dict[str, str]] = []
        self._review: list[dict[str, object]] = []

    def take(self, one: Match | Doubt) -> None:
        """One more row."""
        kind = "open" if one.missing.open else "paid_without_id"
        self.counts.update([kind, "matched" if isinstance(one, Match) else "need_a_person"])
        if self._as_json:
            self._keep(one)
        elif isinstance(one, Doubt):
            typer.echo(f"needs a person: {one.missing.transfer_id}: {one.why} {' '.join(one.candidates)}".rstrip())
        else:
            done = "recorded" if self._apply else "would record"
            typer.echo(f"{done}: {one.missing.transfer_id} is {one.stripe_transfer_id}: {one.evidence}")

    def _keep(self, one: Match | Doubt) -> None:
        if isinstance(one, Doubt):
            self._review.append(_line(one))
        else:
            named = {"transfer_id": str(one.missing.transfer_id), "stripe_transfer_id": one.stripe_transfer_id}
            self._matches.append({**named, "evidence": one.evidence})

    def end(self) -> None:
        """The sum of it."""
        counts = {name: self.counts[name] for name in ("paid_without_id", "open", "matched", "need_a_person")}
        if self._as_json:
            told = {"apply": self._apply, "historical_completed": self._historical, **counts}
            typer.echo(json.dumps({**told, "matches": self._matches, "review": self._review}, indent=2))
            return
        typer.echo(f"{counts['paid_without_id']} paid transfers without a Stripe id, {self._historical} of them completed.")
        typer.echo(f"{counts['open']} transfers of an older system that it may have paid.")
        done = "recorded" if self._apply else "matched; --apply records them"
        typer.echo(f"{counts['matched']} {done}, {counts['need_a_person']} need a person.")
