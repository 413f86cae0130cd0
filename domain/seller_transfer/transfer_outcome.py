"""Outcomes of `POST /v1/transfers` and of look-ups for a transfer, recorded in the transfer."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from domain.lifecycle import TransferStatus
from domain.provider_call import deferral
from domain.provider_call.operation import TRANSFER, Operation
from domain.provider_call.outcome import Failure, NotExecuted, Rejected, Unknown
from domain.provider_call.reasons import FailureReason, WaitingFor
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, proves_absence
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.found_reversals import take_in
from domain.seller_transfer.giving_up import give_up, stop
from domain.seller_transfer.source import decide_source, refuse_source
from domain.seller_transfer.state import NOT_RECORDED, UNSENT
from domain.seller_transfer.stripe_call import (
    defer_not_done,
    keep_evidence,
    send_again,
)

MOST_NAMED = 10
"""Maximum number of similar transfers that are kept as evidence."""
ACCOUNT_NOT_READY = frozenset(
    {
        "insufficient_capabilities_for_transfer",
        "account_invalid",
        "transfers_not_allowed",
        "not_allowed_on_standard_account",
    }
)


def complete(
    transfer: SellerTransfer,
    stripe_transfer_id: str,
    amount: int,
    request_id: str | None,
    now: datetime,
    note: str | None = None,
    made: Sequence[ReversalAtStripe] = (),
) -> None:
    """Record that Stripe holds the transfer, and request a waiting reversal.

    Success always counts: an object that the present status cannot take is kept as evidence. `made`
    are its reversals at Stripe.
    """
    if transfer.stripe_transfer_id == stripe_transfer_id:
        return
    if (
        transfer.status is TransferStatus.PERMANENTLY_FAILED
        and not transfer.paid
        and transfer.settled_outside is None
    ):
        transfer.reopen(f"stripe:{stripe_transfer_id}", "Stripe holds the transfer", now)
    if transfer.status not in UNSENT:
        detail = f"Stripe holds {stripe_transfer_id} for a transfer that is {transfer.status} here."
        keep_evidence(transfer, TRANSFER, stripe_transfer_id, amount, detail, request_id, now)
        return
    _credit_reductions(transfer, transfer.amount - amount, made, now)
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


def _credit_reductions(
    transfer: SellerTransfer, less: int, made: Sequence[ReversalAtStripe], now: datetime
) -> None:
    """Record that refunds have reduced the transfer before a restored ledger had sent it, since
    Stripe holds `less` than is to be sent.

    A reversal that waits for the transfer, and that Stripe does not hold, was such a reduction. The
    rest belongs to refunds that are not recorded here.
    """
    at_stripe = {reversal.reversal_id for reversal in made}
    for reversal in transfer.queue:
        part = min(less, reversal.amount) if reversal.reversal_id not in at_stripe else 0
        if part > 0:
            transfer.reduce_instead(reversal, part, now)
            less -= part
    if less > 0:
        transfer.reduce_as_sent(NOT_RECORDED, less, now)


def give_way(
    transfer: SellerTransfer,
    cause_id: str,
    amount: int,
    look: LookUp,
    now: datetime,
    policy: Policy,
) -> None:
    """Reduce a transfer that Stripe does not hold, since Stripe holds a compensation of it: a
    refund had reduced the transfer and then failed."""
    operation = transfer.operation
    unsent = transfer.status in UNSENT
    if unsent and operation is not None and proves_absence(look, operation, now, policy):
        by = min(amount, transfer.amount)
        transfer.reduce_as_sent(cause_id, by, now)


def record_failure(
    transfer: SellerTransfer, attempt: int, failure: Failure, now: datetime, policy: Policy
) -> None:
    """Record the outcome of a call that did not succeed. An outcome that comes too late changes
    nothing."""
    operation = transfer.operation
    if operation is None or not operation.awaits(TRANSFER, attempt):
        return
    match failure:
        case Rejected():
            _record_rejection(transfer, operation, failure, now, policy)
        case NotExecuted() | Unknown():
            defer_not_done(transfer, operation, failure, now, policy)
        case _:
            assert_never(failure)


def _record_rejection(
    transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime, policy: Policy
) -> None:
    count, since = operation.retry_count, operation.awaiting_since or now
    if operation.unknown and not outcome.stored:
        transfer.defer(deferral.contradicted(operation, outcome, now, policy), now)
    elif outcome.says_source is not None and transfer.source_now is not None:
        _refuse_source(transfer, operation, outcome, now)
    elif outcome.code in ACCOUNT_NOT_READY:
        _fail(transfer, FailureReason.ON_HOLD, outcome, count, None, now, WaitingFor.ACCOUNT)
    elif outcome.lacks_funds and now - since >= policy.funds_deadline:
        _give_up_unpaid(transfer, FailureReason.FUNDS_DEADLINE, outcome, now)
    elif outcome.lacks_funds:
        # the charge became known while this call was under way: the next key names it
        sourced_next = (
            transfer.source_transaction is not None
            and transfer.source_now is None
            and (outcome.stored or not operation.may_arrive_late)
        )
        at = now if sourced_next else now + policy.funds_interval
        # the next epoch even if Stripe has not stored the refusal, since the body changes
        refused = replace(outcome, stored=outcome.stored or sourced_next)
        _fail(
            transfer, FailureReason.AWAITING_FUNDS, refused, count, at, now, WaitingFor.FUNDS, since
        )
    elif count >= policy.max_retries:
        _give_up_unpaid(transfer, FailureReason.REJECTED, outcome, now)
    else:
        _fail(transfer, FailureReason.REJECTED, outcome, count + 1, now + policy.delay(count), now)


def _refuse_source(
    transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime
) -> None:
    """Go on without the charge, under the next key: at once if it is used up, else after a person's
    retry."""
    currency_differs = outcome.says_source == "currency"
    reason = FailureReason.SOURCE_CURRENCY if currency_differs else FailureReason.SOURCE_USED_UP
    # the next epoch even if Stripe has not stored the refusal, since the body changes
    refused = replace(outcome, stored=True)
    _fail(transfer, reason, refused, operation.retry_count, now, now)
    if transfer.status is not TransferStatus.FAILED:
        return  # refunds that waited have taken all of it
    if currency_differs:
        refuse_source(transfer, outcome.message, now)
    else:
        decide_source(transfer, None, outcome.message, now)


def _fail(
    transfer: SellerTransfer,
    reason: FailureReason,
    outcome: Rejected,
    retry_count: int,
    next_retry_at: datetime | None,
    now: datetime,
    waiting_for: WaitingFor | None = None,
    since: datetime | None = None,
) -> None:
    operation = transfer.operation
    assert operation is not None
    transfer.record(
        facts.Failed(
            **transfer.next(now),
            reason=reason.value,
            code=outcome.code,
            detail=outcome.message,
            retry_count=retry_count,
            next_retry_at=next_retry_at,
            epoch=operation.epoch + outcome.stored,
            waiting_for=waiting_for.value if waiting_for is not None else None,
            awaiting_since=since,
            request_id=outcome.request_id,
        )
    )
    transfer.stay_held(now)
    transfer.forgo_queue(now)


def _ends_key(operation: Operation, outcome: Rejected | None) -> bool:
    """Return whether the next call needs a new key: after a look-up the same one serves, and so it
    does while an earlier call that Stripe has not answered may arrive."""
    return outcome is not None and (outcome.stored or not operation.may_arrive_late)


def _give_up_unpaid(
    transfer: SellerTransfer, reason: FailureReason, outcome: Rejected | None, now: datetime
) -> None:
    """End the attempts of a transfer that is definitely not paid, unless refunds have taken all of
    it meanwhile.

    `outcome` is the last refusal; None after a look-up.
    """
    operation = transfer.operation
    assert operation is not None
    detail = (
        outcome.message
        if outcome is not None
        else "No attempt is left, and Stripe's books show no transfer."
    )
    request_id = outcome.request_id if outcome is not None else None
    late = operation.may_arrive_late
    if transfer.status is TransferStatus.PENDING or transfer.queue or late:
        transfer.record(
            facts.Failed(
                **transfer.next(now),
                reason=reason.value,
                code=outcome.code if outcome is not None else None,
                detail=detail,
                retry_count=operation.retry_count,
                next_retry_at=now,
                epoch=operation.epoch + _ends_key(operation, outcome),
                request_id=request_id,
            )
        )
    if outcome is None:
        # given up first, so that refunds of the whole amount do not cancel it: Stripe may still
        # make it after an answer 500, and then it is completed and reversed
        give_up(transfer, reason, detail, request_id, now)
    transfer.forgo_queue(now)
    if transfer.status is TransferStatus.FAILED:
        give_up(transfer, reason, detail, request_id, now)


def record_look_up(
    transfer: SellerTransfer,
    found: Sequence[TransferAtStripe],
    now: datetime,
    policy: Policy,
    look: LookUp | None = None,
    similar: Sequence[TransferAtStripe] = (),
    recorded: Collection[str] = (),
) -> list[str]:
    """Record the result of a look-up at Stripe: `found` carry our id, `similar` may be payments of
    an older system. Return the causes for which shares must be recovered again.

    `look` is the step of the look-up: a call that began after it may have made an object that it
    did not find. `recorded` are the refunds and disputes that are recorded here.
    """
    operation = transfer.operation
    if operation is None or operation.what != TRANSFER:
        return []
    if found:
        return _record_found(transfer, found, recorded, now)
    given_up = transfer.status is TransferStatus.PERMANENTLY_FAILED
    if given_up or not proves_absence(look, operation, now, policy):
        return []
    if similar:
        _stop_for_similar(transfer, similar, now)
    elif operation.exhausted:
        _give_up_unpaid(transfer, FailureReason.EXHAUSTED, None, now)
    else:
        next_ = "it is held back" if transfer.held is not None else "it is sent next"
        detail = f"Stripe's books show no such transfer; {next_}."
        send_again(transfer, operation, detail, now, policy, look)
        transfer.forgo_queue(now)
    return []


def _record_found(
    transfer: SellerTransfer,
    found: Sequence[TransferAtStripe],
    recorded: Collection[str],
    now: datetime,
) -> list[str]:
    ours, *more = sorted(
        found, key=lambda seen: seen.stripe_transfer_id == transfer.stripe_transfer_id, reverse=True
    )
    complete(
        transfer,
        ours.stripe_transfer_id,
        ours.amount,
        None,
        now,
        note="found in Stripe's books",
        made=ours.reversals,
    )
    for extra in more:
        detail = f"Stripe holds {extra.stripe_transfer_id} as well: the seller was paid twice."
        keep_evidence(transfer, TRANSFER, extra.stripe_transfer_id, extra.amount, detail, None, now)
    mine = transfer.stripe_transfer_id == ours.stripe_transfer_id
    return take_in(transfer, ours, recorded, now) if mine else []


def _stop_for_similar(
    transfer: SellerTransfer, similar: Sequence[TransferAtStripe], now: datetime
) -> None:
    """Let a person decide, since each of these may be the payment and sending could pay twice.
    Record each once."""
    listed = ", ".join(seen.stripe_transfer_id for seen in similar[:MOST_NAMED])
    detail = (
        f"Stripe holds {listed}, of the same amount to the same account, which no transfer of "
        "this ledger claims."
    )
    for seen in similar[:MOST_NAMED]:
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
    stop(
        transfer,
        FailureReason.EVIDENCE_HELD,
        f"{detail} If it is the payment, resolve with it as evidence.",
        None,
        now,
    )
