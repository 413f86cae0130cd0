"""Command `why`: the present state of one thing, its last facts, and its next step."""

import json
from typing import Annotated

import typer

from infrastructure.bootstrap import stored
from infrastructure.postgres.read_side.search import Search, SearchHit, SearchResult
from projections.audit_trail.entries import Entry
from projections.audit_trail.payload import instant
from scripts.commands.command import command, new_app
from scripts.commands.explanation import Explanation, explained
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import age, print_line
from scripts.exit_codes import FOUND, fail

KINDS = ("transfer", "refund", "order", "dispute", "webhook", "seller", "payout", "finding")
"""Kinds of hits, the one to be explained first."""
LAST_FACTS = 5

app = new_app()


@command(app, "transfer-ledger why tr_1QxW3f")
async def why(
    name: Annotated[
        str,
        typer.Argument(metavar="ID", help="Any id of the ledger, the checkout, Stripe or the PSP."),
    ],
    as_json: AsJson = False,
) -> None:
    """Explain a transfer, refund, order or webhook: its state, its last facts, its next step, and
    the act of a person that helps."""
    settings = read_settings()
    async with stored(settings) as storage:
        (result,) = await Search(storage.pool).find([name.strip()])
        found = await explained(storage, _chosen(result))
    if as_json:
        typer.echo(json.dumps(_json(found), indent=2, default=str))
        return
    for line in _lines(found):
        print_line(line)


def _chosen(result: SearchResult) -> SearchHit:
    """Return the hit to explain, or exit with 1."""
    hits = sorted(result.hits, key=lambda hit: KINDS.index(hit.kind))
    if not hits:
        fail(f"Nothing here is called {result.query}; `find` also searches beginnings.", FOUND)
    if result.prefix and len(hits) > 1:
        named = ", ".join(hit.id for hit in hits)
        fail(f"{len(hits)} ids begin with {result.query}: {named}; name one of them.", FOUND)
    return hits[0]


def _lines(found: Explanation) -> list[str]:
    since = ""
    if found.since is not None:
        since = f" (since {instant(found.since)[:19]}Z, {age(found.now - found.since)})"
    lines = [found.title, f"  now        {found.waits_for}{since}", f"  next       {found.next}"]
    lines += [f"  to do      {sentence}" for sentence in found.to_do]
    lines += [f"  alarm      {one.kind}: {' '.join(one.detail.split())}" for one in found.alarms]
    lines += [f"  {line}" for line in found.related]
    if found.facts:
        lines.append(f"  last {len(found.facts[-LAST_FACTS:])} of {len(found.facts)} facts")
    return lines + [f"    {_fact(entry)}" for entry in found.facts[-LAST_FACTS:]]


def _fact(entry: Entry) -> str:
    request = f" [{entry.request_id}]" if entry.request_id else ""
    return f"{instant(entry.at)[:19]}Z  {entry.sentence}{request}"


def _json(found: Explanation) -> dict[str, object]:
    facts = [entry._asdict() | {"at": instant(entry.at)} for entry in found.facts[-LAST_FACTS:]]
    alarms = [{"kind": one.kind, "detail": one.detail} for one in found.alarms]
    times = {"now": instant(found.now), "since": found.since and instant(found.since)}
    return {**found._asdict(), **times, "facts": facts, "alarms": alarms}
