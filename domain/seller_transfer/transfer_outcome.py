"""What Stripe's answers to `POST /v1/transfers`, and a look at its books, do to a transfer."""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Operation
from domain.provider_call.outcome import NotExecuted, Outcome, Rejected, Succeeded, Unknown
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, proves_absence
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.payment_hold import stay_held
from domain.seller_transfer.stripe_call import (
    EVIDENCE_HELD,
    absent,
    awaits,
    defer_contradiction,
    defer_hindered,
    defer_unknown,
    keep_evidence,
    stop,
)

MOST_NAMED = 10
"""Of the transfers that may be the payment, so many are kept as evidence."""
AWAITING_FUNDS = "balance_insufficient"
ACCOUNT_NOT_READY = frozenset(
    {"insufficient_capabilities_for_transfer", "account_invalid", "transfers_not_allowed", "not_allowed_on_standard_account"}
)


def settle_transfer(transfer: SellerTransfer, attempt: int, outcome: Outcome, now: datetime, policy: Policy) -> None:
    """Record the outcome of one call. What came too late to matter changes nothing, except that success always counts."""
    if isinstance(outcome, Succeeded):
        complete(transfer, outcome.stripe_id, outcome.amount, outcome.request_id, now)
        return
    operation = awaits(transfer, TRANSFER, attempt)
    if operation is None:
        return
    match outcome:
        case Rejected():
            _rejected(transfer, operation, outcome, now, policy)
        case NotExecuted():
            defer_hindered(transfer, outcome, now, policy)
        case Unknown():
            defer_unknown(transfer, outcome, now, policy)
        case _:
            assert_never(outcome)


def complete(
    transfer: SellerTransfer,
    stripe_transfer_id: str,
    amount: int,
    request_id: str | None,
    now: datetime,
    note: str | None = None,
) -> None:
    """The transfer is at Stripe. What waited for it is released; evidence that comes too late is kept, never refused."""
    if transfer.stripe_transfer_id == stripe_transfer_id:
        return
    if transfer.status is TransferStatus.PERMANENTLY_FAILED and not transfer.paid and transfer.settled_outside is None:
        transfer.reopen(f"stripe:{stripe_transfer_id}", "Stripe holds the transfer", now)
    if transfer.status in (TransferStatus.PENDING, TransferStatus.FAILED):
        transfer.record(
            facts.Completed(
                **transfer.next(now),
                stripe_transfer_id=stripe_transfer_id,
                amount=amount,
                request_id=request_id,
                note=note,
            )
        )
        transfer.release_queue(now)
    else:
        detail = f"Stripe holds {stripe_transfer_id} for a transfer that is {transfer.status} here."
        keep_evidence(transfer, TRANSFER, stripe_transfer_id, amount, detail, request_id, now)


def _rejected(transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime, policy: Policy) -> None:
    if operation.unknown and not outcome.stored:
        defer_contradiction(transfer, outcome, now, policy)
    elif outcome.code == AWAITING_FUNDS:
        _await_funds(transfer, operation, outcome, now, policy)
    elif outcome.code in ACCOUNT_NOT_READY:
        _fail(transfer, operation, outcome, now, reason="on_hold", waiting_for="account")
    elif operation.retry_count >= policy.max_retries:
        give_up(transfer, "rejected", outcome.message, outcome.code, outcome.request_id, now)
    else:
        count = operation.retry_count
        _fail(transfer, operation, outcome, now, reason="rejected", at=now + policy.delay(count), count=count + 1)


def _await_funds(transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime, policy: Policy) -> None:
    since = operation.awaiting_since or now
    if now - since >= policy.funds_deadline:
        give_up(transfer, "funds_deadline", outcome.message, outcome.code, outcome.request_id, now)
        return
    at = now + policy.funds_interval
    _fail(transfer, operation, outcome, now, reason="awaiting_funds", at=at, waiting_for="funds", since=since)


