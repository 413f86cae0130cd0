"""The transfer that a person names: by its own id, or by an id that leads to one transfer."""

from collections.abc import Collection
from uuid import UUID

from domain.lifecycle import TransferStatus
from infrastructure.postgres.read_side.read_models import Filters, ReadModels
from infrastructure.postgres.read_side.search import Search
from infrastructure.service import Storage
from projections.seller_transfers import SellerTransferRow
from scripts.exit_codes import fail

MOST = 500
"""Transfers of an order that are looked at."""


async def transfer_named(storage: Storage, name: str, usable: Collection[TransferStatus]) -> UUID:
    """Return the id of the transfer that a name means, or exit with 2. A name of an order or refund
    means its only transfer with one of the statuses `usable`."""
    try:
        return UUID(name)
    except ValueError:
        pass
    found = await _rows(storage, name)
    if not found:
        fail(f"No transfer, order or refund here is called {name}; see `transfer-ledger find`.")
    chosen = found if len(found) == 1 else [row for row in found if row.status in usable]
    if len(chosen) != 1:
        listed = ", ".join(f"{row.transfer_id} ({row.seller_id}, {row.status})" for row in found)
        fail(f"{name} leads to {len(found)} transfers; name one of them: {listed}.")
    return chosen[0].transfer_id


async def _rows(storage: Storage, name: str) -> list[SellerTransferRow]:
    reads, rows = ReadModels(storage.pool), dict[UUID, SellerTransferRow]()
    (result,) = await Search(storage.pool).find([name])
    for hit in result.hits if not result.prefix else ():
        if hit.kind == "transfer":
            row = await reads.transfer(UUID(hit.id))
            rows |= {row.transfer_id: row} if row is not None else {}
        elif hit.kind in ("order", "refund") and hit.order_id is not None:
            of_order = await reads.transfers(Filters(order_id=hit.order_id), MOST)
            rows |= {row.transfer_id: row for row in of_order}
    return list(rows.values())
