"""Mutants of the domain: small faults, planted one at a time in the syntax tree of a module.

Texts are not mutated: no docstrings, messages, assertions, annotations or decorators.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.Pow: ast.Mult,
}
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
PLAIN = ("reversed", "sorted")
"""Functions whose call is replaced by their first argument."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
DECIDED = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant)
"""Expressions with mutants of their own: a negation of the whole would add little."""


class Edit(NamedTuple):
    """Replacement of a child in a syntax tree; `new` None: removal from a list."""

    parent: ast.AST
    field: str
    position: int | None
    new: ast.AST | None
    shown: ast.AST
    """The node that names the mutant in reports."""

    def apply(self) -> None:
        if self.position is None:
            setattr(self.parent, self.field, self.new)
            return
        members = list(getattr(self.parent, self.field))
        members[self.position : self.position + 1] = [] if self.new is None else [self.new]
        setattr(self.parent, self.field, members)

    def texts(self) -> tuple[str, str]:
        """Return the source before and after, short."""
        if isinstance(self.shown, ast.Call) and self.field == "keywords":
            keyword, called = self.shown.keywords[self.position or 0], ast.unparse(self.shown.func)
            return f"{called}(…, {ast.unparse(keyword)})", f"{called}(…)"
        if isinstance(self.shown, ast.Raise):
            error = self.shown.exc
            raised = error.func if isinstance(error, ast.Call) else error
            return f"raise {ast.unparse(raised) if raised else ''}".strip(), "pass"
        before = ast.unparse(self.shown)
        if self.new is not None and self._replaces_shown():
            return before, ast.unparse(self.new)
        kept = getattr(self.parent, self.field)
        self.apply()
        try:
            return before, ast.unparse(self.shown)
        finally:
            setattr(self.parent, self.field, kept)

    def _replaces_shown(self) -> bool:
        child = getattr(self.parent, self.field)
        return (child if self.position is None else child[self.position]) is self.shown


@dataclass(frozen=True)
class Mutant:
    """One planted fault. `function` is None outside of functions."""

    path: str
    tree: ast.Module
    function: str | None
    lines: range
    edit: Edit
    key: str
    """Its permanent name: no line number is part of it."""


