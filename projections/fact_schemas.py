"""JSON schemas (2020-12) of the payloads of all facts, made from the classes of the facts.

The form of a fact is a promise: members are only added, never removed, renamed or given another
type, so each schema allows members that it does not list.
"""

import inspect
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from types import NoneType, UnionType
from typing import TypeAlias, get_args, get_origin, get_type_hints, is_typeddict
from uuid import UUID

from domain.fact import Fact
from projections.audit_trail.payload import OF_EVERY_FACT, Json

Schema: TypeAlias = dict[str, Json]

_PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    NoneType: {"type": "null"},
    UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
}


def fact_schemas() -> dict[str, Schema]:
    """Return the schema of each fact's payload, by its topic."""
    kinds = {str(vars(kind)["TOPIC"]): kind for kind in _kinds(Fact) if "TOPIC" in vars(kind)}
    return {
        topic: _of_fact(kind)
        for topic, kind in sorted(kinds.items())
        if topic.startswith("ledger.") and ".domain." in f".{kind.__module__}"
    }


def _kinds(kind: type[Fact]) -> Iterator[type[Fact]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _kinds(sub)


def _of_fact(kind: type[Fact]) -> Schema:
    hints = get_type_hints(kind)
    members = [field.name for field in fields(kind) if field.name not in OF_EVERY_FACT]
    return {
        "title": kind.__name__,
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        **_object({name: hints[name] for name in members}, required=members),
    }


def _object(hints: dict[str, object], required: list[str]) -> Schema:
    return {
        "type": "object",
        "required": [*sorted(required)],
        "properties": {name: _schema(hint) for name, hint in hints.items()},
    }


def _schema(hint: object) -> Schema:
    """Return the schema of a type hint, in the JSON form of `payload`. Raises TypeError for a hint
    that no fact has yet."""
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if isinstance(hint, type) and is_typeddict(hint):
        return _object(get_type_hints(hint), required=list(vars(hint)["__required_keys__"]))
    match get_origin(hint), get_args(hint):
        case kind, (member,) if kind is list:
            return {"type": "array", "items": _schema(member)}
        case kind, (_, member) if kind is dict:
            return {"type": "object", "additionalProperties": _schema(member)}
        case kind, several if kind is UnionType:
            return {"anyOf": [_schema(one) for one in several]}
    raise TypeError(f"{hint} has no JSON schema; add it to projections.fact_schemas.")
