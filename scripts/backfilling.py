"""`transfer-ledger backfill`: Stripe's ids of paid transfers that have none, found in Stripe's lists, one per destination."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import typer

from application.backfilling import Doubt, Match, Missing, matched
from domain.errors import ConstraintBroken, ContentDiffers
from domain.outcomes import Heard, LookUpFailed
from infrastructure.bootstrap import Service, running
from infrastructure.postgres.pace import Pace
from infrastructure.postgres.read_models import ReadModels
from infrastructure.settings import Settings
from scripts.exits import FOUND, fail

ACTOR = "backfill"
ENDPOINT = "transfers.list"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""The whole list is read: that exactly one fits is known only of all of them."""
COLUMNS = ("transfer_id", "order_id", "seller_id", "destination", "amount", "currency", "why", "candidates")


async def backfill(settings: Settings, execute: bool, review: Path | None, as_json: bool) -> int:
    """0 when every row is matched; 1 when some need a person. Without `execute` nothing is written but the review."""
    _write(review, [])  # before anything is recorded, so that a path nobody can write to stops it
    async with running(settings, loops=False) as service:
        rows = await ReadModels(service.pool).paid_without_stripe_id()
        found = [one async for one in _found(service, rows, execute)]
    matches = [one for one in found if isinstance(one, Match)]
    doubts = [one for one in found if isinstance(one, Doubt)]
    _write(review, doubts)
    _tell(rows, matches, doubts, execute, as_json)
    return FOUND if doubts else 0


async def _found(service: Service, rows: Sequence[Missing], execute: bool) -> AsyncIterator[Match | Doubt]:
    pace = Pace(service.pool, service.settings.stripe_max_rps)
    for destination, group in groupby(rows, key=lambda row: row.destination):
        theirs = list(group)
        try:
            decided = await _decided(service, pace, destination, theirs)
        except LookUpFailed as failed:
            if failed.heard is Heard.TOO_FAST:
                await pace.slow_down(ENDPOINT)
            decided = [Doubt(row, f"Stripe's list could not be read; run it again: {failed}") for row in theirs]
        for one in decided:
            yield await _recorded(service, one) if execute and isinstance(one, Match) else one


async def _decided(service: Service, pace: Pace, destination: str, rows: Sequence[Missing]) -> Sequence[Match | Doubt]:
    (wait,) = await pace.reserve(ENDPOINT, 1)
    await asyncio.sleep(wait)
    listed = await service.gateway.list_to(destination, BEGINNING)
    claimed = await ReadModels(service.pool).claimed([theirs.stripe_transfer_id for theirs in listed])
    return list(matched(rows, listed, claimed))


async def _recorded(service: Service, match: Match) -> Match | Doubt:
    row, stripe_transfer_id, evidence = match
    try:
        await service.ledger.backfill(row.transfer_id, stripe_transfer_id, ACTOR, evidence)
    except (ConstraintBroken, ContentDiffers) as meanwhile:
        return Doubt(row, f"somebody was faster: {meanwhile}", [stripe_transfer_id])
    return match


def _write(review: Path | None, doubts: Sequence[Doubt]) -> None:
    if review is None:
        return
    try:
        with review.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_line(doubt).values() for doubt in doubts)
    except OSError as error:
        fail(f"--review {review} cannot be written: {error.strerror}.")


def _line(doubt: Doubt) -> dict[str, object]:
    row = doubt.missing
    named = (str(row.transfer_id), row.order_id, row.seller_id, row.destination, row.amount, row.currency)
    return dict(zip(COLUMNS, (*named, doubt.why, " ".join(doubt.candidates)), strict=True))


def _tell(rows: Sequence[Missing], matches: Sequence[Match], doubts: Sequence[Doubt], execute: bool, as_json: bool) -> None:
    completed = sum(row.status == "completed" for row in rows)
    counts = {"paid_without_id": len(rows), "completed": completed, "matched": len(matches), "need_a_person": len(doubts)}
    if as_json:
        found = [
            {"transfer_id": str(one.missing.transfer_id), "stripe_transfer_id": one.stripe_transfer_id, "evidence": one.evidence}
            for one in matches
        ]
        told = {"execute": execute, **counts, "matches": found, "review": [_line(doubt) for doubt in doubts]}
        typer.echo(json.dumps(told, indent=2))
        return
    for doubt in doubts:
        typer.echo(f"needs a person: {doubt.missing.transfer_id}: {doubt.why} {' '.join(doubt.candidates)}".rstrip())
    typer.echo(f"{len(rows)} paid transfers without a Stripe id, {completed} of them completed.")
    typer.echo(f"{len(matches)} {'recorded' if execute else 'matched; --execute records them'}, {len(doubts)} need a person.")
