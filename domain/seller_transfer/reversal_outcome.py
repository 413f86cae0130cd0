"""Outcomes of `POST /v1/transfers/{id}/reversals` and of look-ups for a reversal, recorded in the
transfer.

The wording of a refusal decides nothing: the transfer and all its reversals are read again, and
Stripe's records decide.
"""

from collections.abc import Collection
from datetime import datetime
from typing import assert_never

from domain.lifecycle import TransferStatus
from domain.provider_call import deferral
from domain.provider_call.operation import Operation
from domain.provider_call.outcome import (
    Failure,
    NotExecuted,
    Pending,
    Rejected,
    ReversalOutcome,
    Unknown,
)
from domain.provider_call.reasons import DeferralReason, FailureReason, WaitingFor
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, proves_absence
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.external_reversals import (
    end_external,
    external_request,
    external_reversals,
)
from domain.seller_transfer.found_reversals import take_in
from domain.seller_transfer.giving_up import give_up
from domain.seller_transfer.reversal import Reason, Reversal, ReversalStatus
from domain.seller_transfer.stripe_call import (
    EXTERNAL,
    US,
    defer_not_done,
    end_reversal,
    keep_evidence,
    postpone,
    send_again,
)

NOT_ABOUT_FUNDS = ("parameter_", "account_", "amount_too_", "livemode_mismatch", "resource_missing")
"""Prefixes of error codes that, according to the documentation, have nothing to do with a
balance."""


def needs_look_up(outcome: ReversalOutcome) -> bool:
    """Return whether the transfer has to be read at Stripe before this outcome is recorded."""
    return isinstance(outcome, Rejected) and outcome.status != 404


def complete_reversal(
    transfer: SellerTransfer,
    reversal_id: str,
    stripe_reversal_id: str,
    amount: int,
    request_id: str | None,
    now: datetime,
    note: str | None = None,
) -> None:
    """Record that Stripe holds our reversal, and request the next one that waits.

    Success always counts: an object that the present status cannot take is kept as evidence.
    """
    reversal = transfer.reversals.get(reversal_id)
    if reversal is not None and _was_given_up(transfer, reversal, amount):
        if reversal.state is ReversalStatus.WITHDRAWN and reversal.refund_id is not None:
            transfer.shortened.add(reversal.refund_id)  # it failed since: its share is given back
        transfer.reopen(f"stripe:{stripe_reversal_id}", "Stripe holds the reversal", now, reversal)
        reversal = transfer.reversals[reversal_id]
    if reversal is not None and reversal.state is ReversalStatus.REQUESTED:
        end_reversal(transfer, reversal, stripe_reversal_id, amount, US, now, note, request_id)
        transfer.release_queue(now)
    elif reversal is None or reversal.stripe_reversal_id != stripe_reversal_id:
        detail = (
            f"Stripe holds {stripe_reversal_id} for a reversal that is "
            f"{reversal.state if reversal else 'unknown'} here."
        )
        keep_evidence(transfer, reversal_id, stripe_reversal_id, amount, detail, request_id, now)


def _was_given_up(transfer: SellerTransfer, reversal: Reversal, amount: int) -> bool:
    """Return whether a reversal was given up, and possibly withdrawn since: a call of a process
    that was frozen has made it all the same."""
    if transfer.status is not TransferStatus.PERMANENTLY_FAILED:
        return False
    failed = [one for one in transfer.reversals.values() if one.state is ReversalStatus.FAILED]
    withdrawn = reversal.state is ReversalStatus.WITHDRAWN and not failed
    return reversal in failed or (withdrawn and amount <= transfer.room)


def record_pending(
    transfer: SellerTransfer, reversal_id: str, made: Pending, now: datetime, policy: Policy
) -> None:
    """Record that Stripe holds our reversal and has not decided about it: it is looked up until
    then, and never sent again."""
    operation, reversal = transfer.operation, transfer.in_flight
    detail = f"{made.stripe_id} is pending at Stripe"
    if operation is None or reversal is None or operation.what != reversal_id:
        keep_evidence(
            transfer, reversal_id, made.stripe_id, made.amount, detail, made.request_id, now
        )
        return
    wait = deferral.pending(
        operation,
        detail,
        now,
        policy,
        epoch=operation.epoch,
        open_=True,
        request_id=made.request_id,
    )
    transfer.defer(wait, now)


