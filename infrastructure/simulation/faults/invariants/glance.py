"""The books at one step, each part read once and turned into plain values."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from infrastructure.simulation.faults.books import (
    Acknowledged,
    Books,
    HeldDispute,
    HeldPayment,
    HeldRefund,
    HeldTransfer,
    Json,
    StoredFactView,
    StripeRequest,
)


class Glance:
    """See `Books`. It is valid until the next step."""

    def __init__(self, books: Books) -> None:
        self._books, self._rows = books, dict[str, list[Json]]()

    @cached_property
    def now(self) -> float:
        return self._books.now

    @cached_property
    def era(self) -> int:
        return self._books.era

    @cached_property
    def transfers(self) -> Sequence[HeldTransfer]:
        return self._books.transfers

    @cached_property
    def requests(self) -> Sequence[StripeRequest]:
        return self._books.requests

    @cached_property
    def available(self) -> Mapping[str, Mapping[str, int]]:
        return self._books.available

    @cached_property
    def payments(self) -> Sequence[HeldPayment]:
        return self._books.payments

    @cached_property
    def refunds(self) -> Sequence[HeldRefund]:
        return self._books.refunds

    @cached_property
    def disputes(self) -> Sequence[HeldDispute]:
        return self._books.disputes

    @cached_property
    def acknowledged(self) -> Sequence[Acknowledged]:
        return self._books.acknowledged

    def facts(self, after: int = 0) -> Sequence[StoredFactView]:
        return self._books.facts(after)

    def rows(self, table: str) -> Sequence[Json]:
        if table not in self._rows:
            self._rows[table] = [
                {name: _plain(value) for name, value in row.items()}
                for row in self._books.rows(table)
            ]
        return self._rows[table]


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.timestamp() if isinstance(value, datetime) else value
