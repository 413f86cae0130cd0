"""Fold of a transfer's stream: its row and the rows of its reversals."""

from typing import NamedTuple

from domain.seller_transfer.facts import AnyTransferFact
from projections import seller_transfers, transfer_reversals
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import Reversals


class TransferFold(NamedTuple):
    """State of the read models of one transfer."""

    transfer: SellerTransferRow
    reversals: Reversals


def evolve(fold: TransferFold | None, fact: AnyTransferFact) -> TransferFold:
    """Return the state after a fact."""
    transfer, reversals = (None, None) if fold is None else fold
    return TransferFold(
        seller_transfers.evolve(transfer, fact), transfer_reversals.evolve(reversals, fact)
    )


def rows(before: TransferFold | None, after: TransferFold) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows that changed, by table."""
    known = before.reversals.rows if before is not None else {}
    reversals: list[tuple[object, ...]] = [
        row for name, row in after.reversals.rows.items() if known.get(name) != row
    ]
    tables: dict[str, list[tuple[object, ...]]] = {"seller_transfers": [after.transfer]}
    return tables | ({"transfer_reversals": reversals} if reversals else {})
