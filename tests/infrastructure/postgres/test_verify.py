"""The verification of a ledger: every manual change is found, and the finding names its place."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from application.commands.decisions import Decision
from application.commands.refunds import RefundReport
from domain.identity import transfer_stream
from domain.order.payment_match import psp_payment
from domain.seller_transfer.reversal_outcome import record_unknown_transfer
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.bootstrap import stored
from infrastructure.postgres.connections import connect_blocking
from infrastructure.postgres.integrity.seals import InvalidSeal, Seal, read_key, read_seal, seal
from infrastructure.postgres.integrity.verify import (
    INVARIANTS,
    NOT_DERIVED,
    NOT_FOLDED,
    IntegrityFinding,
    verify,
)
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.settings import settings_from
from projections.registry import DERIVED, Derived
from tests.support.database_edits import (
    COLUMNS,
    FACTS,
    edit,
    named,
    quiet,
    triggers_off,
    without_checks,
)
from tests.support.json_types import Json
from tests.support.seeded_ledger import load_ledger
from tests.support.service import LedgerCaller

KEY = b"sixteen bytes are enough"
AT = 101
"""The position that is tampered with: in the middle of everything."""

TAMPERINGS = {
    "flip": ("update ledger_events set state = replace(convert_from(state, 'UTF8'), '4000', '4009')::bytea "
             "where notification_id = (select min(notification_id) from ledger_events where "
             "notification_id >= 101 "
             "and convert_from(state, 'UTF8') like '%4000%')", None),
    "flip one bit of a link": ("update ledger_events set digest = set_bit(digest, 0, 1 - get_bit(digest, 0)) "
                               "where notification_id = 101", AT),
    "retime": ("update ledger_events set state = replace(convert_from(state, 'UTF8'), '2026-01-05', '2026-01-06')::bytea "
               "where notification_id = 101", AT),
    "rename": ("update ledger_events set topic = 'ledger.order.paid' where notification_id = 101",
    AT),
    "drop": ("delete from ledger_events where notification_id = 101", AT + 1),
    "swap": ("update ledger_events a set state = b.state, topic = b.topic from ledger_events b "
             "where a.notification_id in (101, 102) and b.notification_id = 203 - "
             "a.notification_id", AT),
    "insert": ("insert into ledger_events select gen_random_uuid(), 1, topic, state, max + 1, digest from ledger_events, "
               "(select max(notification_id) from ledger_events) m where notification_id = 101",
               -1),
}  # fmt: skip


@pytest.fixture
def ledger(database_url: str) -> str:
    load_ledger(database_url, FACTS)
    return database_url


def findings(url: str, *seals: Seal, key: bytes | None = None) -> list[IntegrityFinding]:
    return verify(url, seals, key, quiet).findings


def sealed(url: str) -> Seal:
    with connect_blocking(url) as connection:
        return seal(connection)


def test_untouched_ledger_has_no_findings(ledger: str) -> None:
    verified = verify(ledger, [], None, quiet)
    assert verified.findings == []
    assert verified.position >= FACTS
    assert all(count > 0 for count in verified.rows.values())


def test_empty_ledger_has_no_findings(database_url: str) -> None:
    assert findings(database_url) == []


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampered_fact_is_found_at_its_position(ledger: str, tampering: str) -> None:
    statement, position = TAMPERINGS[tampering]
    with triggers_off(ledger) as connection:
        before = dict(
            connection.execute(
                "select notification_id, md5(e::text) from ledger_events e"
            ).fetchall()
        )
        assert connection.execute(statement.encode()).rowcount > 0
        after = dict(
            connection.execute(
                "select notification_id, md5(e::text) from ledger_events e"
            ).fetchall()
        )
    changed = sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))
    expected = changed[0] if position in (None, -1) else position
    broken = [finding for finding in findings(ledger) if finding.check == "hash_chain"]
    assert broken[0].position == expected
    assert {finding.position for finding in broken} <= {*changed, changed[-1] + 1}


def test_chain_rewritten_from_root_breaks_a_seal(ledger: str) -> None:
    """A superuser can also write a new, consistent chain and new rows."""
    kept = sealed(ledger)
    with triggers_off(ledger) as connection:
        tables = ", ".join(derived.table for derived in DERIVED)
        connection.execute(f"truncate ledger_events, {tables}".encode())
    load_ledger(ledger, FACTS, name="other")
    assert findings(ledger) == []
    (found,) = findings(ledger, kept)
    assert (found.check, found.position) == ("seal", kept.position)


def test_cut_off_tail_is_found_by_seal(ledger: str) -> None:
    kept = sealed(ledger)
    with triggers_off(ledger) as connection:
        connection.execute(
            "delete from ledger_events where notification_id > %s", [kept.position - 3]
        )
    found = [finding for finding in findings(ledger, kept) if finding.check == "seal"]
    assert [finding.position for finding in found] == [kept.position - 2]
    # and without any seal, by the rows that know more than the facts
    assert findings(ledger)


def test_older_seal_holds_after_growth(ledger: str, database_url: str) -> None:
    with connect_blocking(ledger) as connection:
        link = connection.execute(
            "select digest from ledger_events where notification_id = %s", [AT]
        ).fetchone()
    assert link is not None
    older = Seal(AT, link[0].hex(), "2026-01-05T08:00:00+00:00", None, None, None)
    assert findings(ledger, older, sealed(ledger)) == []


def test_seal_is_bound_to_its_database(ledger: str) -> None:
    kept = sealed(ledger)._replace(mode="live", bound_at="2026-01-01T00:00:00+00:00")
    (found,) = findings(ledger, kept)
    assert "bound to live" in found.what


def test_seal_signature_covers_every_member(ledger: str) -> None:
    signed = sealed(ledger).signed(KEY)
    assert read_seal(signed.to_json()) == signed
    assert findings(ledger, signed, key=KEY) == []
    other: Json = {
        "position": signed.position - 1, "digest": "0" * 64,
        "sealed_at": "2020-01-01T00:00:00+00:00", "mode": "live",
        "account": "acct_2", "bound_at": "2020-01-01T00:00:00+00:00", "signature": None,
    }  # fmt: skip
    assert other.keys() == signed._asdict().keys()
    for member, value in other.items():
        assert not signed._replace(**{member: value}).is_signed_with(KEY), member
    assert not signed.is_signed_with(KEY + b"!")
    assert [finding.check for finding in findings(ledger, sealed(ledger), key=KEY)] == ["seal"]


def test_unchecked_signature_is_reported(ledger: str) -> None:
    verified = verify(ledger, [sealed(ledger).signed(KEY)], None, quiet)
    assert verified.findings == []
    assert "not checked" in verified.notes[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"format": "other"}',
        b'{"format": "transfer-ledger seal 1"}',
        Seal(1, "00", "", None, None, None).to_json(),
        Seal(0, "0" * 64, "", None, None, None).to_json(),
        Seal(1, "0" * 64, "", None, None, None)
        .to_json()
        .replace(b'"position": 1', b'"position": "1"'),
        Seal(1, "0" * 64, "", None, None, None).to_json().replace(b'"mode": null', b'"mode": 1'),
    ],
)
def test_invalid_seal_is_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(InvalidSeal, match="seal"):
        read_seal(content)


def test_short_key_is_refused() -> None:
    with pytest.raises(InvalidSeal, match="16"):
        read_key(b"short\n")


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("derived", "column"), COLUMNS, ids=named)
def test_edited_column_of_any_row_is_found(ledger: str, derived: Derived, column: str) -> None:
    with triggers_off(ledger) as connection:
        without_checks(connection, derived.table)
        key = edit(connection, derived, column)
    found = [finding for finding in findings(ledger) if finding.check == derived.table]
    named_rows = {finding.id: finding for finding in found}
    assert " ".join(key) in named_rows, found
    if column not in derived.key:
        kept, expected = (named_rows[" ".join(key)].columns or {})[column]
        assert kept != expected
        assert "missing" not in named_rows[" ".join(key)].what, (
            "it is there, and only says that it belongs elsewhere"
        )


@pytest.mark.parametrize("derived", DERIVED, ids=named)
def test_missing_row_is_found(ledger: str, derived: Derived) -> None:
    with triggers_off(ledger) as connection:
        connection.execute(
            f"delete from {derived.table} where ctid = (select min(ctid) from {derived.table})".encode()
        )
    assert "the row is missing" in [
        finding.what for finding in findings(ledger) if finding.check == derived.table
    ]


def test_equal_amounts_with_other_bytes_are_found(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute(
            "update orders set shares = jsonb_set(shares, '{0,amount}', (shares #>> '{0,amount}' "
            "|| '.0')::jsonb)"
        )
    assert {finding.check for finding in findings(ledger)} == {"orders"}


def test_uncheckable_law_is_a_finding(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute("update orders set shares = '[1]'")
    assert "the query failed" in {
        f.what.split(":")[0] for f in findings(ledger) if f.check == "shares_come_out_exactly"
    }


def test_instants_beyond_calendar_are_findings(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute("update refunds set updated_at = 'infinity'")
    assert {finding.check for finding in findings(ledger)} == {"refunds"}


def test_leases_and_foreign_alarms_are_no_findings(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute("update seller_transfers set leased_by = 'w', leased_until = now()")
        connection.execute(
            "insert into alarms values ('webhook_dead', 'hyperswitch:evt_1', 'x', now(), now(), 1)"
        )
    assert findings(ledger) == []


@pytest.mark.parametrize("subject", ["nobody", "00000000-0000-5000-8000-000000000000"])
def test_alarm_without_fact_is_found(ledger: str, subject: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute(
            "insert into alarms values ('drift', %s, 'x', now(), now(), 1)", [subject]
        )
    assert [(f.check, f.id) for f in findings(ledger)] == [("alarms", f"drift {subject}")]


async def test_written_off_reversal_is_no_finding(database_url: str) -> None:
    transfer_id = transfer_stream("o1", "ada")
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        caller, ledger = LedgerCaller(storage), PostgresEventLog(storage.store)
        await caller.order("o1", 1_000, ada=1_000)
        await caller.pay("o1")
        uow = await ledger.load([transfer_id])
        complete(uow.transfer(transfer_id), "tr_1", 1_000, None, storage.clock.now())
        await ledger.append(uow)
        await caller.refund("r1", "o1", 400)
        uow = await ledger.load([transfer_id])
        record_unknown_transfer(
            uow.transfer(transfer_id), "No such transfer: tr_1", None, storage.clock.now()
        )
        await ledger.append(uow)
        commands = storage.commands.operator
        await commands.resolve(None, transfer_id, "mia", "the platform bears it", "ticket 7")  # type: ignore[arg-type]  # not read
    assert await asyncio.to_thread(findings, database_url) == []


@pytest.mark.parametrize("decided", ["not yet", "dismissed", "taken"])
async def test_refund_of_a_surplus_payment_is_no_finding(database_url: str, decided: str) -> None:
    """It has succeeded, and takes nothing of the order, or the decided amount."""
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        caller, commands = LedgerCaller(storage), storage.commands
        await caller.order("o1", 1_000, ada=1_000)
        await commands.orders.record_payment("o1", None, None, "api")
        told = RefundReport("r1", "o1", 400, "EUR", "api", payment=psp_payment("pay_2"))
        await commands.refunds.succeeded(told)
        await commands.orders.record_payment("o1", "pay_1", None, "api")
        assert (await commands.orders.order("o1")).set_aside == {"r1": 400}
        allocation = {"taken": {"ada": 300}, "dismissed": None}
        if decided in allocation:
            await commands.decisions.refund("r1", Decision(allocation[decided], "mia", "asked"))
    assert await asyncio.to_thread(findings, database_url) == []


async def test_collected_amount_that_is_lowered_is_no_finding(database_url: str) -> None:
    """The refund takes more of the share then: one reversal takes both parts, as none was sent."""
    transfer_id = transfer_stream("o1", "ada")
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        caller, ledger = LedgerCaller(storage), PostgresEventLog(storage.store)
        await caller.order("o1", 1_000, ada=1_000)
        paid = storage.commands.orders.record_payment
        await paid("o1", "pay_1", None, "api", expected=(1_250, "EUR"))
        uow, now = await ledger.load([transfer_id]), storage.clock.now()
        complete(uow.transfer(transfer_id), "tr_1", 1_000, None, now)
        await ledger.append(uow)
        await caller.refund("r1", "o1", 500)
        await storage.commands.orders.correct_collected("o1", 1_000, "api")
        transfer = (await ledger.load([transfer_id])).transfer(transfer_id)
        assert [one.amount for one in transfer.reversals.values()] == [400, 500]
    assert await asyncio.to_thread(findings, database_url) == []


def test_tables_are_derived_or_explained(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        tables = {
            name
            for (name,) in connection.execute(
                "select tablename from pg_tables where schemaname = 'public'"
            )
        }
        columns = connection.execute(
            "select table_name, column_name from information_schema.columns where table_schema = "
            "'public'"
        ).fetchall()
    derived = {each.table: each for each in DERIVED}
    assert tables == derived.keys() | NOT_DERIVED.keys(), (
        "give the table an entry in DERIVED, or explain it in NOT_DERIVED"
    )
    assert not derived.keys() & NOT_DERIVED.keys()
    for table, each in derived.items():
        kept = {column for name, column in columns if name == table}
        assert kept == set(each.columns) | NOT_FOLDED.get(table, frozenset()), table


# --- laws -----------------------------------------------------------------------------------------

BREAKING = {
    "one_transfer_per_cause": "update seller_transfers set (order_id, seller_id) = ('o-1', 's1')",
    "one_reversal_per_refund": "update transfer_reversals set (transfer_id, refund_id) = "
                               "(select transfer_id, refund_id from transfer_reversals limit 1)",
    "one_reversal_in_flight": "update transfer_reversals set status = 'requested', transfer_id = "
                              "(select transfer_id from transfer_reversals limit 1)",
    "stripe_transfer_ids_are_unique": "update seller_transfers set stripe_transfer_id = 'tr_1'",
    "stripe_reversal_ids_are_unique": "update transfer_reversals set stripe_reversal_id = 'trr_1'",
    "reversals_never_exceed_the_transfer": "update seller_transfers set amount_reversed = amount + 1",
    "amount_reversed_is_the_sum": "update transfer_reversals set amount = amount + 1",
    "due_or_waiting": "update seller_transfers set next_retry_at = now() where status = 'partially_reversed'",
    "refunds_sum_up": "update refunds set amount = amount - 1",
    "shares_come_out_exactly": "update seller_transfers set amount = amount - 1",
    "every_share_has_its_transfer": "delete from seller_transfers where seller_id = 's1'",
    "webhooks_are_kept": "update ledger_events set state = replace(convert_from(state, 'UTF8'), '\"source\":\"api\"', "
                         "'\"source\":\"hyperswitch:evt:1\"')::bytea",
    "webhooks_point_at_facts": "insert into webhook_inbox (provider, event_id, event_type, body, received_at, status, "
                               "handled_at, position) values ('stripe', 'e', 't', '', now(), "
                               "'done', now(), 1000000)",
    "handled_webhooks_are_closed": "insert into webhook_inbox (provider, event_id, event_type, body, received_at, status) "
                                   "values ('stripe', 'e', 't', '', now(), 'done')",
}  # fmt: skip


def test_laws_all_have_a_breach() -> None:
    assert BREAKING.keys() == INVARIANTS.keys()


@pytest.mark.parametrize("law", BREAKING)
def test_broken_law_is_found_by_name(ledger: str, law: str) -> None:
    with triggers_off(ledger) as connection:
        indexes = (
            "select indexname from pg_indexes where indexdef like '%%UNIQUE%%WHERE%%' and "
            "schemaname = 'public'"
        )
        for (index,) in connection.execute(indexes).fetchall():
            connection.execute(f"drop index {index}".encode())
        for derived in DERIVED:
            without_checks(connection, derived.table)
        assert connection.execute(BREAKING[law].encode()).rowcount > 0
    found = [finding for finding in findings(ledger) if finding.check == law]
    assert found
    assert all(finding.id and finding.what for finding in found)


def test_unfoldable_stream_is_found_with_its_position(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute(
            "update ledger_events set topic = 'os:system' where notification_id = %s", [AT]
        )
    assert [f.position for f in findings(ledger) if f.check == "facts"] == [AT]


def test_seal_file_describes_its_contents(ledger: str, tmp_path: Path) -> None:
    made = json.loads(sealed(ledger).to_json())
    assert made["position"] >= FACTS
    assert datetime.fromisoformat(made["sealed_at"]) <= datetime.now(UTC)
    assert len(bytes.fromhex(made["digest"])) == 32