def complete_by(
    transfer: SellerTransfer,
    reversal_id: str,
    made: ReversalAtStripe,
    now: datetime,
    note: str | None = None,
) -> None:
    """Record a reversal at Stripe, ours or an external one, as the outcome of our running
    reversal."""
    by = US if made.reversal_id == reversal_id else EXTERNAL
    end_reversal(
        transfer,
        transfer.reversals[reversal_id],
        made.stripe_reversal_id,
        made.amount,
        by,
        now,
        note,
    )


def record_failure(
    transfer: SellerTransfer,
    reversal_id: str,
    attempt: int,
    failure: Failure,
    seen: TransferAtStripe | None,
    now: datetime,
    policy: Policy,
    recorded: Collection[str] = (),
) -> list[str]:
    """Record the outcome of a call that did not succeed; return the causes for which shares must be
    recovered again. An outcome that comes too late changes nothing.

    `seen` is the transfer as read at Stripe after a refusal; None if it could not be read.
    `recorded` are the refunds and disputes that are recorded here.
    """
    operation = transfer.operation
    if operation is None or not operation.awaits(reversal_id, attempt):
        return []
    match failure:
        case Rejected():
            version = transfer.version
            contradicts = operation.unknown and not failure.stored
            if seen is not None and not contradicts and _ours(seen, operation.what) is None:
                causes = take_in(transfer, seen, recorded, now, closed=True, refused=True)
                if transfer.version != version:
                    return causes
            _record_rejection(transfer, operation, failure, seen, now, policy)
        case NotExecuted() | Unknown():
            defer_not_done(transfer, operation, failure, now, policy)
        case _:
            assert_never(failure)
    return []


def _record_rejection(
    transfer: SellerTransfer,
    operation: Operation,
    outcome: Rejected,
    seen: TransferAtStripe | None,
    now: datetime,
    policy: Policy,
) -> None:
    contradicts = operation.unknown and not outcome.stored
    if not needs_look_up(outcome):
        if contradicts:
            transfer.defer(deferral.contradicted(operation, outcome, now, policy), now)
        else:
            record_unknown_transfer(transfer, outcome.message, outcome.request_id, now)
    elif seen is None:
        detail = f"Refused ({outcome.message}), and Stripe's books could not be read to tell why."
        postpone(
            transfer, DeferralReason.UNREAD, detail, now + policy.delay(operation.retry_count), now
        )
    elif _decided_by_records(
        transfer, operation._replace(in_call=False, unknown=contradicts), seen, now, policy
    ):
        return
    elif contradicts:
        transfer.defer(deferral.contradicted(operation, outcome, now, policy), now)
    else:
        _record_refusal(transfer, operation, outcome, now, policy)


def record_unknown_transfer(
    transfer: SellerTransfer, detail: str, request_id: str | None, now: datetime
) -> None:
    """Record that Stripe does not know the transfer: one answer is enough, a person has to
    decide."""
    give_up(transfer, FailureReason.NOT_FOUND, detail, request_id, now)


def _await_funds(
    transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime, policy: Policy
) -> None:
    """Wait for funds, since Stripe's code or words say that the seller's balance is too low."""
    since, until = operation.awaiting_since or now, now + policy.funds_interval
    if now - since >= policy.funds_deadline:
        give_up(transfer, FailureReason.FUNDS_DEADLINE, outcome.message, outcome.request_id, now)
        return
    why, funds = DeferralReason.AWAITING_FUNDS, WaitingFor.FUNDS
    transfer.defer(
        deferral.refused(operation, why, outcome, until, waiting_for=funds, since=since), now
    )