def _fail(
    transfer: SellerTransfer,
    operation: Operation,
    outcome: Rejected,
    now: datetime,
    *,
    reason: str,
    at: datetime | None = None,
    count: int | None = None,
    waiting_for: str | None = None,
    since: datetime | None = None,
) -> None:
    transfer.record(
        facts.Failed(
            **transfer.next(now),
            reason=reason,
            code=outcome.code,
            detail=outcome.message,
            retry_count=operation.retry_count if count is None else count,
            next_retry_at=at,
            epoch=operation.epoch + outcome.stored,
            waiting_for=waiting_for,
            awaiting_since=since,
            request_id=outcome.request_id,
        )
    )
    stay_held(transfer, now)
    transfer.forgo_queue(now)


def give_up(transfer: SellerTransfer, reason: str, detail: str, code: str | None, request_id: str | None, now: datetime) -> None:
    """Definitely not paid, and no attempt is left: a person is needed, unless refunds took all of it meanwhile."""
    operation = transfer.operation
    assert operation is not None
    if transfer.status is TransferStatus.PENDING or transfer.queue:
        transfer.record(
            facts.Failed(
                **transfer.next(now),
                reason=reason,
                code=code,
                detail=detail,
                retry_count=operation.retry_count,
                next_retry_at=now,
                epoch=operation.epoch + 1,
                request_id=request_id,
            )
        )
    transfer.forgo_queue(now)
    if transfer.status is TransferStatus.FAILED:
        transfer.record(facts.PermanentlyFailed(**transfer.next(now), reason=reason, detail=detail, request_id=request_id))


def settle_look_up(
    transfer: SellerTransfer,
    found: Sequence[TransferAtStripe],
    now: datetime,
    look: LookUp | None = None,
    alike: Sequence[TransferAtStripe] = (),
) -> None:
    """What Stripe's books show for this transfer: our own object, or that there is none.

    `look` is the step that was taken: what it did not find proves nothing about a call that began after it. `alike` is what
    an older system may have paid it with.
    """
    operation = transfer.operation
    if operation is None or operation.what != TRANSFER:
        return
    if found:
        ours, *more = sorted(found, key=lambda seen: seen.stripe_transfer_id == transfer.stripe_transfer_id, reverse=True)
        complete(transfer, ours.stripe_transfer_id, ours.amount, None, now, note="found in Stripe's books")
        for extra in more:
            detail = f"Stripe holds {extra.stripe_transfer_id} as well: the seller was paid twice."
            keep_evidence(transfer, TRANSFER, extra.stripe_transfer_id, extra.amount, detail, None, now)
    elif not proves_absence(look, operation) or transfer.status is TransferStatus.PERMANENTLY_FAILED:
        return
    elif alike:
        _hold_alike(transfer, alike, now)
    elif operation.exhausted:
        give_up(transfer, "exhausted", "No attempt is left, and Stripe's books show no transfer.", None, None, now)
    else:
        next_ = "it is held back" if transfer.held is not None else "it is sent next"
        absent(transfer, f"Stripe's books show no such transfer; {next_}.", now)
        transfer.forgo_queue(now)


def _hold_alike(transfer: SellerTransfer, alike: Sequence[TransferAtStripe], now: datetime) -> None:
    """Any of these may be the payment: sending could pay twice, so a person decides. Each is kept as evidence, once."""
    listed = ", ".join(seen.stripe_transfer_id for seen in alike[:MOST_NAMED])
    detail = f"Stripe holds {listed}, of the same amount to the same account, which no transfer of this ledger claims."
    for seen in alike[:MOST_NAMED]:
        if transfer.evidence.get(seen.stripe_transfer_id) != TRANSFER:
            transfer.record(
                facts.EvidenceHeld(
                    **transfer.next(now),
                    what=TRANSFER,
                    stripe_id=seen.stripe_transfer_id,
                    amount=seen.amount,
                    detail=f"An older system may have paid with it. {detail}",
                    unclaimed=True,
                )
            )
    stop(transfer, EVIDENCE_HELD, f"{detail} If it is the payment, resolve with it as evidence.", None, now)
