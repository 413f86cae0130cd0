"""Calls to the PSP for a refund: next step, frozen body, and outcomes that do not end the refund.

The intent is recorded before the call, the outcome in an append of its own. The PSP identifies a
refund by its name and never forgets it, so the same call may be repeated without limit and moves
the money once. Its client looks a refused refund up, so a refusal is definite, unless an earlier
call may still be under way.
"""

from datetime import datetime, timedelta
from typing import assert_never

from domain.currency import in_major_units
from domain.provider_call import deferral
from domain.provider_call.operation import Deferral, Operation
from domain.provider_call.outcome import Failure, Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import name_at_psp
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.request_body import RefundBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send, Step
from domain.refund.aggregate import Refund
from domain.refund.facts import CallStarted
from domain.refund.state import REFUND, RefundStatus

FOR_EVER = timedelta(days=36_500)
"""Lifetime of a name at the PSP."""
CONNECTORS_REASONS = frozenset({"duplicate", "fraudulent", "requested_by_customer"})
"""The only reasons that every connector takes; any other text is sent as metadata."""
NOT_YET = frozenset({"IR_14"})
"""Codes of refusals because of the present state of the payment, which changes: repeated until no
attempt is left."""


def begin(refund: Refund, now: datetime, policy: Policy) -> Step:
    """Return the next step of a claimed refund, with its intent recorded."""
    operation = refund.operation
    if operation is None or refund.next_retry_at is None:
        return Rest("nothing is due")
    if refund.next_retry_at > now:
        return Rest("not due yet")
    if refund.status is RefundStatus.SUBMITTED:
        return LookUp(REFUND, refund.created_on, operation.attempt)
    if (lost := deferral.vanished(operation, now, policy)) is not None:
        refund.defer(lost, now)
        return Rest("its caller vanished repeatedly")
    if not operation.must_look_up(now, policy):
        return _send(refund, operation, now)
    if (ends_by := operation.under_way_until(now, policy)) is not None:
        postpone(
            refund, DeferralReason.LOOK_UP_LATER, "A call may still be under way.", ends_by, now
        )
        return Rest("a call may still be under way")
    return LookUp(REFUND, refund.created_on, operation.attempt)


def _send(refund: Refund, operation: Operation, now: datetime) -> Step:
    attempt, body = operation.attempt + 1, _body(refund)
    refund.record(CallStarted(**refund.next(now), attempt=attempt, key=refund.key, body=body))
    return Send(REFUND, attempt, refund.key, body)


def _body(refund: Refund) -> RefundBody:
    """Return the body, which never changes, since it depends only on the opening fact."""
    metadata = {"refund_id": refund.key, "order_id": refund.order_id}
    body = RefundBody(
        refund_id=name_at_psp(refund.key),
        payment_id=refund.payment_id or "",
        amount=refund.amount,
        metadata=metadata,
    )
    if refund.reason in CONNECTORS_REASONS:
        body["reason"] = refund.reason
    elif refund.reason is not None:
        metadata["reason"] = refund.reason
    return body


def record_failure(
    refund: Refund, attempt: int, failure: Failure, now: datetime, policy: Policy
) -> str | None:
    """Record the outcome of a call that did not succeed; return the reason if the refund has
    definitely failed.

    An outcome that comes too late changes nothing.
    """
    operation = refund.operation
    if operation is None or not operation.awaits(REFUND, attempt):
        return None
    match failure:
        case Rejected():
            return _record_rejection(refund, operation, failure, now, policy)
        case NotExecuted():
            # an earlier call of ours may hold the lock
            executing = failure.why is Hindrance.LOCK_TIMEOUT and operation.attempt > 1
            refund.defer(
                deferral.not_executed(operation, failure, now, policy, executing=executing), now
            )
        case Unknown():
            refund.defer(deferral.unknown(operation, failure, now, policy), now)
        case _:
            assert_never(failure)
    return None


