"""JSON form of facts and instants, for the audit trail, the feed and the commands."""

from dataclasses import fields
from datetime import UTC, datetime
from uuid import UUID

from domain.fact import Fact
from projections.unknown_fact import UnknownFact

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
OF_EVERY_FACT = frozenset({"originator_id", "originator_version", "originator_topic", "timestamp"})


def payload(fact: Fact) -> dict[str, Json]:
    """Return the content of a fact as JSON, without the members that every fact has."""
    if isinstance(fact, UnknownFact):
        return {name: _json(value) for name, value in fact.content.items()}
    return {
        f.name: _json(getattr(fact, f.name)) for f in fields(fact) if f.name not in OF_EVERY_FACT
    }


def instant(at: datetime) -> str:
    """Format an instant as RFC 3339 in UTC, with `Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _json(value: object) -> Json:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return instant(value)
        case UUID():
            return str(value)
        case dict():
            return {str(key): _json(member) for key, member in value.items()}
        case list() | tuple():
            return [_json(member) for member in value]
        case _:
            return str(value)
