"""Life cycle of a transfer, compared with tables that are written out by hand."""

import re
from itertools import product
from pathlib import Path

import pytest

from domain.lifecycle import (
    ALLOWED_TRANSITIONS,
    FINAL,
    OPERATOR_TRANSITIONS,
    TransferStatus,
    can_transition,
    operator_may,
)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "lifecycle.md"
MIGRATIONS = ROOT / "infrastructure" / "postgres" / "migrations"

# x: may follow, =: the same again, -: never. Rows are from, columns are to, in the order of the
# rows.
BASE = """
    pending             = x x - - -
    completed           - = - x - -
    failed              - x = - - x
    reversal_pending    - - - = x x
    reversed            - - - - = -
    permanently_failed  - - - - - =
"""
ALL = """
    pending             = x x - - - - x
    completed           - = - x - - - -
    failed              - x = - - x - x
    reversal_pending    - - - = x x x -
    reversed            - - - - = - - -
    permanently_failed  - - - - - = - -
    partially_reversed  - - - x - - = -
    cancelled           - - - - - - - =
"""


def _matrix(text: str) -> dict[tuple[str, str], bool]:
    rows = [line.split() for line in text.strip().splitlines()]
    names = [name for name, *_ in rows]
    return {
        (name, to): mark != "-"
        for name, *marks in rows
        for to, mark in zip(names, marks, strict=True)
    }


def _statuses(matrix: dict[tuple[str, str], bool]) -> set[str]:
    return {name for pair in matrix for name in pair}


EIGHT = _statuses(_matrix(ALL))


@pytest.mark.parametrize(
    ("text", "pairs"), [(BASE, 36), (ALL, 64)], ids=["six base statuses", "all eight"]
)
def test_every_pair_of_statuses_matches_the_design(text: str, pairs: int) -> None:
    wanted = _matrix(text)
    assert len(wanted) == pairs

    assert {pair: can_transition(*pair) for pair in wanted} == wanted


def test_base_statuses_have_exactly_the_base_arrows() -> None:
    base = _statuses(_matrix(BASE))
    assert {(f, t): can_transition(f, t) for f, t in product(base, base)} == _matrix(BASE)
    # and the two of ours add no arrow between two base statuses
    assert {
        pair: allowed for pair, allowed in _matrix(ALL).items() if set(pair) <= base
    } == _matrix(BASE)


def test_members_and_plain_strings_get_the_same_answer() -> None:
    for before, after in product(TransferStatus, TransferStatus):
        assert can_transition(before, after) == can_transition(before.value, after.value)
        assert operator_may(before, after) == operator_may(before.value, after.value)


def test_final_status_has_no_way_out() -> None:
    finals = {"reversed", "permanently_failed", "cancelled"}

    assert {str(status) for status in FINAL} == finals
    assert all(ALLOWED_TRANSITIONS[TransferStatus(final)] == frozenset() for final in finals)
    assert not [(f, t) for f, t in product(finals, EIGHT) if f != t and can_transition(f, t)]


def test_same_status_is_always_allowed() -> None:
    assert all(can_transition(status, status) for status in EIGHT)
    assert not [status for status, after in ALLOWED_TRANSITIONS.items() if status in after]


@pytest.mark.parametrize(
    "unknown",
    ["", "paid", "PENDING", "Pending", " pending", "pending ", "None", "reversal-pending"],
)
def test_unknown_status_allows_nothing(unknown: str) -> None:
    assert not any(can_transition(unknown, to) for to in [*EIGHT, unknown])
    assert not any(can_transition(status, unknown) for status in EIGHT)
    assert not any(
        operator_may(unknown, to) or operator_may(to, unknown) for to in [*EIGHT, unknown]
    )


def test_named_actor_reopens_only_permanently_failed() -> None:
    wanted = {("permanently_failed", "failed"), ("permanently_failed", "reversal_pending")}

    assert {pair for pair in product(EIGHT, EIGHT) if operator_may(*pair)} == wanted
    assert {(str(f), str(t)) for f, after in OPERATOR_TRANSITIONS.items() for t in after} == wanted


def test_actor_transitions_never_happen_automatically() -> None:
    assert not [
        pair for pair in product(EIGHT, EIGHT) if operator_may(*pair) and can_transition(*pair)
    ]


def test_tables_are_immutable_at_run_time() -> None:
    for table in (ALLOWED_TRANSITIONS, OPERATOR_TRANSITIONS):
        with pytest.raises(TypeError):
            table[TransferStatus.REVERSED] = frozenset({TransferStatus.PENDING})  # type: ignore[index]


def test_enum_and_table_name_the_same_statuses() -> None:
    assert (
        {status.value for status in TransferStatus}
        == {str(status) for status in ALLOWED_TRANSITIONS}
        == EIGHT
    )


def statuses_in_sql(sql: str) -> list[set[str]]:
    """Return the status lists of every CHECK on the column `status` of the table `seller_transfers`
    with `pending` in it."""
    table = re.search(
        r"create table seller_transfers\s*\((.*?)\n\)", sql, re.DOTALL | re.IGNORECASE
    )
    assert table, "no seller_transfers is created here"
    checks = re.findall(
        r"check\s*\(\s*status\s+in\s*\(([^)]*)\)\s*\)", table.group(1), re.DOTALL | re.IGNORECASE
    )
    return [set(re.findall(r"'([^']*)'", check)) for check in checks]


def test_database_names_the_same_statuses() -> None:
    (migration,) = MIGRATIONS.glob("0002*.up.sql")
    assert statuses_in_sql(migration.read_text(encoding="utf-8")) == [EIGHT]


def test_later_migrations_do_not_change_the_statuses() -> None:
    changed = re.compile(
        r"(drop|add|alter) constraint (if exists )?a_transfer_has_a_known_status", re.IGNORECASE
    )
    assert not [
        path.name
        for path in MIGRATIONS.glob("*.up.sql")
        if changed.search(path.read_text(encoding="utf-8"))
    ]


def rows_of_docs(text: str) -> dict[str, set[str]]:
    """Return the first Markdown table with one row per status: the words of its first and second
    column."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if "|" in line
    ]
    tables: dict[str, set[str]] = {}
    for row in rows:
        named = re.findall(r"[a-z_]+", row[0])
        if len(named) == 1 and named[0] in EIGHT and len(row) > 1 and named[0] not in tables:
            tables[named[0]] = set(re.findall(r"[a-z_]+", row[1])) & EIGHT
    return tables


def test_docs_name_the_same_statuses_and_arrows() -> None:
    wanted = {name: {to for to in EIGHT if to != name and _matrix(ALL)[name, to]} for name in EIGHT}
    assert rows_of_docs(DOCS.read_text(encoding="utf-8")) == wanted


def test_readers_of_sql_and_docs_notice_a_difference() -> None:
    sql = (
        "create table seller_transfers (\n status text,\n constraint a check (status in (\n "
        "'pending',\n 'paid'))\n)\nwith (x=1)"
    )
    assert statuses_in_sql(sql) == [{"pending", "paid"}]
    docs = (
        "| from | may go to |\n|---|---|\n| `pending` | `completed`, `failed` |\n| `reversed` | "
        "nothing |\n"
    )
    assert rows_of_docs(docs) == {"pending": {"completed", "failed"}, "reversed": set()}
