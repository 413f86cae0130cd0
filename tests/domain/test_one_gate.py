"""The status gate: a scan of the source for status changes that bypass it, itself tested with
planted violations.

The rule, for domain, application, projections, infrastructure and scripts:

Python
  - no store to (or deletion of) an attribute `status` of anything, except in the module-level
    functions `enter` of domain/seller_transfer/transfer_fact.py, domain/refund/facts.py,
    domain/dispute.py and domain/payout.py. A declaration without a value assigns nothing;
  - no `setattr` or `__setattr__` of "status", nor of a name that cannot be read off the source;
  - no `__dict__` or `vars()` with a "status" put into it;
  - no `_replace(status=…)` or `replace(status=…)` except where a fact is folded into a row: the
    modules of EVOLVE.
SQL (in .sql files and in strings of Python that are not docstrings)
  - no UPDATE, upsert or MERGE that sets the column `status` of a table in TABLES, or of a table
    that is only named at run time, except the upserts inside the function `ledger_append`;
  - no trigger that assigns `new.status`.

The scan leaves out the simulators and the simulation (SIMULATED): they keep the books of Stripe, of
the PSP and of HTTP, whose objects have statuses of their own. The statuses of `webhook_inbox` are those of jobs. HTTP answers
are built, never assigned to.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("domain", "application", "projections", "infrastructure", "scripts")
GATES = (
    "domain/seller_transfer/transfer_fact.py",
    "domain/refund/facts.py",
    "domain/dispute.py",
    "domain/payout.py",
)
TABLES = ("seller_transfers", "transfer_reversals", "orders", "refunds", "disputes", "payouts")
EVOLVE = tuple(f"projections/{name}.py" for name in (*TABLES, "findings"))
SIMULATED = ("infrastructure/simulators", "infrastructure/simulation")

Finding = tuple[int, str]


def violations(path: str, source: str) -> list[str]:
    """List every status change in this file that bypasses the gate, as `path:line: description`."""
    if PurePosixPath(path).as_posix().startswith(SIMULATED):
        return []
    found = (
        _in_sql(_outside_ledger_append(source))
        if path.endswith(".sql")
        else _in_python(path, ast.parse(source))
    )
    return [f"{path}:{line}: {what}" for line, what in sorted(set(found))]


# --- Python ---------------------------------------------------------------------------------------


def _in_python(path: str, tree: ast.Module) -> Iterator[Finding]:
    exempt = {id(node) for gate in _gates(path, tree) for node in ast.walk(gate)} | {
        id(node) for node in _inert(tree)
    }
    for node in ast.walk(tree):
        if id(node) in exempt:
            continue
        match node:
            case ast.Attribute(attr="status", ctx=ast.Store() | ast.Del()):
                yield node.lineno, "assigns an attribute `status`"
            case ast.Subscript(
                value=holder, slice=ast.Constant("status"), ctx=ast.Store() | ast.Del()
            ) if _is_dict_of(holder):
                yield node.lineno, "assigns `status` through a __dict__"
            case ast.Call():
                yield from ((node.lineno, what) for what in _in_call(path, node))
        if (text := _text(node)) is not None:
            yield from ((node.lineno, what) for _, what in _in_sql(text))  # type: ignore[attr-defined]


def _gates(path: str, tree: ast.Module) -> list[ast.stmt]:
    return [
        n
        for n in tree.body
        if path in GATES and isinstance(n, ast.FunctionDef) and n.name == "enter"
    ]


def _inert(tree: ast.Module) -> Iterator[ast.AST]:
    """Docstrings, and declarations without a value."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant() as docstring):
                yield docstring
            case ast.AnnAssign(target=declared, value=None):
                yield declared


def _is_dict_of(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr="__dict__") | ast.Call(func=ast.Name(id="vars")):
            return True
    return False


def _in_call(path: str, call: ast.Call) -> Iterator[str]:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            pass
        case _:
            return
    if name in ("setattr", "__setattr__", "delattr", "__delattr__") and not _harmless(name, call):
        yield f"calls {name} for `status`, or for a name that is not written here"
    if name in ("_replace", "replace") and _keyword_status(call) and path not in EVOLVE:
        yield f"calls {name}(status=…) outside the folds of the read models"
    if (
        isinstance(call.func, ast.Attribute)
        and _is_dict_of(call.func.value)
        and _names_status(call)
    ):
        yield f"assigns `status` through the {name} of a __dict__"