def _record_refusal(
    transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime, policy: Policy
) -> None:
    """Wait for funds if Stripe says that they would help. Otherwise consume an attempt; after the
    last one a person has to decide."""
    if outcome.lacks_funds and not (outcome.code or "").startswith(NOT_ABOUT_FUNDS):
        _await_funds(transfer, operation, outcome, now, policy)
        return
    if operation.retry_count >= policy.max_retries:
        give_up(transfer, FailureReason.REJECTED, outcome.message, outcome.request_id, now)
        return
    until = now + policy.delay(operation.retry_count)
    transfer.defer(
        deferral.refused(operation, DeferralReason.REJECTED, outcome, until, spent=1), now
    )


def record_look_up(
    transfer: SellerTransfer,
    seen: TransferAtStripe,
    now: datetime,
    policy: Policy,
    look: LookUp | None = None,
    recorded: Collection[str] = (),
) -> list[str]:
    """Record a look-up for the running reversal: Stripe has our object, an external one, or none.
    Return the causes for which shares must be recovered again.

    A failed or canceled object of ours is a refusal. `look` is the step of the look-up: a call that
    began after it may have made an object that it did not find. `recorded` are the refunds and
    disputes that are recorded here: Stripe may hold reversals for others, which a restored backup
    has lost.
    """
    operation, reversal = transfer.operation, transfer.in_flight
    if operation is None or reversal is None or operation.what != reversal.reversal_id:
        return []
    current = proves_absence(look, operation, now, policy)
    # all pages were read: none of our objects can be hidden, unless it was sent since
    closed = operation._replace(in_call=False, unknown=False) if current else operation
    causes = list[str]()
    if current or _ours(seen, operation.what) is not None:
        causes = take_in(transfer, seen, recorded, now, closed=current)
        if transfer.operation is not operation:
            return causes
    if _decided_by_records(transfer, closed, seen, now, policy) or not current:
        return causes
    refused = _ours(seen, reversal.reversal_id)
    if refused is not None and refused.refusal is not None:
        _record_refusal(transfer, operation, refused.refusal, now, policy)
    elif operation.pending and operation.open and not _overdue(operation, now, policy):
        # Stripe has shown it as pending, so its absence from the list proves nothing
        detail = "The reversal was pending at Stripe and is not in Stripe's list"
        wait = deferral.pending(operation, detail, now, policy, epoch=operation.epoch, open_=True)
        transfer.defer(wait, now)
    elif operation.exhausted:
        detail = "No attempt is left, and Stripe's books show no such reversal."
        give_up(transfer, FailureReason.EXHAUSTED, detail, None, now)
    else:
        detail = "Stripe's books show no such reversal; it is sent next."
        send_again(transfer, operation, detail, now, policy, look)
    return causes


def _overdue(operation: Operation, now: datetime, policy: Policy) -> bool:
    """Return whether Stripe must have decided about a pending reversal by now."""
    return now - (operation.awaiting_since or now) >= policy.funds_deadline


def _ours(seen: TransferAtStripe, reversal_id: str) -> ReversalAtStripe | None:
    """Return our reversal at Stripe: one that has taken money, else a pending one, else a refused
    one, since each refused call may have left an object."""
    made = [one for one in seen.reversals if one.reversal_id == reversal_id]
    return min(made, key=lambda one: (not one.taken, not one.pending), default=None)


def _decided_by_records(
    transfer: SellerTransfer,
    operation: Operation,
    seen: TransferAtStripe,
    now: datetime,
    policy: Policy,
) -> bool:
    """Record the decision of Stripe's records about the running reversal; return whether they
    decide."""
    reversal = transfer.reversals[operation.what]
    ours = _ours(seen, reversal.reversal_id)
    if ours is not None and ours.pending:
        pending = Pending(ours.stripe_reversal_id, ours.amount)
        record_pending(transfer, reversal.reversal_id, pending, now, policy)
        return True
    if ours is not None and ours.taken:
        note = "found in Stripe's books"
        complete_reversal(
            transfer, reversal.reversal_id, ours.stripe_reversal_id, ours.amount, None, now, note
        )
        return True
    if (
        _tried_before(transfer, reversal)
        and not operation.open
        and _made_by_older_system(transfer, reversal, seen, now)
    ):
        return True
    if seen.reversible == 0:
        _nothing_left(transfer, reversal, seen, now)
        return True
    if not operation.open and seen.reversible - seen.pending < reversal.amount:
        if seen.pending:
            _await_others(transfer, operation, seen, now, policy)
            return True
        _less_left(transfer, reversal, operation, seen, now)
        return True
    return False


