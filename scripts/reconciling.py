"""`reconcile`: Stripe's transfers of a period, page by page, against ours. Nothing is locked or open while Stripe is asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import typer

from application.ports import Listed, StripeBooks
from application.reconciling import Finding, Kind, differences, is_complete, missing_there
from domain.errors import LedgerError, StripeSilent
from domain.outcomes import LookUpFailed, NotAtStripe, TransferAtStripe
from domain.seller_transfer import SellerTransfer
from infrastructure.bootstrap import Service, running
from infrastructure.postgres.ledger import PostgresLedger
from infrastructure.postgres.pace import Pace
from infrastructure.postgres.read_models import ReadModels
from infrastructure.settings import Settings
from projections.narrative import instant
from scripts.exits import FOUND, fail
from scripts.levers import require_said
from scripts.looking import print_json

PERIOD = timedelta(days=30)


class Adoption(NamedTuple):
    """Which findings a person adopts."""

    ids: frozenset[str]
    actor: str
    reason: str


class Aged(NamedTuple):
    """A finding, and since when it is at Stripe; None where it is not there."""

    finding: Finding
    since: datetime | None


async def reconcile(settings: Settings, since: datetime | None, until: datetime | None, adoption: Adoption, as_json: bool) -> int:
    """The exit code: 1 when a difference remains. Raises StripeSilent."""
    if adoption.ids:
        require_said(actor=adoption.actor, reason=adoption.reason)
    elif adoption.actor or adoption.reason:
        fail("--actor and --reason say who adopts and why; name what by --adopt.")
    async with running(settings, loops=False) as service:
        now = service.clock.now()
        end = until or now + timedelta(seconds=1)
        start = since or end - PERIOD
        if start >= end:
            fail(f"--from is {instant(start)}; expected an instant before --to, {instant(end)}.")
        reading = Reading(service)
        found = [aged async for aged in reading.differences(start, end)]
        unknown = adoption.ids - {aged.finding.id for aged in found}
        if unknown:
            fail(f"There is no finding {', '.join(sorted(unknown))} in this period; run reconcile without --adopt first.")
        outcomes: dict[str, str] = {}
        for finding in (f for f, _ in found if f.id in adoption.ids and f.id not in outcomes):
            outcome = await reading.adopt(finding, adoption)
            outcomes |= dict.fromkeys(_together(finding, found), outcome)
    _show(found, outcomes, now, as_json)
    left = [f for f, _ in found if f.kind is not Kind.UNCLAIMED and outcomes.get(f.id) != "adopted"]
    return FOUND if left else 0


def _together(finding: Finding, found: Sequence[Aged]) -> list[str]:
    """What is adopted with it: what strangers took from one transfer is taken in at once, the oldest first."""
    if finding.kind is not Kind.EXTERNAL_REVERSAL:
        return [finding.id]
    return [f.id for f, _ in found if (f.kind, f.stripe_transfer_id) == (finding.kind, finding.stripe_transfer_id)]


class Reading:
    """Reads Stripe's books at the pace that all processes share, and ours beside them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._books: StripeBooks = service.gateway
        self._ledger, self._rows = PostgresLedger(service.store), ReadModels(service.pool)
        self._pace = Pace(service.pool, service.settings.stripe_max_rps)

    async def differences(self, start: datetime, end: datetime) -> AsyncIterator[Aged]:
        """All of them, in the order of Stripe's list; then what Stripe does not have."""
        seen: set[str] = set()
        async for listed in self._pages(start, end):
            seen.update(one.transfer.stripe_transfer_id for one in listed)
            for one, ours in await self._beside(listed):
                for finding in await self._of(one.transfer, ours):
                    yield Aged(finding, one.created_at)
        for stripe_id, transfer_id in (await self._rows.paid_within(start, end)).items():
            if stripe_id not in seen and await self._look_at(stripe_id) is None:
                ours = (await self._ledger.load([transfer_id])).transfer(transfer_id)
                yield Aged(missing_there(ours, stripe_id), None)

    async def adopt(self, finding: Finding, adoption: Adoption) -> str:
        """`adopted`, or why not."""
        if finding.obstacle is not None or finding.transfer_id is None:
            return f"cannot be adopted: {finding.obstacle}"
        shown = await self._look_at(finding.stripe_transfer_id)
        if shown is None:
            return "cannot be adopted: it is not at Stripe any more"
        note = f"adopted by {adoption.actor}: {adoption.reason}"
        try:
            await self._service.ledger.adopt(finding.transfer_id, shown, finding.id, note)
        except LedgerError as refused:
            return f"cannot be adopted: {refused}"
        return "adopted"

    async def _pages(self, start: datetime, end: datetime) -> AsyncIterator[Sequence[Listed]]:
        after, more = None, True
        while more:
            await self._turn("transfers.list")
            try:
                listed, more = await self._books.page(start, end, after)
            except LookUpFailed as unread:
                raise StripeSilent("the list of transfers", str(unread)) from None
            yield listed
            after = listed[-1].transfer.stripe_transfer_id if listed else None

    async def _beside(self, listed: Sequence[Listed]) -> list[tuple[Listed, SellerTransfer | None]]:
        paid = await self._rows.at_stripe([one.transfer.stripe_transfer_id for one in listed])
        names = {one.transfer.stripe_transfer_id: _uuid(one.transfer.transfer_id) for one in listed}
        book = await self._ledger.load({id_ for id_ in (*names.values(), *paid.values()) if id_ is not None})
        known: dict[UUID | None, SellerTransfer] = {transfer.id: transfer for transfer in book.transfers()}
        # a name that is unknown here may be that of an older system, whose transfer was taken over
        ours = {id_: known.get(name) or known.get(paid.get(id_)) for id_, name in names.items()}
        return [(one, ours[one.transfer.stripe_transfer_id]) for one in listed]

    async def _of(self, listed: TransferAtStripe, ours: SellerTransfer | None) -> list[Finding]:
        found = differences(listed, ours)
        newer = ours is not None and any(f.kind is not Kind.UNCLAIMED for f in found)
        if is_complete(listed) and not newer:
            return found
        # ours was read after the list: what we recorded in between is no difference
        shown = await self._look_at(listed.stripe_transfer_id)
        again = differences(shown, ours) if shown is not None else []
        known = {finding.id for finding in found}
        return [finding for finding in again if finding.id in known or not is_complete(listed)]

    async def _look_at(self, stripe_transfer_id: str) -> TransferAtStripe | None:
        await self._turn("transfers.retrieve")
        try:
            return await self._books.look_at(stripe_transfer_id)
        except NotAtStripe:
            return None
        except LookUpFailed as unread:
            raise StripeSilent(stripe_transfer_id, str(unread)) from None

    async def _turn(self, endpoint: str) -> None:
        (wait,) = await self._pace.reserve(endpoint, 1)
        await asyncio.sleep(wait)


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _show(found: Sequence[Aged], outcomes: dict[str, str], now: datetime, as_json: bool) -> None:
    lines = [_line(finding, since, outcomes.get(finding.id), now) for finding, since in found]
    if as_json:
        print_json(lines)
        return
    for line in lines:
        age = f", {line['age_days']} days old" if line["age_days"] is not None else ""
        typer.echo(f"{line['id']}: {line['detail']} At risk: {line['at_risk']} {line['currency']}{age}.")
        if line["outcome"] or line["obstacle"]:
            typer.echo(f"  {line['outcome'] or 'not adoptable: ' + str(line['obstacle'])}")
    risks: dict[str, int] = {}
    for finding, _ in found:
        risks[finding.currency] = risks.get(finding.currency, 0) + finding.at_risk
    at_risk = ", ".join(f"{amount} {currency}" for currency, amount in sorted(risks.items()) if amount) or "nothing"
    unclaimed = sum(finding.kind is Kind.UNCLAIMED for finding, _ in found)
    typer.echo(f"{len(found) - unclaimed} findings, {unclaimed} unclaimed transfers; at risk: {at_risk} (minor units).")


def _line(finding: Finding, since: datetime | None, outcome: str | None, now: datetime) -> dict[str, object]:
    age = (now - since).days if since is not None else None
    return {"id": finding.id, **finding._asdict(), "age_days": age, "outcome": outcome}
