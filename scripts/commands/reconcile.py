"""`reconcile`: Stripe's transfers and reversals of a period against ours, and what a person decides about what differs."""

from datetime import datetime, timedelta
from typing import NamedTuple

from rich.console import Console

from domain.finding import DecidedBy
from infrastructure.bootstrap import running
from infrastructure.postgres.reconciliation import SeenAtStripe
from infrastructure.settings import Settings
from projections.audit_trail.payload import instant
from scripts.commands.operator import require_said
from scripts.commands.reading_books import Reading
from scripts.commands.reconcile_report import Report
from scripts.exit_codes import FOUND, fail

PERIOD = timedelta(days=30)


class Choice(NamedTuple):
    """Which findings a person adopts, which ones are to stand, and who says so."""

    adopted: frozenset[str]
    ignored: frozenset[str]
    by: DecidedBy

    @property
    def ids(self) -> frozenset[str]:
        """All that is decided about."""
        return self.adopted | self.ignored


async def reconcile(settings: Settings, since: datetime | None, until: datetime | None, choice: Choice, as_json: bool) -> int:
    """The exit code: 1 when a difference remains about which nobody has decided. Raises StripeSilent."""
    _require_usable(choice)
    async with running(settings, loops=False) as service:
        end = until or service.clock.now() + timedelta(seconds=1)
        start = since or end - PERIOD
        if start >= end:
            fail(f"--from is {instant(start)}; expected an instant before --to, {instant(end)}.")
        with Report(choice.ids) as report:
            async with SeenAtStripe.begin(service.database_url) as seen:
                reading = Reading(service, seen)
                with Console(stderr=True).status("reading Stripe's books") as status:
                    async for found in reading.differences(start, end):
                        report.add(found)
                        status.update(f"reading Stripe's books: {reading.read} transfers, {report.count} findings")
            if unknown := choice.ids - report.chosen.keys():
                fail(f"There is no finding {', '.join(sorted(unknown))} in this period; run reconcile without decisions first.")
            # in the order in which they were found: a reversal that waits can be adopted after the one before it
            outcomes = {
                id_: await (reading.adopt(one, choice.by) if id_ in choice.adopted else reading.ignore(one, choice.by))
                for id_, one in report.chosen.items()
            }
            report.show(outcomes, service.clock.now(), as_json)
            return FOUND if report.left(outcomes) else 0


def _require_usable(choice: Choice) -> None:
    if twice := choice.adopted & choice.ignored:
        fail(f"{', '.join(sorted(twice))} is named by --adopt and by --ignore; expected one of them.")
    if choice.ids:
        require_said(actor=choice.by.actor, reason=choice.by.reason)
    elif choice.by.actor or choice.by.reason:
        fail("--actor and --reason say who decides and why; name what by --adopt or --ignore.")
