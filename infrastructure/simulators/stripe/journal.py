"""What changed since the last commit, so that one transaction makes it durable before the answer leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Any, TypeAlias, TypeVar

import orjson

Record: TypeAlias = tuple[str, str, bytes]
"""(kind, id, JSON)."""
Sink: TypeAlias = Callable[[Iterable[Record]], None]
Row = TypeVar("Row")


class Journal:
    """Collects changed rows by kind and id; without a sink it forgets them at once."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self._changed: dict[tuple[str, str], object] = {}

    def __len__(self) -> int:
        return len(self._changed)

    def note(self, kind: str, id_: str, row: object) -> None:
        if self._sink is not None:
            self._changed[kind, id_] = row

    def commit(self) -> None:
        if self._sink is not None and self._changed:
            self._sink([(kind, id_, frozen(row)) for (kind, id_), row in self._changed.items()])
            self._changed.clear()

    def forget(self) -> None:
        self._changed.clear()


def kept_json(content: object) -> bytes:
    """JSON that will be kept: orjson leaves its whole 8 kB buffer in the bytes it returns, a copy is as long as it is."""
    return memoryview(orjson.dumps(content)).tobytes()


def frozen(row: object) -> bytes:
    return orjson.dumps(row, default=lambda part: part.decode() if isinstance(part, bytes) else str(part))


def thawed(row_type: type[Row], body: bytes) -> Row:
    """The row that `frozen` wrote; fields of type bytes are bytes again."""
    values: dict[str, Any] = orjson.loads(body)
    for name in _BYTES_FIELDS.setdefault(row_type, _bytes_fields(row_type)):
        values[name] = values[name].encode()
    return row_type(**values)


_BYTES_FIELDS: dict[type, list[str]] = {}


def _bytes_fields(row_type: type) -> list[str]:
    return [field.name for field in fields(row_type) if field.type in (bytes, "bytes")]


def of_kind(records: Iterable[Record], kind: str) -> Iterator[tuple[str, bytes]]:
    return ((id_, body) for found, id_, body in records if found == kind)
