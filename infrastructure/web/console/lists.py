"""Pages with lists: webhooks, pauses, sellers, disputes, findings, acts of people, settings."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.responses import Response

from infrastructure.postgres.read_side.lists import (
    DisputeFilters,
    FindingFilters,
    InboxFilters,
    Lists,
    SellerSort,
)
from infrastructure.settings import Settings
from infrastructure.web.console.human_acts import human_acts
from infrastructure.web.console.ledger import path_of
from infrastructure.web.console.pages import divided_by_dispute, done, id_of
from infrastructure.web.console.texts import span
from infrastructure.web.console.visit import Visit
from infrastructure.web.problems import Problem
from projections.disputes import DisputeRow

INBOX_STATUSES: Final = ("parked", "dead", "stored", "done", "ignored", "discarded")
WORK: Final = ("everything", "transferring", "reversing", "refunding", "funding")
SORTS: Final[Mapping[str, SellerSort]] = {"debt": "debt", "age": "age", "seller": "seller"}
PAGE: Final = 50


def number_of(visit: Visit, name: str) -> int | None:
    """Return a number in the query; None if it is missing. Raises Problem."""
    given = visit.given(name)
    if given and not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise Problem("invalid_request", f"{given[:40]!r} is no number of this list.")
    return int(given) if given else None


async def list_webhooks(visit: Visit) -> Response:
    """List stored webhooks, newest first."""
    status = visit.given("status")
    chosen = status if status in INBOX_STATUSES else None
    found = await Lists(visit.backend.service.pool).inbox(
        InboxFilters(chosen), PAGE, number_of(visit, "after")
    )
    return visit.page(
        "inbox.html",
        webhooks=found.rows,
        chosen=chosen or "",
        statuses=INBOX_STATUSES,
        after=found.next,
    )


async def show_webhook(visit: Visit) -> Response:
    """Show a webhook with its body, and the reason why it waits."""
    row = await visit.ledger.get(path_of("/v1/inbox/{inbox_id}", inbox_id=id_of(visit, "inbox_id")))
    return visit.page(
        "webhook.html",
        webhook=row,
        replay=visit.may_act and bool(row["body"]),
        discard=visit.may_act and row["status"] in ("stored", "parked", "dead", "ignored"),
        done=done(visit),
    )


async def list_pauses(visit: Visit) -> Response:
    """List the paused scopes, and the scopes that can be paused."""
    pauses = (await visit.ledger.get("/v1/pauses"))["data"]
    paused = {one["scope"].removeprefix("work:") for one in pauses}
    return visit.page(
        "pauses.html",
        pauses=pauses,
        scopes=[scope for scope in WORK if scope not in paused],
        done=done(visit),
    )


async def list_sellers(visit: Visit) -> Response:
    """List sellers by their debt, by its age, or by name."""
    sort = SORTS.get(visit.given("sort"), "debt")
    found = await Lists(visit.backend.service.pool).sellers(
        PAGE, sort, after=(None, visit.given("after")) if sort == "seller" else None
    )
    after = found.next[1] if found.next and sort == "seller" else ""
    return visit.page("sellers.html", sellers=found.rows, sort=sort, after=after)


def _next_deadline(row: DisputeRow) -> tuple[bool, float]:
    due = row.evidence_due_by
    return due is None, due.timestamp() if due is not None else 0.0


async def list_disputes(visit: Visit) -> Response:
    """List the open disputes by their deadlines, or all, newest first."""
    only_open = not visit.given("all")
    found = await Lists(visit.backend.service.pool).disputes(DisputeFilters(open=only_open), 200)
    shown = sorted(found.rows, key=_next_deadline) if only_open else found.rows
    return visit.page("disputes.html", disputes=shown, only_open=only_open)


async def show_dispute(visit: Visit) -> Response:
    """Show a dispute with its order."""
    dispute_id = id_of(visit, "dispute_id")
    row = await visit.backend.reads.dispute(dispute_id)
    if row is None:
        raise Problem("not_found", f"There is no dispute {dispute_id[:128]!r}; check the id.")
    order = await visit.ledger.get(path_of("/v1/orders/{order_id}", order_id=row.order_id))
    return visit.page(
        "dispute.html",
        dispute=row,
        order=order,
        reversals=divided_by_dispute(dispute_id, order),
        decide=visit.may_act,
        done=done(visit),
    )


async def list_findings(visit: Visit) -> Response:
    """List differences from Stripe's books, newest first."""
    status = visit.given("status")
    found = await Lists(visit.backend.service.pool).findings(
        FindingFilters(status=status or None), 200
    )
    return visit.page("findings.html", findings=found.rows, chosen=status)


async def show_finding(visit: Visit) -> Response:
    """Show a difference from Stripe's books, and the decision about it."""
    finding = await visit.ledger.get(
        path_of("/v1/findings/{finding_id}", finding_id=id_of(visit, "finding_id"))
    )
    return visit.page("finding.html", finding=finding, done=done(visit))


async def list_human_acts(visit: Visit) -> Response:
    """List the acts of people, newest first, with actor and reason."""
    acts, before = await human_acts(visit.backend.service, number_of(visit, "before"))
    return visit.page("audit.html", acts=acts, before=before)


async def list_settings(visit: Visit) -> Response:
    """List the settings in force; secrets are hidden."""
    return visit.page("settings.html", settings=settings_shown(visit.backend.service.settings))


def settings_shown(settings: Settings, prefix: str = "") -> list[tuple[str, str]]:
    """Return the name and the value of each setting. Members that are no part of the settings'
    `repr` are secrets."""
    told: list[tuple[str, str]] = []
    for one in fields(settings):
        value = getattr(settings, one.name)
        name = f"{prefix}{one.name.replace('_', ' ')}"
        if not one.repr:
            told.append((name, "set, hidden" if value else "not set"))
        elif is_dataclass(value) and not isinstance(value, type):
            told += [(f"{name}: {part}", text) for part, text in _parts(value)]
        else:
            told.append((name, _value(value)))
    return told


def _parts(value: Any) -> list[tuple[str, str]]:
    return [(one.name.replace("_", " "), _value(getattr(value, one.name))) for one in fields(value)]


def _value(value: object) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return "yes" if value else "no"
        case timedelta():
            return span(value.total_seconds())
        case datetime():
            return value.isoformat()
    return str(value)
