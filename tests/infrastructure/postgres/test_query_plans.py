"""The plan of every query, on a marketplace with statistics: none reads a growing table from end to
end."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from typing import Any, ClassVar

import httpx
import psycopg
import pytest
from psycopg import AsyncCursor, ClientCursor
from psycopg.rows import TupleRow, tuple_row

from infrastructure.bootstrap import stored
from infrastructure.postgres import connections, work_queue
from infrastructure.postgres.connections import BY_INDEX, BoundedConnection
from infrastructure.postgres.named_queries import DIRECTORY, queries
from infrastructure.postgres.reconciliation import SEEN
from infrastructure.service import Service
from infrastructure.settings import Settings
from infrastructure.stripe.gateway import StripeGateway
from infrastructure.web.app import application_of
from infrastructure.web.console import human_acts
from scripts.bench.marketplace import fill
from scripts.bench.pages import addresses
from tests.conftest import Databases
from tests.support.query_plans import GROWING, SMALL, Plan, schema_of, whole_reads

TRANSFERS, TIMES = 10_000, 100
ENLARGED = """
    select pg_restore_relation_stats('schemaname', 'public', 'relname', c.relname::text, 'relpages', c.relpages,
                                     'reltuples', greatest(c.reltuples * %(times)s, 100000)::real)
      from pg_class c left join pg_index i on i.indexrelid = c.oid
     where coalesce(i.indrelid, c.oid) = any(%(tables)s::regclass[]) and i.indpred is null
