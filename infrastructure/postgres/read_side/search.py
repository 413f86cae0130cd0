"""Search by anything that carries an id: of the ledger, the marketplace, Stripe or the PSP."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import class_row

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("search")
MOST_TEXTS = 50
SHORTEST_PREFIX = 4
MOST_BY_PREFIX = 20
_KEY = re.compile(r"(?:transfer|reversal):([0-9a-fA-F-]{36}):e\d+(?::.*)?")
_EVENT = re.compile(r"(?:stripe|hyperswitch):(.+)")
_HEX = re.compile(r"[0-9a-fA-F-]+")
_ALL = 32
"""Hexadecimal digits of a UUID."""


class SearchHit(NamedTuple):
    """One thing that a text names, with its present state. Amount in minor units.

    `kind`: transfer, order, refund, dispute, seller, payout, webhook or finding. `matched` is the
    member that has the text: such as order_id, stripe_reversal_id, request_id, idempotency_key.
    """

    kind: str
    id: str
    matched: str
    status: str | None
    order_id: str | None
    seller_id: str | None
    amount: int | None
    currency: str | None
    waiting_for: str | None
    last_error: str | None
    at: datetime | None
    """When it changed last."""


class SearchResult(NamedTuple):
    """The things that one text names. `prefix`: their ids only begin with the text."""

    query: str
    hits: Sequence[SearchHit]
    prefix: bool = False


class Search:
    """Look-ups of ids, each by an index."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, texts: Sequence[str]) -> list[SearchResult]:
        """Find what each text names, in the order of the texts.

        A single text that names nothing is also searched as the beginning of an id of an order,
        refund or transfer. At most `MOST_TEXTS` texts are searched.
        """
        asked = list(dict.fromkeys(texts))[:MOST_TEXTS]
        exact = await self._exact([plain(text) for text in asked])
        results = [
            SearchResult(text, [_named(text, hit) for hit in exact.get(plain(text), ())])
            for text in asked
        ]
        if len(results) == 1 and not results[0].hits:
            return [SearchResult(asked[0], await self._by_prefix(asked[0]), prefix=True)]
        return results

    async def _exact(self, texts: Sequence[str]) -> dict[str, list[SearchHit]]:
        found: dict[str, list[SearchHit]] = {}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(SQL["exact"], {"texts": texts}, prepare=False)
            for query, *hit in await cursor.fetchall():
                found.setdefault(query, []).append(SearchHit(*hit))
        return found

    async def _by_prefix(self, text: str) -> list[SearchHit]:
        if len(text) < SHORTEST_PREFIX:
            return []
        lower, upper = uuids_with(text) or (None, None)
        pattern = re.sub(r"([\\%_])", r"\\\1", text) + "%"
        values = {"pattern": pattern, "lower": lower, "upper": upper, "limit": MOST_BY_PREFIX}
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(SearchHit)) as cursor,
        ):
            await cursor.execute(SQL["prefixes"], values, prepare=False)
            return await cursor.fetchall()


def split(pasted: str) -> list[str]:
    """Split a pasted text into ids: at spaces, line ends, commas and semicolons."""
    return [part for part in re.split(r"[\s,;]+", pasted) if part]


def plain(text: str) -> str:
    """Return the id inside an idempotency key of ours, or inside an event as alarms name it."""
    if key := _KEY.fullmatch(text):
        return key[1].lower()
    if event := _EVENT.fullmatch(text):
        return event[1]
    return text


def uuids_with(prefix: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last UUID that begin with this text; None if none does."""
    digits = prefix.replace("-", "")
    if not _HEX.fullmatch(prefix) or not 0 < len(digits) <= _ALL:
        return None
    lower, upper = UUID(digits.ljust(_ALL, "0")), UUID(digits.ljust(_ALL, "f"))
    return (lower, upper) if str(lower).startswith(prefix.lower()) else None


def _named(text: str, hit: SearchHit) -> SearchHit:
    is_key = _KEY.fullmatch(text) is not None
    return hit._replace(matched="idempotency_key") if is_key else hit
