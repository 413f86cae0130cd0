"""Recording of any outcome of a call to Stripe, as the process managers do it."""

from datetime import datetime

from domain.provider_call.outcome import Outcome, Pending, ReversalOutcome, Succeeded
from domain.provider_call.retry_policy import Policy
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer import reversal_outcome, transfer_outcome
from domain.seller_transfer.aggregate import SellerTransfer


def record_transfer_outcome(
    transfer: SellerTransfer, attempt: int, outcome: Outcome, now: datetime, policy: Policy
) -> None:
    if isinstance(outcome, Succeeded):
        transfer_outcome.complete(
            transfer, outcome.stripe_id, outcome.amount, outcome.request_id, now
        )
    else:
        transfer_outcome.record_failure(transfer, attempt, outcome, now, policy)


def record_reversal_outcome(
    transfer: SellerTransfer,
    reversal_id: str,
    attempt: int,
    outcome: ReversalOutcome,
    seen: TransferAtStripe | None,
    now: datetime,
    policy: Policy,
) -> None:
    if isinstance(outcome, Succeeded):
        reversal_outcome.complete_reversal(
            transfer, reversal_id, outcome.stripe_id, outcome.amount, outcome.request_id, now
        )
    elif isinstance(outcome, Pending):
        reversal_outcome.record_pending(transfer, reversal_id, outcome, now, policy)
    else:
        reversal_outcome.record_failure(transfer, reversal_id, attempt, outcome, seen, now, policy)
