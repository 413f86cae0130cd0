"""Ports of a reconciliation: our rows for a page of Stripe's list, and the transfers that were on
the list."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID


class IgnoredFinding(NamedTuple):
    """The decision to ignore a finding."""

    finding_id: str
    actor: str
    reason: str
    updated_at: datetime


class UnlistedTransfer(NamedTuple):
    """A paid transfer of ours that was not on Stripe's list."""

    transfer_id: UUID
    stripe_transfer_id: str
    created_at: datetime


class OurRows(Protocol):
    """Our transfers and findings for a page of Stripe's list."""

    async def paid_by(self, stripe_ids: Sequence[str]) -> Mapping[str, UUID]:
        """Map these ids of Stripe's transfers to our transfers that they have paid."""
        ...

    async def alike(self, names: Collection[str], destinations: Collection[str]) -> Sequence[UUID]:
        """Find our transfers that a transfer at Stripe without our id may belong to. `names` are
        transfer groups and sources."""
        ...

    async def ignored(self, finding_ids: Sequence[str]) -> Mapping[str, IgnoredFinding]:
        """Return the decisions to ignore among these findings."""
        ...


class SeenTransfers(Protocol):
    """The transfers that one reconciliation has seen at Stripe. Obligation: memory does not grow
    with their number."""

    async def add(self, stripe_ids: Sequence[str]) -> int:
        """Add a page; return how many of its transfers are new."""
        ...

    def unlisted(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[Sequence[UnlistedTransfer]]:
        """Iterate in batches over our paid transfers of this period that were not seen."""
        ...
