"""Looking inside: the whole books, the log of calls, and what must always be true of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from infrastructure.simulators.stripe.books import Books
from infrastructure.simulators.stripe.render import reversal_json, transfer_json
from infrastructure.simulators.stripe.world import World


def ledger(world: World) -> dict[str, Any]:
    """Every transfer with all its reversals (not only the ten newest), oldest first, and every balance."""
    books = world.books
    transfers = []
    for transfer in books.transfers:
        reversals = [reversal_json(books, books.reversals.by_id[id_]) for id_ in transfer.reversals]
        transfers.append({**transfer_json(books, transfer), "reversals": reversals})
    return {"transfers": transfers, "balances": books.purse.everyone(), "keys": len(world.keys)}


def invariants(world: World) -> dict[str, Any]:
    """`violations` is empty unless the simulator itself is wrong (or was told to duplicate)."""
    violations = list(_violations(world.books))
    return {"ok": not violations, "violations": violations}


def _violations(books: Books) -> Iterator[str]:
    for currency, total in books.purse.totals().items():
        if total:
            yield f"{total} {currency} came from nowhere"
    reversed_amounts: Counter[str] = Counter()
    for reversal in books.reversals:
        reversed_amounts[reversal.transfer] += reversal.amount
    for transfer in books.transfers:
        if not 0 <= transfer.amount_reversed <= transfer.amount:
            yield f"{transfer.id}: {transfer.amount_reversed} of {transfer.amount} is reversed"
        if transfer.amount_reversed != reversed_amounts[transfer.id]:
            yield f"{transfer.id}: its reversals sum to {reversed_amounts[transfer.id]}, not {transfer.amount_reversed}"
        if transfer.balance_transaction not in books.transactions.by_id:
            yield f"{transfer.id}: no balance transaction"
    for pocket_holder, buckets in books.purse.everyone().items():
        account = books.accounts.get(pocket_holder)
        overdrawn = [currency for currency, amount in buckets["available"].items() if amount < 0]
        if account is not None and overdrawn and not account.connected_reserves:
            yield f"{pocket_holder}: below zero in {overdrawn}"