def mutants(root: Path, path: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of its source."""
    tree = ast.parse((root / path).read_text())
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for function, lines, edit in _edits(tree):
        before, after = (" ".join(text.split()) for text in edit.texts())
        key = f"{path}:{function or 'module'}: {before} => {after}"
        seen[key] += 1
        if seen[key] > 1:
            key += f" [{seen[key]}]"
        found.append(Mutant(path, tree, function, lines, edit, key))
    return found


Site = tuple[str | None, range, Edit]


def _edits(tree: ast.Module) -> Iterator[Site]:
    yield from _outside(tree, "")


def _outside(owner: ast.Module | ast.ClassDef, prefix: str) -> Iterator[Site]:
    """List the edits of a module or class: its functions, and its other statements."""
    for statement in owner.body:
        if isinstance(statement, Function):
            name = prefix + statement.name
            for default in ast.walk(statement.args):
                for edit in _of_default(statement.args, default):
                    yield None, _span(statement), edit
            for lines, edit in _block(statement):
                yield name, lines, edit
        elif isinstance(statement, ast.ClassDef):
            yield from _outside(statement, f"{prefix}{statement.name}.")
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            for edit in _inside(statement, "value", None, statement.value):
                yield None, _span(statement), edit


def _of_default(arguments: ast.arguments, default: ast.AST) -> Iterator[Edit]:
    for field in ("defaults", "kw_defaults"):
        for index, value in enumerate(getattr(arguments, field)):
            if value is default and isinstance(value, ast.Constant):
                yield from _constant(arguments, field, index, value)


def _span(node: ast.stmt | ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _block(owner: ast.AST) -> Iterator[tuple[range, Edit]]:
    """List the edits of all statements below a node, each with the lines that reach it."""
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for index, statement in enumerate(getattr(owner, field, [])):
            if not isinstance(statement, ast.stmt):  # a handler or a case
                for guard in filter(None, [getattr(statement, "guard", None)]):
                    for edit in _inside(statement, "guard", None, guard):
                        yield _span(guard), edit
                yield from _block(statement)
                continue
            yield from _statement(owner, field, index, statement)


def _statement(
    owner: ast.AST, field: str, index: int, statement: ast.stmt
) -> Iterator[tuple[range, Edit]]:
    if isinstance(statement, ast.Assert | ast.ClassDef) or _is_never(statement):
        return
    compound = hasattr(statement, "body") or isinstance(statement, ast.Match)
    lines = range(statement.lineno, statement.lineno + 1) if compound else _span(statement)
    for edit in _of_statement(owner, field, index, statement):
        yield lines, edit
    if isinstance(statement, ast.Raise):
        return
    for name, position, child in _children(statement):
        if isinstance(child, ast.expr) and name not in ("annotation", "returns", "decorator_list"):
            reached = range(lines.start, max(lines.stop, (child.end_lineno or 0) + 1))
            for edit in _inside(statement, name, position, child):
                yield reached, edit
        elif isinstance(child, ast.withitem):
            for edit in _inside(child, "context_expr", None, child.context_expr):
                yield lines, edit
    yield from _block(statement)


def _is_never(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "assert_never"


def _of_statement(owner: ast.AST, field: str, index: int, statement: ast.stmt) -> Iterator[Edit]:
    nothing = ast.copy_location(ast.Pass(), statement)
    match statement:
        case ast.Expr(value=ast.Call()) | ast.Raise():
            yield Edit(owner, field, index, nothing, statement)
        case ast.Assign() if not all(isinstance(t, ast.Name) for t in statement.targets):
            yield Edit(owner, field, index, nothing, statement)
        case ast.AugAssign():
            yield Edit(owner, field, index, nothing, statement)
            if (swapped := ARITHMETIC.get(type(statement.op))) is not None:
                yield Edit(statement, "op", None, swapped(), statement)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, DECIDED):
            empty = ast.copy_location(ast.Return(None), statement)
            yield Edit(owner, field, index, empty, statement)
        case ast.Continue():
            yield Edit(owner, field, index, ast.copy_location(ast.Break(), statement), statement)
        case ast.If() | ast.While() if not isinstance(statement.test, DECIDED):
            yield Edit(statement, "test", None, _negated(statement.test), statement.test)


def _negated(test: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield field, None, value
        elif isinstance(value, list):
            for index, member in enumerate(value):
                if isinstance(member, ast.AST):
                    yield field, index, member


def _inside(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> Iterator[Edit]:
    """List the edits of an expression and of all below it."""
    if isinstance(node, ast.JoinedStr) or _is_strict(node):
        return
    yield from _of_expression(parent, field, index, node)
    for name, position, child in _children(node):
        if not isinstance(child, ast.expr_context | ast.operator | ast.cmpop | ast.arguments):
            yield from _inside(node, name, position, child)


def _is_strict(node: ast.AST) -> bool:
    """Return whether it is `strict=True` of `zip`, which is an assertion."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _of_expression(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.Compare():
            yield from _comparison(node)
        case ast.BinOp() if (swapped := ARITHMETIC.get(type(node.op))) is not None:
            yield Edit(node, "op", None, swapped(), node)
        case ast.BoolOp():
            yield Edit(
                node, "op", None, ast.Or() if isinstance(node.op, ast.And) else ast.And(), node
            )
            for position in range(len(node.values)):
                if len(node.values) > 2:
                    yield Edit(node, "values", position, None, node)
                else:
                    yield Edit(parent, field, index, node.values[1 - position], node)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield Edit(parent, field, index, node.operand, node)
        case ast.Constant():
            yield from _constant(parent, field, index, node)
        case ast.Call():
            yield from _call(parent, field, index, node)
        case ast.IfExp() if not isinstance(node.test, DECIDED):
            yield Edit(node, "test", None, _negated(node.test), node)
        case ast.comprehension():
            for position in range(len(node.ifs)):
                yield Edit(node, "ifs", position, None, node)
        case ast.Set() if len(node.elts) > 1:
            for position in range(len(node.elts)):
                yield Edit(node, "elts", position, None, node)


def _comparison(node: ast.Compare) -> Iterator[Edit]:
    for position, operator in enumerate(node.ops):
        if (swapped := COMPARISONS.get(type(operator))) is not None:
            yield Edit(node, "ops", position, swapped(), node)
        listed = node.comparators[position]
        if isinstance(operator, ast.In | ast.NotIn) and isinstance(listed, ast.Tuple | ast.List):
            for member in range(len(listed.elts)):
                yield Edit(listed, "elts", member, None, node)


def _constant(parent: ast.AST, field: str, index: int | None, node: ast.Constant) -> Iterator[Edit]:
    value = node.value
    if isinstance(value, bool):
        yield Edit(parent, field, index, ast.copy_location(ast.Constant(not value), node), node)
    elif isinstance(value, int):
        yield Edit(parent, field, index, ast.copy_location(ast.Constant(value + 1), node), node)


def _call(parent: ast.AST, field: str, index: int | None, node: ast.Call) -> Iterator[Edit]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name in SWAPPED:
        other = ast.copy_location(ast.Name(SWAPPED[name], ast.Load()), node.func)
        yield Edit(node, "func", None, other, node)
    if name in PLAIN and node.args:
        yield Edit(parent, field, index, node.args[0], node)
    for position, keyword in enumerate(node.keywords):
        if keyword.arg is not None and not _is_strict(keyword):
            yield Edit(node, "keywords", position, None, node)