def _await_others(
    transfer: SellerTransfer,
    operation: Operation,
    seen: TransferAtStripe,
    now: datetime,
    policy: Policy,
) -> None:
    """Wait for Stripe's decision about reversals of others, on which the amount left depends."""
    detail = f"Reversals of {seen.pending} that others made are pending at Stripe"
    used = operation.epoch_began is not None
    wait = deferral.pending(
        operation, detail, now, policy, epoch=operation.epoch + used, open_=False
    )
    transfer.defer(wait, now)


def _tried_before(transfer: SellerTransfer, reversal: Reversal) -> bool:
    given_up = reversal.refund_id is not None and reversal.refund_id == transfer.refund_given_up
    return reversal.reason == Reason.IMPORTED or given_up


def _made_by_older_system(
    transfer: SellerTransfer, reversal: Reversal, seen: TransferAtStripe, now: datetime
) -> bool:
    """Record a reversal that an older system may have made before the import; return whether that
    decides.

    An external reversal of the same amount is the outcome. About others, which may be a part of it,
    a person decides, so that no amount is reversed twice.
    """
    others = external_reversals(transfer, seen)
    same = next((made for made in others if made.amount == reversal.amount), None)
    if same is not None:
        complete_by(transfer, reversal.reversal_id, same, now, note="made by the older system")
        transfer.release_queue(now)
        return True
    if not others or seen.reversible < reversal.amount:
        return False
    other = others[-1]
    detail = (
        f"{other.stripe_reversal_id} took {other.amount} back, {reversal.amount} is asked: it "
        "may be meant by that."
    )
    keep_evidence(
        transfer, reversal.reversal_id, other.stripe_reversal_id, other.amount, detail, None, now
    )
    return True


def _nothing_left(
    transfer: SellerTransfer, reversal: Reversal, seen: TransferAtStripe, now: datetime
) -> None:
    others = external_reversals(transfer, seen)
    theirs = others[0].stripe_reversal_id if len(others) == 1 else None
    unrecorded = seen.amount_reversed - transfer.amount_reversed
    amount = min(reversal.amount, unrecorded) if transfer.queue else unrecorded
    listed = ", ".join(made.stripe_reversal_id for made in others) or "reversals known here already"
    end_reversal(
        transfer,
        reversal,
        theirs,
        amount,
        EXTERNAL,
        now,
        note=f"Taken back outside this ledger by {listed}.",
    )
    transfer.release_queue(now)
    if (
        transfer.in_flight is not None
    ):  # the rest of the external amount counts for the reversals that waited
        _nothing_left(transfer, transfer.in_flight, seen, now)


def _less_left(
    transfer: SellerTransfer,
    reversal: Reversal,
    operation: Operation,
    seen: TransferAtStripe,
    now: datetime,
) -> None:
    """Record the external reversals of a part, and request the amount left under a new key."""
    for external in external_reversals(transfer, seen):
        transfer.record(external_request(transfer, external, now))
        end_external(transfer, external, now)
    if reversal.refund_id is not None:
        transfer.shortened.add(reversal.refund_id)
    note = f"{reversal.amount} was asked, {seen.reversible} is left at Stripe."
    transfer.record(
        facts.ReversalRequested(
            **transfer.next(now),
            reversal_id=reversal.reversal_id,
            refund_id=reversal.refund_id,
            amount=seen.reversible,
            reason=reversal.reason,
            next_retry_at=now,
            epoch=operation.epoch + 1,
            note=note,
        )
    )