"""
"""Let the planner see a million transfers: more rows in each page, in the same proportions."""
PLANNED_TO_READ_ALL = {
    "reconciliation.destinations": "a count for the progress bar of `reconcile`",
    "reconciliation.completed_without_id": "a count for the report of `backfill`",
}
READ_ALL = frozenset({"invariants", "integrity"})
"""`verify` and `rebuild` read everything."""
PLANNED_FOR_VALUES = {"lists", "overview", "search"}
"""Their statements are never prepared."""
UUID = "5f0c6d2e-6f56-4a9b-9d0a-000000000001"
NOW, EARLIER, LATER = "2026-12-01T00:00:00Z", "2026-11-01T00:00:00Z", "2027-01-01T00:00:00Z"
VALUES: dict[str, object] = {
    **dict.fromkeys(("created_at", "due_at", "began", "start", "since", "created_from"), EARLIER),
    **dict.fromkeys(("until", "end", "seen_until", "after_at", "created_to", "begun_by"), LATER),
    **dict.fromkeys(("transfer_id", "stream", "lower", "process"), UUID),
    **dict.fromkeys(("ids", "streams", "targets"), f"{{{UUID}}}"),
    **dict.fromkeys(("lease", "interval", "first", "longest", "soon", "together"), "5 seconds"),
    **dict.fromkeys(("actor", "detail", "endpoint", "holder", "host", "job_id", "stripe_id"), "a"),
    **dict.fromkeys(("look_up_first", "obstacle", "reason", "refusal", "stripe_transfer_id"), "a"),
    **dict.fromkeys(("finding_id", "reversal_id", "subject"), "a"),
    **dict.fromkeys(("retention",), "90 days"),
    **dict.fromkeys(("names", "order_ids", "payment_ids", "source_transactions"), "{a,b}"),
    **dict.fromkeys(("destinations", "texts", "types", "reasons"), "{a,b}"),
    **dict.fromkeys(("position", "version", "before"), 20_000),
    **dict.fromkeys(("done", "refused", "counted", "count", "pid", "nth", "findings"), 1),
    **dict.fromkeys(("decrease", "recovery", "floor"), "0.5"),
    **dict.fromkeys(("anyway", "awaits_others"), "false"),
    "after": UUID, "upper": "ffffffff-ffff-4fff-bfff-ffffffffffff", "limit": 50, "window": 1_000,
    "visits": 500, "most": 10_000, "inbox_id": 7, "at_risk": 1, "filter": "{}", "loops": "[]",
    "seller_id": "seller-huge", "sellers": None, "statuses": "{failed}", "status": "failed",
    "waiting_for": "funds", "currency": "EUR", "state": "unknown", "kind": "overdue", "topics": "{a}",
    "name": "refund-1", "refund_id": "refund-1", "order_id": "order-9", "provider": "stripe",
    "pattern": "order-9%", "account": None, "destination": None, "error": None, "mode": "test",
    "event_type": None, "received_from": None, "received_to": None, "now": NOW, "ends_at": LATER, "digest": "a",
}  # fmt: skip
SPECIAL: dict[str, dict[str, object]] = {
    "console.human_acts": {"after": 1_000},
    "integrity.in_order": {"after": 1_000},
    "inbox.ignore": {"ids": "{1,2}"},
    "inbox.waiting": {"names": "{a,b}"},
    "work_queue.claim": {"after": "seller-1", "kind": "reversing"},
    "work_queue.next_due": {"kind": "reversing"},
    "read_models.transfers": {"order_id": None, "status": None},
    "bulk_jobs.matches": {"order_id": None, "waiting_for": None},
    "bulk_jobs.webhooks": {"status": None, "reason": "a"},
    "overview.items": {"since": None},
    "rate_limiter.reserve": {"window": "10"},
    "machine_state.rates": {"window": "10"},
}
UUIDS, TEXTS, NUMBERS = f"{{{UUID}}}", "{a,b}", "{1,2}"
POSITIONAL: dict[str, list[object]] = {
    **{key: [UUIDS] for key in ("some_transfers", "reversals", "reversal_statuses")},
    **{key: [7] for key in ("webhook", "replay", "erase", "one", "body", "open", "all")},
    "alarms.one": ["overdue", "a"], "bulk_jobs.acted": [UUID, "a"], "bulk_jobs.money": [UUIDS], "bulk_jobs.recent": [50],
    **{key: [TEXTS] for key in ("paid_by", "ignored", "until_due", "refund_statuses", "see")},
    **{key: ["[]"] for key in ("recall", "put")},
    "webhooks_behind": [NUMBERS], "load": [UUIDS, NUMBERS], "feed": [20_000, 50],
    "append": ["[]", "{}"],
}  # fmt: skip
"""Values of the statements without names for them; any other gets texts."""


@pytest.fixture(scope="module")
def marketplace_url(databases: Databases) -> Iterator[str]:
    url = databases.create(migrated=True)
    fill(url, TRANSFERS)
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.server_version < 180_000:
            databases.drop(url)
            pytest.skip("statistics can be set since PostgreSQL 18")
        connection.execute(ENLARGED, {"tables": list(GROWING), "times": TIMES})
    yield url
    databases.drop(url)


@pytest.fixture
def connection(marketplace_url: str) -> Iterator[psycopg.Connection[TupleRow]]:
    with psycopg.connect(marketplace_url) as connection:
        connection.execute(SEEN)
        yield connection


def named_statements() -> Iterator[tuple[str, bytes]]:
    for file in sorted(DIRECTORY.glob("*.sql")):
        if file.stem not in READ_ALL:
            yield from ((f"{file.stem}.{name}", text) for name, text in queries(file.stem).items())
    for kind, text in work_queue.CLAIM.items():
        yield f"work_queue.claim {kind}", text
    for kind, text in work_queue.NEXT_DUE.items():
        yield f"work_queue.next_due {kind}", text


def values_of(name: str, text: bytes) -> dict[str, object] | list[object]:
    """Return values for a statement. A new parameter needs one in `VALUES`."""
    if names := re.findall(rb"%\((\w+)\)s", text):
        special = SPECIAL.get(name.partition(" ")[0], {})
        return {key.decode(): {**VALUES, **special}[key.decode()] for key in names}
    number = len(re.findall(rb"(?<!%)%s", text))
    return POSITIONAL.get(name, POSITIONAL.get(name.partition(".")[2], ["a"] * number))


def plan_of(connection: psycopg.Connection[TupleRow], name: str, text: bytes) -> Plan:
    """Return the plan that the ledger gets: for exactly these values, or, of a statement that is
    prepared, the one that the server has settled on after some executions."""
    cursor = ClientCursor(connection)
    values = values_of(name, text)
    if name.partition(".")[0] in PLANNED_FOR_VALUES:
        connection.execute(BY_INDEX)
        statement = cursor.mogrify(text, values)
        row = connection.execute(f"explain (format json) {statement}".encode()).fetchone()
    else:
        ordered = list(values.values()) if isinstance(values, dict) else values
        connection.execute("deallocate all")  # a failed statement has left its own
        connection.execute(b"prepare q as " + numbered(text))
        run = cursor.mogrify(
            "execute q" + ("(" + ", ".join(["%s"] * len(ordered)) + ")" if ordered else ""), ordered
        )
        for _ in range(7):
            row = connection.execute(f"explain (format json) {run}".encode()).fetchone()
    assert row
    return row[0][0].get("Plan", {"Node Type": "Utility"})  # type: ignore[no-any-return]


def numbered(text: bytes) -> bytes:
    """Write the parameters as PostgreSQL does: `$1` for the first name or place."""
    known: dict[bytes, int] = {}

    def number(found: re.Match[bytes]) -> bytes:
        key = found[1] or str(len(known)).encode()
        return b"$%d" % known.setdefault(key, len(known) + 1)

    return re.sub(rb"(?<!%)%(?:\((\w+)\))?s", number, text).replace(b"%%", b"%")


def test_named_query_reads_no_growing_table_whole(
    connection: psycopg.Connection[TupleRow],
) -> None:
    schema, found = schema_of(connection), {}
    for name, text in named_statements():
        try:
            with connection.transaction(force_rollback=True):
                plan = plan_of(connection, name, text)
        except (psycopg.Error, KeyError) as error:
            pytest.fail(f"{name}: {error!r}; give its parameters values in this file")
        if reads := list(whole_reads(plan, schema)):
            found[name] = reads
    assert found.keys() == PLANNED_TO_READ_ALL.keys(), found


def test_every_table_is_known_to_grow_or_to_stay_small(
    connection: psycopg.Connection[TupleRow],
) -> None:
    rows = connection.execute("select tablename from pg_tables where schemaname = 'public'")
    assert {name for (name,) in rows.fetchall()} | {"seen_at_stripe"} == GROWING | SMALL.keys()


def test_scan_without_index_is_found(connection: psycopg.Connection[TupleRow]) -> None:
    """The rules see the scans that they forbid."""
    schema = schema_of(connection)
    for query, sentence in {
        "select from seller_transfers where last_error = 'x'": "it scans seller_transfers",
        "select count(*) from seller_transfers where created_at > '-infinity'": "it ",
        "select from orders o join refunds r using (order_id)": "it scans",
    }.items():
        row = connection.execute(f"explain (format json) {query}".encode()).fetchone()
        assert row
        assert any(one.startswith(sentence) for one in whole_reads(row[0][0]["Plan"], schema)), (
            query
        )


# --- the pages ------------------------------------------------------------------------------------


class Explaining(AsyncCursor[Any]):
    """A cursor that asks for the plan of each reading statement before it runs, with the settings
    of its session."""

    seen: ClassVar[dict[str, Plan]] = {}

    async def execute(self, query: Any, params: Any = None, **how: Any) -> "Explaining":
        text = query if isinstance(query, bytes) else str(query).encode()
        if re.match(rb"\(?(select|with)\b", text) and not re.search(
            rb"\b(insert|update|delete)\b", text
        ):
            other = AsyncCursor(self.connection, row_factory=tuple_row)
            await other.execute(b"explain (format json) " + text, params, prepare=False)
            row = await other.fetchone()
            assert row
            self.seen[text.decode()] = row[0][0]["Plan"]
        return await super().execute(query, params, **how)


class ExplainingConnection(BoundedConnection):
    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.cursor_factory = Explaining


@pytest.fixture
async def client(
    marketplace_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(connections, "BoundedConnection", ExplainingConnection)
    monkeypatch.setattr(human_acts, "WINDOW", 500)  # or it would be the whole small ledger
    settings, nowhere = Settings(database_url=marketplace_url), "http://127.0.0.1:9"
    async with (
        stored(settings) as storage,
        StripeGateway("sk_test_nowhere", nowhere, timeout=1) as gateway,
    ):
        parts = {part.name: getattr(storage, part.name) for part in fields(storage)}
        app = application_of(Service(**parts, stripe_url=nowhere, gateway=gateway))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://ledger"
        ) as client:
            yield client


async def test_page_reads_no_growing_table_whole(
    client: httpx.AsyncClient, connection: psycopg.Connection[TupleRow]
) -> None:
    schema = schema_of(connection)
    row = connection.execute("select transfer_id from seller_transfers limit 1").fetchone()
    assert row
    ids = {"transfer_id": str(row[0]), "dispute_id": "dp_3", "inbox_id": "7", "order_id": "order-7",
           "refund_id": "refund-1", "seller_id": "seller-7", "finding_id": "finding-2000",
           "job_id": "job-1", "kind": "overdue", "subject": "a"}  # fmt: skip
    found: dict[str, object] = {}
    for address in addresses(ids):
        Explaining.seen.clear()
        reply = await client.get(address)
        assert reply.status_code < 500, f"{address}: {reply.text[:300]}"
        reads = {
            text[:60]: [*whole_reads(plan, schema)]
            for text, plan in Explaining.seen.items()
            if [*whole_reads(plan, schema)]
        }
        if reads:
            found[address] = reads
    assert found == {}, json.dumps(found, indent=1)
