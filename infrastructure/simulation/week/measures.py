"""Measures of a simulated week: what was paid, refunded and recovered, and what waits or is stuck.

Amounts are in minor units.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from domain.lifecycle import TransferStatus
from infrastructure.simulation.in_memory.database import MemoryDatabase
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.week.marketplace import account
from infrastructure.simulation.week.plan import PlannedOrder
from infrastructure.simulators.hyperswitch.world import PspWorld
from projections.orders import OrderStatus
from projections.seller_transfers import SellerTransferRow

Share = tuple[str, str]
"""Order and seller."""
UNDER_WAY = ("requested", "queued")
"""Statuses of reversals that are not made yet."""


class Totals(NamedTuple):
    """Sums since the beginning, and what is unfinished at this instant."""

    orders_paid: int = 0
    paid: int = 0
    """Sent to sellers."""
    refunded: int = 0
    """Returned to buyers: refunds, and disputes that were lost."""
    recovered: int = 0
    """Taken back from sellers, or not sent to them, because of refunds and disputes."""
    waiting: int = 0
    """Transfers that wait or are due."""
    waiting_amount: int = 0
    stuck: int = 0
    """Transfers that wait for a person."""
    stuck_amount: int = 0


def totals(database: MemoryDatabase, psp: PspWorld) -> Totals:
    """Measure the present state."""
    transfers: list[SellerTransferRow] = list(database.tables["seller_transfers"].values())
    shares = sum(
        share["amount"]
        for row in database.tables["orders"].values()
        if row.status == OrderStatus.PAID.value
        for share in row.shares
    )
    unfinished = [(row, _owed(database, row)) for row in transfers if _is_unfinished(row)]
    stuck = [owed for row, owed in unfinished if _is_stuck(row)]
    waiting = [owed for row, owed in unfinished if not _is_stuck(row)]
    return Totals(
        orders_paid=sum(
            row.status == OrderStatus.PAID.value for row in database.tables["orders"].values()
        ),
        paid=sum(row.amount for row in transfers if row.stripe_transfer_id),
        refunded=sum(returned(psp).values()),
        recovered=sum(row.amount_reversed for row in transfers)
        + shares
        - sum(row.amount for row in transfers),
        waiting=len(waiting),
        waiting_amount=sum(waiting),
        stuck=len(stuck),
        stuck_amount=sum(stuck),
    )


def returned(psp: PspWorld) -> dict[str, int]:
    """Return what buyers got back, by payment, as the PSP has it."""
    amounts: defaultdict[str, int] = defaultdict(int)
    for refund in psp.books.refunds.values():
        amounts[refund.payment_id] += refund.amount if refund.status == "succeeded" else 0
    for dispute in psp.books.disputes.values():
        amounts[dispute.payment_id] += dispute.amount if dispute.status == "lost" else 0
    return amounts


def expected(plan: Sequence[PlannedOrder], psp: PspWorld) -> dict[Share, int]:
    """Return what each seller should have of each order: computed from the plan and the PSP's
    books, not by the ledger's code."""
    back = returned(psp)
    nets = {}
    for order in plan:
        gone = min(back.get(order.payment_id, 0), order.amount)
        for seller, share in order.shares:
            nets[order.order_id, seller] = share - share * gone // order.amount
    return nets


def at_stripe(plan: Sequence[PlannedOrder], stripe: VirtualStripe) -> dict[Share, int]:
    """Return what each seller has of each order, by Stripe's books."""
    sellers = {account(seller): seller for order in plan for seller, _ in order.shares}
    nets: defaultdict[Share, int] = defaultdict(int)
    for transfer in stripe.transfers:
        share = transfer["metadata"]["order_id"], sellers[transfer["destination"]]
        nets[share] += transfer["amount"] - transfer["amount_reversed"]
    return dict(nets)


def differences(
    expected_nets: Mapping[Share, int], held: Mapping[Share, int]
) -> Iterator[tuple[Share, int]]:
    """Yield the shares with another amount at Stripe than expected, and how much is there too
    much."""
    for share in sorted({*expected_nets, *held}):
        surplus = held.get(share, 0) - expected_nets.get(share, 0)
        if surplus:
            yield share, surplus


def money_of(stripe: VirtualStripe, seller: str, currency: str) -> int:
    """Return the money that the seller has at Stripe, available or pending."""
    buckets = stripe.world.books.balances.of(account(seller))
    return sum(amounts.get(currency.lower(), 0) for amounts in buckets.values())


def _is_unfinished(row: SellerTransferRow) -> bool:
    return (
        row.next_retry_at is not None
        or row.waiting_for is not None
        or row.status == TransferStatus.PERMANENTLY_FAILED.value
    )


def _is_stuck(row: SellerTransferRow) -> bool:
    return row.status == TransferStatus.PERMANENTLY_FAILED.value or row.waiting_for == "operator"


def _owed(database: MemoryDatabase, row: SellerTransferRow) -> int:
    if row.status in (TransferStatus.PENDING.value, TransferStatus.FAILED.value):
        return row.amount
    return sum(
        reversal.amount
        for reversal_id in database.indexes.reversals_of[row.transfer_id]
        if (reversal := database.tables["transfer_reversals"][reversal_id]).status in UNDER_WAY
    )