def _record_rejection(
    refund: Refund, operation: Operation, outcome: Rejected, now: datetime, policy: Policy
) -> str | None:
    if operation.unknown:
        refund.defer(deferral.refused_while_open(operation, outcome, now), now)
        return None
    if outcome.code in NOT_YET and operation.retry_count < policy.max_retries:
        until = now + policy.delay(operation.retry_count)
        refund.defer(
            deferral.refused(operation, DeferralReason.NOT_YET, outcome, until, spent=1), now
        )
        return None
    return f"{outcome.code or outcome.status}: {outcome.message}"


def give_back(refund: Refund, attempt: int, why: str, now: datetime) -> None:
    """Take back the intent of a call that was not made; doubts about earlier calls remain."""
    operation = refund.operation
    if operation is not None and operation.awaits(REFUND, attempt):
        refund.defer(deferral.given_back(operation, why, refund.next_retry_at, now), now)


def ask_again(
    refund: Refund, why: DeferralReason, detail: str, now: datetime, policy: Policy
) -> None:
    """Ask the PSP again, less and less often, since it has not decided."""
    operation = refund.operation
    assert operation is not None
    refund.defer(
        _told(refund, deferral.repeated(operation, why, detail, now, policy), now, policy), now
    )


def put_off(
    refund: Refund, why: DeferralReason, detail: str, until: datetime, now: datetime, policy: Policy
) -> None:
    """Ask the PSP again later, since it could not be asked now."""
    operation = refund.operation
    if operation is not None:
        again = deferral.postponed(operation, why, detail, until)
        again = again._replace(look_first=operation.look_first)
        refund.defer(_told(refund, again, now, policy), now)


def ask_first_at(refund: Refund, now: datetime, policy: Policy) -> datetime:
    """Return the instant of the first question about a refund that the PSP has acknowledged."""
    return _in_time(refund, now + policy.base, now, policy)


def _told(refund: Refund, again: Deferral, now: datetime, policy: Policy) -> Deferral:
    """Return the deferral with the sentence of an alarm, once a submitted refund has waited for the
    PSP's decision too long."""
    if refund.status is not RefundStatus.SUBMITTED:
        return again
    again = again._replace(next_retry_at=_in_time(refund, again.next_retry_at, now, policy))
    if now - refund.created_on < policy.undecided_after:
        return again
    sentence = (
        f"The payment provider has not decided refund {refund.refund_id!r} of order "
        f"{refund.order_id!r} since {refund.created_on:%Y-%m-%d %H:%M} UTC: "
        f"{in_major_units(refund.amount, refund.currency)} of the order stay "
        "reserved. Ask the payment provider; "
        f"the alarm ends with its decision. Its last answer: {again.detail}"
    )
    return again._replace(undecided_since=refund.created_on, detail=sentence)


def _in_time(refund: Refund, until: datetime, now: datetime, policy: Policy) -> datetime:
    """Return `until`, or the instant at which the refund becomes undecided for too long, if that
    comes first."""
    too_long = refund.created_on + policy.undecided_after
    return min(until, too_long) if now < too_long else until


def postpone(
    refund: Refund, why: DeferralReason, detail: str, until: datetime, now: datetime
) -> None:
    """Repeat the same step later: nothing was learned, and no attempt is consumed."""
    operation = refund.operation
    if operation is not None:
        postponed = deferral.postponed(operation, why, detail, until)
        refund.defer(
            postponed._replace(look_first=operation.look_first), now
        )  # shown in the fact; the operation keeps it


def record_absence(refund: Refund, detail: str, now: datetime) -> str | None:
    """Send the refund again, since the PSP does not have it; with no attempt left, return the
    reason of its failure."""
    operation = refund.operation
    assert operation is not None
    if operation.exhausted:
        return (
            f"The payment provider was called {operation.attempt} times and has no such refund: "
            f"{detail}"
        )
    refund.defer(deferral.absent(operation, detail, now, epoch=operation.epoch), now)
    return None