def _names_status(call: ast.Call) -> bool:
    literal = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    return call.func.attr != "get" and (  # type: ignore[attr-defined]
        _keyword_status(call) or "status" in literal or any(map(_dict_with_status, call.args))
    )


def _harmless(name: str, call: ast.Call) -> bool:
    """Return whether the attribute's name is a literal and differs from `status`.
    `self.__setattr__` leaves the object out."""
    bound = name.startswith("__") and not (
        isinstance(call.func, ast.Attribute) and _is_a_type(call.func.value)
    )
    named = call.args[0 if bound else 1] if len(call.args) > 1 or bound else None
    return isinstance(named, ast.Constant) and named.value != "status"


def _is_a_type(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and (node.id == "object" or node.id[:1].isupper())


def _keyword_status(call: ast.Call) -> bool:
    unpacked = [keyword.value for keyword in call.keywords if keyword.arg is None]
    return any(keyword.arg == "status" for keyword in call.keywords) or any(
        map(_dict_with_status, unpacked)
    )


def _dict_with_status(node: ast.expr) -> bool:
    return isinstance(node, ast.Dict) and any(
        isinstance(k, ast.Constant) and k.value == "status" for k in node.keys
    )


def _text(node: ast.AST) -> str | None:
    """Return the text of a string as far as the source shows it; values filled in at run time
    become `{}`."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) or "{}" for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            one, other = _text(left), _text(right)
            return None if one is None and other is None else f"{one or '{}'}{other or '{}'}"
    return None


# --- SQL ------------------------------------------------------------------------------------------

NAME = r'(?:"?\w+"?\s*\.\s*)?"?(\w+|\{\w*\})"?'
UPDATE = re.compile(rf"\bupdate\s+(?:only\s+)?{NAME}(?:\s+(?:as\s+)?(?!set\b)\w+)?\s+set\b")
UPSERT = re.compile(rf"\binsert\s+into\s+{NAME}(?:(?!\binsert\b)[^;])*?\bdo\s+update\s+set\b")
MERGE = re.compile(rf"\bmerge\s+into\s+(?:only\s+)?{NAME}(?:(?!\bmerge\b)[^;])*?\bupdate\s+set\b")
END_OF_SET = re.compile(r"\b(where|from|returning|when)\b|;")
TRIGGER = re.compile(
    r"\bnew\s*\.\s*status\s*:=|(?:;|\bbegin|\bthen|\belse|\bloop)\s*new\s*\.\s*status\s*="
)


def _in_sql(text: str) -> Iterator[Finding]:
    sql = _plain(text)
    for pattern in (UPDATE, UPSERT, MERGE):
        for match in pattern.finditer(sql):
            table = match.group(1)
            if (table in TABLES or table.startswith("{")) and "status" in _columns_set(
                sql[match.end() :]
            ):
                yield sql.count("\n", 0, match.start()) + 1, f"SQL sets the status of {table}"
    for match in TRIGGER.finditer(sql):
        yield sql.count("\n", 0, match.start()) + 1, "SQL assigns new.status"


def _plain(sql: str) -> str:
    """Return the text in lower case, without comments and literals; line numbers stay the same."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    return re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", blank, sql, flags=re.DOTALL).lower()


def _columns_set(assignments: str) -> set[str]:
    """Return the columns on the left of the SET list that begins here; `(a, b) = (…)` sets two."""
    columns, left, depth, on_left = set(), "", 0, True
    end = _end_of_set(assignments)
    for character in assignments[:end]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            left, on_left = "", True
        elif character == "=" and depth == 0 and on_left:
            columns |= {name.split(".")[-1] for name in re.findall(r"[\w.]+", left)}
            on_left = False
        elif on_left:
            left += character
    return columns


def _end_of_set(assignments: str) -> int:
    for match in END_OF_SET.finditer(assignments):
        before = assignments[: match.start()]
        if before.count("(") <= before.count(")"):
            return match.start()
    return len(assignments)


def _outside_ledger_append(sql: str) -> str:
    """Return the file without the body of `ledger_append`, the only exempt function; line numbers
    stay the same."""
    body = re.compile(
        r"create\s+(?:or\s+replace\s+)?function\s+ledger_append\b.*?\$\$.*?\$\$",
        re.DOTALL | re.IGNORECASE,
    )
    return body.sub(lambda match: "\n" * match.group().count("\n"), sql)


# --- the laws -------------------------------------------------------------------------------------


