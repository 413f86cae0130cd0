"""Reversals on which Stripe has not decided: pending first, then succeeded, failed or canceled.

A control lets new reversals begin pending, and another one decides about each. No such reversal was
recorded; the statuses are documented. A pending one moves nothing and is not part of the transfer's
`amount_reversed`, but its amount cannot be reversed again.
"""

from infrastructure.simulators.stripe.balances import BalanceKey
from infrastructure.simulators.stripe.books import DASHBOARD, Origin, SimulatedStripeBooks
from infrastructure.simulators.stripe.charges import bucket_of
from infrastructure.simulators.stripe.render import payment_refund_json, transfer_json
from infrastructure.simulators.stripe.rows import TransferReversalRow, TransferRow
from infrastructure.simulators.stripe.settlement import credit

ENDS = ("succeeded", "failed", "canceled")


def seller_balance(books: SimulatedStripeBooks, transfer: TransferRow) -> BalanceKey:
    """Return the balance from which a reversal takes the money."""
    charge = books.charges.get(transfer.source_transaction or "")
    bucket = bucket_of(charge) if charge else "available"
    return BalanceKey(transfer.destination, transfer.currency, bucket)


def take(
    books: SimulatedStripeBooks,
    transfer: TransferRow,
    reversal: TransferReversalRow,
    key: BalanceKey,
    origin: Origin,
) -> None:
    """Move the money of a reversal, and announce `transfer.reversed` and the seller's
    `refund.created`."""
    credit(books, key, books.transactions.by_id[reversal.balance_transaction])
    previous = {"amount_reversed": transfer.amount_reversed}
    transfer.amount_reversed += reversal.amount
    if reversal.id not in transfer.reversals:
        transfer.reversals.append(reversal.id)
    books.transfers.save(transfer)
    books.announce("transfer.reversed", transfer_json(books, transfer), origin, previous)
    refund = payment_refund_json(books, transfer, reversal)
    books.announce("refund.created", refund, origin, account=transfer.destination)


def begin_pending(
    books: SimulatedStripeBooks,
    transfer: TransferRow,
    reversal: TransferReversalRow,
    origin: Origin,
) -> TransferReversalRow:
    """Keep a new reversal pending and announce `transfer.updated`."""
    reversal.status = "pending"
    books.reversals.save(reversal)
    transfer.pending += reversal.amount
    transfer.reversals.append(reversal.id)
    books.transfers.save(transfer)
    books.announce("transfer.updated", transfer_json(books, transfer), origin, {})
    return reversal


def decide(
    books: SimulatedStripeBooks, id_: str, status: str, failure_reason: str | None = None
) -> TransferReversalRow:
    """Decide about a pending reversal. Raises ValueError for another one, or another status."""
    reversal = books.reversals.get(id_)
    if reversal is None or reversal.status != "pending" or status not in ENDS:
        raise ValueError(f"{id_} cannot become {status!r}; a pending one becomes one of {ENDS}")
    transfer = books.transfers.by_id[reversal.transfer]
    reversal.status, reversal.failure_reason = status, failure_reason
    books.reversals.save(reversal)
    transfer.pending -= reversal.amount
    if status == "succeeded":
        take(books, transfer, reversal, seller_balance(books, transfer), DASHBOARD)
    else:
        books.transfers.save(transfer)
        books.announce("transfer.updated", transfer_json(books, transfer), DASHBOARD, {})
    return reversal
