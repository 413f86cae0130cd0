"""Pages about alarms, webhooks and pauses, and the search."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from starlette.responses import Response

from infrastructure.web.console.ledger import Json, path_of
from infrastructure.web.console.pages import done, id_of
from infrastructure.web.console.remedies import REMEDIES, UNKNOWN, Remedy
from infrastructure.web.console.visit import Visit
from infrastructure.web.operation import Backend

MOST_ALARMS = 200
INBOX_STATUSES = ("parked", "dead", "stored", "done", "ignored", "discarded")
WORK = ("everything", "transferring", "reversing", "refunding", "funding")


class Subject(NamedTuple):
    """The object of an alarm: its page, and its name."""

    path: str
    words: str


class AlarmGroup(NamedTuple):
    """Open alarms of one kind, the oldest first."""

    kind: str
    remedy: Remedy
    alarms: Sequence[Json]

    @property
    def since(self) -> str:
        return str(self.alarms[0]["raised_at"])


async def list_alarms(visit: Visit) -> Response:
    """List the open alarms, grouped by their kind."""
    found = (await visit.ledger.get("/v1/alarms", limit=MOST_ALARMS))["data"]
    return visit.page(
        "alarms.html",
        groups=groups_of(found),
        subjects=await subjects_of(visit.backend, found),
        full=len(found) == MOST_ALARMS,
    )


def groups_of(alarms: Sequence[Json]) -> list[AlarmGroup]:
    """Group alarms by kind, the kind with the oldest alarm first."""
    by_kind = groupby(sorted(alarms, key=itemgetter("kind", "raised_at")), itemgetter("kind"))
    groups = [AlarmGroup(kind, REMEDIES.get(kind, UNKNOWN), list(same)) for kind, same in by_kind]
    return sorted(groups, key=lambda group: group.since)


async def subjects_of(backend: Backend, alarms: Sequence[Json]) -> dict[str, Subject]:
    """Find the objects of alarms. Most alarms name a stream, whose first fact names the object."""
    streams = [stream for one in alarms if (stream := _stream(one["subject"])) is not None]
    found = await backend.history.several(streams)
    subjects: dict[str, Subject] = {}
    for stream, facts in found.items():
        named = _named(facts[0].stream, facts[0].fact, str(stream))
        if named is not None:
            subjects[str(stream)] = named
    return subjects


def _stream(subject: str) -> UUID | None:
    try:
        return UUID(subject)
    except ValueError:
        return None


def _named(kind: str, first: object, stream: str) -> Subject | None:
    if kind == "seller_transfer":
        seller, order = getattr(first, "seller_id", ""), getattr(first, "order_id", "")
        return Subject(f"transfers/{stream}", f"Transfer to {seller} for order {order}")
    for name in ("refund", "dispute", "order"):
        known = getattr(first, f"{name}_id", None)
        if kind == name and isinstance(known, str):
            return Subject(path_of(f"{name}s/{{name}}", name=known), f"{name.title()} {known}")
    return Subject("pauses", "Pauses") if kind == "pause" else None


async def list_webhooks(visit: Visit) -> Response:
    """List stored webhooks, newest first."""
    status = visit.given("status")
    found = await visit.ledger.get("/v1/inbox", status=status, cursor=visit.given("cursor"))
    return visit.page(
        "inbox.html",
        webhooks=found["data"],
        chosen=status,
        statuses=INBOX_STATUSES,
        cursor=found["next_cursor"],
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