def _sources() -> list[Path]:
    return sorted(
        path
        for package in PACKAGES
        for kind in ("*.py", "*.sql")
        for path in (ROOT / package).rglob(kind)
    )


def test_status_changes_only_through_the_gate() -> None:
    found = [
        v
        for path in _sources()
        for v in violations(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_scan_covers_all_packages_and_both_languages() -> None:
    seen = {(path.relative_to(ROOT).parts[0], path.suffix) for path in _sources()}
    assert {package for package, _ in seen} == set(PACKAGES)
    assert ("infrastructure", ".sql") in seen


@pytest.mark.parametrize("gate", GATES)
def test_each_gate_exists_once_and_is_exempt(gate: str) -> None:
    source = (ROOT / gate).read_text(encoding="utf-8")
    assert len(_gates(gate, ast.parse(source))) == 1
    elsewhere = violations("domain/elsewhere.py", source)
    assert len(elsewhere) == 1, "the gate's own assignment, seen anywhere else, is a violation"


def test_only_the_row_constructor_is_exempt() -> None:
    (door,) = [
        path
        for path in _sources()
        if "create function ledger_append" in path.read_text(encoding="utf-8")
    ]
    named_otherwise = door.read_text(encoding="utf-8").replace("ledger_append", "another_append")
    found = violations("infrastructure/postgres/migrations/0099_x.up.sql", named_otherwise)
    assert {table for table in TABLES if any(f"status of {table}" in v for v in found)} >= {
        "seller_transfers",
        "refunds",
    }


PYTHON = {
    "assignment": "transfer.status = TransferStatus.REVERSED",
    "of self": "class SellerTransfer:\n    def f(self):\n        self.status = 'reversed'",
    "with an annotation": "transfer.status: str = 'reversed'",
    "in a tuple": "transfer.amount, transfer.status = 1, after",
    "starred": "[first, *transfer.status] = after",
    "in place": "transfer.status += 'x'",
    "as a loop's target": "for refund.status in after: pass",
    "as a context": "with opened() as refund.status: pass",
    "deletion": "del transfer.status",
    "setattr": "setattr(transfer, 'status', after)",
    "setattr with a computed name": "setattr(transfer, name, after)",
    "object.__setattr__": "object.__setattr__(transfer, 'status', after)",
    "bound __setattr__": "transfer.__setattr__('status', after)",
    "through __dict__": "transfer.__dict__['status'] = after",
    "through vars": "vars(transfer)['status'] = after",
    "through an update of __dict__": "transfer.__dict__.update(status=after)",
    "through an update of vars": "vars(transfer).update({'status': after})",
    "_replace of a row": "row = row._replace(status='reversed')",
    "dataclasses.replace": "row = dataclasses.replace(row, status='reversed')",
    "replace": "row = replace(row, **{'status': 'reversed'})",
    "another function called enter": "class Gate:\n    def enter(transfer, status):\n        transfer.status = status",
    "SQL": 'SQL = "UPDATE seller_transfers SET status = %s WHERE transfer_id = %s"',
    "SQL over several lines": (
        'await c.execute("""\n  update refunds r\n     set last_error = null,\n         status = '
        '%s\n""")'
    ),
    "SQL in an f-string": "sql = f\"UPDATE orders SET status = '{after}'\"",
    "SQL with the table filled in": 'sql = f"UPDATE {table} SET status = %s"',
    "SQL put together": 'sql = "UPDATE transfer_reversals" + " SET status = %s"',
    "SQL with format": 'sql.SQL("UPDATE {} SET status = %s").format(table)',
}


@pytest.mark.parametrize("source", PYTHON.values(), ids=PYTHON)
@pytest.mark.parametrize(
    "path",
    [
        "domain/seller_transfer/aggregate.py",
        "application/x.py",
        "infrastructure/web/x.py",
        "scripts/x.py",
    ],
)
def test_every_python_bypass_is_found(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize("path", GATES)
def test_gate_files_have_no_other_bypass(path: str) -> None:
    source = (
        "def enter(transfer, status):\n    transfer.status = status\n\n\ndef sneak(transfer):\n  "
        "  transfer.status = 'reversed'\n"
    )
    assert violations(path, source) == [f"{path}:6: assigns an attribute `status`"]


SQL = {
    "update": "update seller_transfers set status = 'reversed';",
    "in capitals, quoted, with a schema": 'UPDATE ONLY "public"."seller_transfers" AS t SET amount = 1, "status" = \'x\';',
    "several columns": "update refunds set (last_error, status) = (null, 'failed') where true;",
    "after a call with commas": "update orders set shares = f(a, b, c), status = 'paid';",
    "after a subquery": "update refunds set amount = (select 1 from x where y), status = 'failed';",
    "behind a comment": "update transfer_reversals -- why\n   set /* this */ status = 'failed';",
    "in a common table expression": "with due as (update seller_transfers t set status = 'failed' returning 1) select 1;",
    "upsert": (
        "insert into seller_transfers (a) values (1) on conflict (a) do update set status = "
        "excluded.status;"
    ),
    "upsert from a query": (
        "insert into refunds select * from x\non conflict (a) do update set a = 1, status = "
        "excluded.status;"
    ),
    "merge": "merge into orders o using x on true when matched then update set status = 'paid';",
    "trigger": (
        "create function t() returns trigger as $$ begin new.status := 'paid'; return new; end $$;"
    ),
    "trigger with =": "create function t() returns trigger as $$ begin new.status = 'paid'; return new; end $$;",
    "beside ledger_append": (
        "create function ledger_append() as $$ update seller_transfers set status = 1; $$;\n"
        "create function other() as $$ update seller_transfers set status = 1; $$;"
    ),
}


@pytest.mark.parametrize("source", SQL.values(), ids=SQL)
def test_every_sql_bypass_is_found(source: str) -> None:
    assert len(violations("infrastructure/postgres/migrations/0099_x.up.sql", source)) == 1


INNOCENT = {
    "a declaration": (
        "domain/x.py",
        "class A:\n    def __init__(self):\n        self.status: TransferStatus",
    ),
    "reading": ("domain/x.py", "if transfer.status == after: status = transfer.status"),
    "a field of a fact": ("domain/x.py", "fact = Imported(status='reversed')"),
    "a fold": ("projections/refunds.py", "row = row._replace(status='failed')"),
    "a replaced amount": ("application/x.py", "row = row._replace(amount=1)"),
    "another attribute": (
        "scripts/x.py",
        "setattr(server, 'should_exit', True)\nresponse.status_code = 200",
    ),
    "a string's replace": ("application/x.py", "text.replace('status', 'x')"),
    "an answer's member": (
        "infrastructure/web/x.py",
        "body = {'status': 404}\nbody['status'] = 500",
    ),
    "the simulator's objects": (
        "infrastructure/simulators/stripe/x.py",
        "answer.status = 500\nsetattr(account, name, value)",
    ),
    "a docstring": ("application/x.py", '"""Never UPDATE seller_transfers SET status = …"""'),
    "jobs": (
        "infrastructure/x.py",
        'SQL = "UPDATE webhook_inbox SET status = %s WHERE inbox_id = %s"',
    ),
    "leases": (
        "x.sql",
        "update seller_transfers t set leased_by = null where t.status = 'pending';",
    ),
    "a query that comes after": (
        "x.sql",
        "update seller_transfers set leased_by = null;\nselect 1 as status, status = 'x' from t;",
    ),
    "a comment": ("x.sql", "-- update seller_transfers set status = 'x'\nselect 1;"),
    "a literal": ("x.sql", "select 'update seller_transfers set status = 1';"),
    "a subquery's condition": (
        "x.sql",
        "update refunds set amount = (select a from t where t.status = 'x');",
    ),
    "an upsert of another column": (
        "x.sql",
        "insert into orders select 1 on conflict (a) do update set version = 2;",
    ),
    "the door": (
        "x.sql",
        "create function ledger_append() as $$ update seller_transfers set status = 1; $$;",
    ),
}


@pytest.mark.parametrize(("path", "source"), INNOCENT.values(), ids=INNOCENT)
def test_harmless_code_is_not_reported(path: str, source: str) -> None:
    assert violations(path, source) == []


@pytest.mark.parametrize(
    "name",
    [
        "domain/order/recovery.py",
        "application/process_managers/outcome_recorder.py",
        "projections/registry.py",
    ],
)
def test_planted_violation_is_found_at_its_line(name: str) -> None:
    source = (ROOT / name).read_text(encoding="utf-8")
    planted = source + "\n\ndef settle_quietly(transfer):\n    transfer.status = 'reversed'\n"
    line = planted.count("\n")
    assert violations(name, planted) == [f"{name}:{line}: assigns an attribute `status`"]
