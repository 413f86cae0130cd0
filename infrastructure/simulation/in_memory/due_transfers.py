"""Queue of due work in memory, with its leases: the longest due of each seller first, and sellers
in turns.

Refunds, and orders whose charge is read, have no sellers.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

KIND_OF = {
    "pending": "transferring",
    "failed": "transferring",
    "reversal_pending": "reversing",
    "a refund": "refunding",
    "an order": "funding",
}

Entry = tuple[datetime, UUID]
Obeys = Callable[[str], bool]
"""Tells if work for this seller may begin."""


class DueRow(Protocol):
    """A row that can be due: of a transfer, or a `DueStream`."""

    @property
    def transfer_id(self) -> UUID: ...
    @property
    def seller_id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def next_retry_at(self) -> datetime | None: ...


class DueStream(NamedTuple):
    """A refund or an order in the shape of a due transfer, without a seller."""

    transfer_id: UUID
    status: str
    next_retry_at: datetime | None
    seller_id: str = ""


class Lease(NamedTuple):
    holder: str
    until: datetime


class DueTransfers:
    """Leases on rows. The queues may hold outdated entries, which are dropped when they come to the
    front."""

    def __init__(self, rows: Mapping[UUID, DueRow]) -> None:
        self._rows = rows
        self._queues: defaultdict[str, dict[str, list[Entry]]] = defaultdict(dict)
        self._leases: dict[UUID, Lease] = {}
        self._running: dict[UUID, str | None] = {}
        """Leased transfers whose lease has not run out, with the kind of work that their row needs
        by now."""
        self._held: defaultdict[str | None, set[UUID]] = defaultdict(set)
        """The same transfers, by kind."""
        self._ends: list[tuple[datetime, UUID]] = []
        self._at_work: Counter[str] = Counter()
        """Running leases of each seller."""

    def changed(self, row: DueRow) -> None:
        """Take over a row that an append has written; its lease is unchanged."""
        kind = None if row.next_retry_at is None else KIND_OF.get(row.status)
        if row.transfer_id in self._running:
            self._file(row.transfer_id, kind)
        elif kind is not None and row.next_retry_at is not None:
            heapq.heappush(
                self._queues[kind].setdefault(row.seller_id, []),
                (row.next_retry_at, row.transfer_id),
            )

    def lease(
        self, kind: str, holder: str, limit: int, until: datetime, now: datetime, obeys: Obeys
    ) -> list[UUID]:
        """Lease up to `limit` due transfers. A seller's turn comes later, the more of its transfers
        are leased already."""
        self._run_out(now)
        turns = [
            (self._at_work[seller], *head, seller)
            for seller, head in self._heads(kind, obeys)
            if head[0] <= now
        ]
        heapq.heapify(turns)
        leased: list[UUID] = []
        while turns and len(leased) < limit:
            turn, _, transfer_id, seller = heapq.heappop(turns)
            self._hold(transfer_id, Lease(holder, until))
            leased.append(transfer_id)
            head = self._head(kind, seller)
            if head is not None and head[0] <= now:
                heapq.heappush(turns, (turn + 1, *head, seller))
        return leased

    def hold(self, holder: str, ids: Collection[UUID], until: datetime, now: datetime) -> None:
        """Lease transfers, due or not, except those that another holder has."""
        self._run_out(now)
        for transfer_id in ids:
            lease = self._leases.get(transfer_id) if transfer_id in self._running else None
            if transfer_id in self._rows and (lease is None or lease.holder == holder):
                self._hold(transfer_id, Lease(holder, until))

    def renew(self, holder: str, ids: Collection[UUID], until: datetime) -> set[UUID]:
        """Prolong the leases of this holder, and return them; others have taken over the rest."""
        held = {id_ for id_ in ids if id_ in self._leases and self._leases[id_].holder == holder}
        for transfer_id in held:
            self._hold(transfer_id, Lease(holder, until))
        return held

    def release(self, holder: str, ids: Collection[UUID]) -> bool:
        """Release leases; return whether any of them was this holder's."""
        held = [id_ for id_ in ids if id_ in self._leases and self._leases[id_].holder == holder]
        for transfer_id in held:
            del self._leases[transfer_id]
            self._end(transfer_id)
        return bool(held)

    def next(self, kind: str, now: datetime, obeys: Obeys) -> datetime | None:
        """Return the earliest instant at which there may be a transfer to lease."""
        self._run_out(now)
        free = min((head[0] for _, head in self._heads(kind, obeys)), default=None)
        if free is not None and free <= now:
            return free
        return min(
            (at for at in (free, *self._held_until(kind, obeys)) if at is not None), default=None
        )

    def _held_until(self, kind: str, obeys: Obeys) -> Iterator[datetime]:
        for transfer_id in self._held[kind]:
            row = self._rows[transfer_id]
            if row.next_retry_at is not None and obeys(row.seller_id):
                yield max(row.next_retry_at, self._leases[transfer_id].until)

    def _heads(self, kind: str, obeys: Obeys) -> list[tuple[str, Entry]]:
        heads = [
            (seller, self._head(kind, seller))
            for seller in list(self._queues[kind])
            if obeys(seller)
        ]
        return [(seller, head) for seller, head in heads if head is not None]

    def _head(self, kind: str, seller: str) -> Entry | None:
        queue = self._queues[kind].get(seller, [])
        while queue and not self._true(kind, *queue[0]):
            heapq.heappop(queue)
        if not queue:
            self._queues[kind].pop(seller, None)
        return queue[0] if queue else None

    def _true(self, kind: str, due: datetime, transfer_id: UUID) -> bool:
        row = self._rows[transfer_id]
        return (
            transfer_id not in self._running
            and row.next_retry_at == due
            and KIND_OF.get(row.status) == kind
        )

    def _hold(self, transfer_id: UUID, lease: Lease) -> None:
        self._leases[transfer_id] = lease
        heapq.heappush(self._ends, (lease.until, transfer_id))
        if transfer_id not in self._running:
            row = self._rows[transfer_id]
            self._file(transfer_id, KIND_OF.get(row.status))
            self._at_work[row.seller_id] += 1

    def _file(self, transfer_id: UUID, kind: str | None) -> None:
        self._held[self._running.get(transfer_id)].discard(transfer_id)
        self._held[kind].add(transfer_id)
        self._running[transfer_id] = kind

    def _run_out(self, now: datetime) -> None:
        while self._ends and self._ends[0][0] <= now:
            until, transfer_id = heapq.heappop(self._ends)
            lease = self._leases.get(transfer_id)
            if lease is not None and lease.until == until:  # not prolonged since
                self._end(transfer_id)

    def _end(self, transfer_id: UUID) -> None:
        if transfer_id in self._running:
            self._held[self._running.pop(transfer_id)].discard(transfer_id)
            self._at_work[self._rows[transfer_id].seller_id] -= 1
            self.changed(self._rows[transfer_id])
