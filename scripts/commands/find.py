"""Command `find`: search by anything that carries an id."""

from typing import Annotated

import typer

from infrastructure.bootstrap import stored
from infrastructure.postgres.read_side.search import (
    MOST_TEXTS,
    Search,
    SearchHit,
    SearchResult,
    split,
)
from projections.audit_trail.payload import instant
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import money, print_json, print_line, print_table
from scripts.exit_codes import FOUND, fail

COLUMNS = (
    "searched", "kind", "id", "found by", "status", "amount", "waits for", "order", "seller",
)  # fmt: skip

app = new_app()


@command(app, "transfer-ledger find tr_1QxW3f order-1001 req_8ZkQ")
async def find(
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="ANYTHING...",
            help="Ids of the ledger, the checkout, Stripe or the PSP; also pasted lists.",
        ),
    ],
    as_json: AsJson = False,
) -> int:
    """Find orders, refunds, transfers, sellers, webhooks and more by any id; exit 1 when a text
    names nothing."""
    asked = list(dict.fromkeys(part for text in texts for part in split(text)))
    if not 0 < len(asked) <= MOST_TEXTS:
        fail(f"{len(asked)} ids are given; expected 1 to {MOST_TEXTS}.")
    async with stored(read_settings()) as storage:
        results = await Search(storage.pool).find(asked)
    if as_json:
        print_json(_json(result) for result in results)
    else:
        _print(results)
    return FOUND if any(not result.hits or result.prefix for result in results) else 0


def _print(results: list[SearchResult]) -> None:
    rows = [_cells(result.query, hit) for result in results for hit in result.hits]
    if rows:
        print_table(COLUMNS, rows)
    for result in results:
        if result.prefix and result.hits:
            print_line(f"Nothing is called {result.query}; the ids above begin with it.", err=True)
        elif not result.hits:
            print_line(f"Nothing here is called {result.query}.", err=True)


def _cells(query: str, hit: SearchHit) -> tuple[str, ...]:
    amount = money(hit.amount, hit.currency) if hit.amount is not None and hit.currency else ""
    found = (query, hit.kind, hit.id, hit.matched, hit.status or "", amount)
    return *found, hit.waiting_for or "", hit.order_id or "", hit.seller_id or ""


def _json(result: SearchResult) -> dict[str, object]:
    hits = [hit._asdict() | {"at": hit.at and instant(hit.at)} for hit in result.hits]
    return {"query": result.query, "prefix": result.prefix, "hits": hits}
