"""Rows in the order of their creation, with indexes, and Stripe's pages over them."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.stripe.parameters import TimeRange
from infrastructure.simulators.stripe.state_file import Record, Records, WriteBuffer, decode, encode

PAGE_SIZE = 10
_sequence = attrgetter("seq")
_instant = attrgetter("created")


class Numbered(Protocol):
    KIND: ClassVar[str]
    id: str
    seq: int
    created: int


Row = TypeVar("Row", bound=Numbered)


class Collection(Generic[Row]):
    """Rows of one kind. `indexed` names the attributes that filter lists; these attributes never
    change."""

    def __init__(
        self, row_type: type[Row], buffer: WriteBuffer, indexed: Sequence[str] = ()
    ) -> None:
        self._type = row_type
        self.kind = row_type.KIND
        self._buffer = buffer
        self._indexed = tuple(indexed)
        self.by_id: dict[str, Row] = {}
        self.rows: list[Row] = []
        self._index: dict[str, defaultdict[str, list[Row]]] = {
            name: defaultdict(list) for name in indexed
        }

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def next_seq(self) -> int:
        return len(self.rows) + 1

    def get(self, id_: str) -> Row | None:
        return self.by_id.get(id_)

    def add(self, row: Row) -> Row:
        self._place(row)
        self._buffer.put(self.kind, row.id, row)
        return row

    def save(self, row: Row) -> None:
        """Save a changed row."""
        self._buffer.put(self.kind, row.id, row)

    def clear(self) -> None:
        self.by_id.clear()
        self.rows.clear()
        for index in self._index.values():
            index.clear()

    def records(self) -> Iterator[Record]:
        return ((self.kind, row.id, encode(row)) for row in self.rows)

    def restore(self, records: Records) -> None:
        self.clear()
        for _, body in records.get(self.kind, ()):
            self._place(decode(self._type, body))

    def _place(self, row: Row) -> None:
        self.by_id[row.id] = row
        self.rows.append(row)
        for name in self._indexed:
            value = getattr(row, name)
            if value is not None:
                self._index[name][value].append(row)

    def page(
        self, params: Mapping[str, Any], matches: Callable[[Row], bool] | None = None
    ) -> tuple[list[Row], bool]:
        """Return (rows, has_more), newest first. Raises Refusal for an unknown cursor."""
        limit = params.get("limit", PAGE_SIZE)
        filters = {name: params[name] for name in self._indexed if name in params}
        rows = self._narrowest(filters)
        low, high = self._window(rows, params)
        backwards = "ending_before" in params
        candidates = (
            rows[place]
            for place in (range(low, high) if backwards else range(high - 1, low - 1, -1))
        )
        found = list(
            islice(self._fitting(candidates, filters, params.get("created"), matches), limit + 1)
        )
        page = found[:limit]
        return (page[::-1] if backwards else page), len(found) > limit

    def _fitting(
        self,
        candidates: Iterable[Row],
        filters: Mapping[str, str],
        created: TimeRange | None,
        matches: Callable[[Row], bool] | None,
    ) -> Iterator[Row]:
        for row in candidates:
            if created is not None and not created.contains(row.created):
                continue
            if all(getattr(row, name) == value for name, value in filters.items()) and (
                not matches or matches(row)
            ):
                yield row

    def _window(self, rows: list[Row], params: Mapping[str, Any]) -> tuple[int, int]:
        """Return the range of `rows` that can contain the page, by its cursors and its oldest
        instant."""
        after, before = (
            self._cursor(params, "starting_after"),
            self._cursor(params, "ending_before"),
        )
        low = bisect_right(rows, before.seq, key=_sequence) if before else 0
        high = bisect_left(rows, after.seq, key=_sequence) if after else len(rows)
        created: TimeRange | None = params.get("created")
        if (
            created is not None
        ):  # rows are in the order of their instants: skip the past without reading it
            low = max(low, bisect_left(rows, created.since, key=_instant))
        return low, high

    def _narrowest(self, filters: Mapping[str, str]) -> list[Row]:
        candidates = [self._index[name].get(value, []) for name, value in filters.items()]
        return min(candidates, key=len, default=self.rows)

    def _cursor(self, params: Mapping[str, Any], name: str) -> Row | None:
        if name not in params:
            return None
        row = self.by_id.get(params[name])
        if row is None:
            raise Refusal("no_such_cursor", param=name, id=params[name])
        return row
