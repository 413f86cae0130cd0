"""Which read models a stream is folded into, and which rows an append has to write.

One row is the fold of exactly one stream, so whoever loads a stream folds its rows in the same pass: no second query, no
lock, and rebuild, as-of and catch-up are the same fold again.
"""

from collections.abc import Iterable
from typing import NamedTuple, assert_never

from domain.dispute import AnyDisputeFact
from domain.fact import Fact
from domain.finding import AnyFindingFact
from domain.order.facts import AnyOrderFact
from domain.pause import AnyPauseFact
from domain.payout import AnyPayoutFact
from domain.refund.facts import AnyRefundFact
from domain.seller_transfer.facts import AnyTransferFact
from projections import disputes, findings, orders, pauses, payouts, refunds, seller_transfers, transfer_reversals
from projections.alarms import still_troubled
from projections.disputes import DisputeRow
from projections.findings import FindingRow
from projections.orders import OrderRow
from projections.pauses import PauseRow
from projections.payouts import PayoutRow
from projections.refunds import RefundRow
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import ReversalRow, Reversals

Row = SellerTransferRow | ReversalRow | OrderRow | RefundRow | DisputeRow | PayoutRow | PauseRow | FindingRow


class TransferFold(NamedTuple):
    """What the stream of a transfer is folded into."""

    transfer: SellerTransferRow
    reversals: Reversals
    troubled: bool = False
    """Whether an alarm may be open that ends with what it is about."""


Fold = TransferFold | OrderRow | RefundRow | DisputeRow | PayoutRow | PauseRow | FindingRow


def fold(state: Fold | None, facts: Iterable[Fact]) -> Fold | None:
    """The state of a stream's rows after these facts."""
    for fact in facts:
        state = _step(state, fact)
    return state


def _step(state: Fold | None, fact: Fact) -> Fold:
    if isinstance(fact, AnyTransferFact):
        known = state if isinstance(state, TransferFold) else None
        row = seller_transfers.evolve(known.transfer if known else None, fact)
        reversals = transfer_reversals.evolve(known.reversals if known else None, fact)
        return TransferFold(row, reversals, still_troubled(known is not None and known.troubled, fact))
    if isinstance(fact, AnyOrderFact):
        return orders.evolve(state if isinstance(state, OrderRow) else None, fact)
    if isinstance(fact, AnyRefundFact):
        return refunds.evolve(state if isinstance(state, RefundRow) else None, fact)
    if isinstance(fact, AnyDisputeFact):
        return disputes.evolve(state if isinstance(state, DisputeRow) else None, fact)
    if isinstance(fact, AnyPayoutFact):
        return payouts.evolve(state if isinstance(state, PayoutRow) else None, fact)
    if isinstance(fact, AnyPauseFact):
        return pauses.evolve(state if isinstance(state, PauseRow) else None, fact)
    if isinstance(fact, AnyFindingFact):
        return findings.evolve(state if isinstance(state, FindingRow) else None, fact)
    raise TypeError(f"{type(fact).__name__} belongs to no read model; add it to the union of its aggregate's facts.")


def rows(before: Fold | None, after: Fold) -> dict[str, list[Row]]:
    """The rows that changed, by table."""
    match after:
        case TransferFold():
            known = before.reversals.rows if isinstance(before, TransferFold) else {}
            changed: list[Row] = [row for name, row in after.reversals.rows.items() if known.get(name) != row]
            tables: dict[str, list[Row]] = {"seller_transfers": [after.transfer]}
            return tables | ({"transfer_reversals": changed} if changed else {})
        case OrderRow():
            return {"orders": [after]}
        case RefundRow():
            return {"refunds": [after]}
        case DisputeRow():
            return {"disputes": [after]}
        case PayoutRow():
            return {"payouts": [after]}
        case PauseRow():
            return {"pauses": [after]}
        case FindingRow():
            return {"findings": [after]}
        case _:
            assert_never(after)
