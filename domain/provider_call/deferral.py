"""Deferrals: pure decisions about when and how an operation goes on after an answer that does not
end it.

The same rules hold for Stripe and for the PSP. An aggregate records a deferral as its fact
`AttemptDeferred`.
"""

from datetime import datetime

from domain.provider_call.operation import Deferral, Operation
from domain.provider_call.outcome import NotExecuted, Rejected, Unknown
from domain.provider_call.reasons import DeferralReason, WaitingFor
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LOST_IN_A_ROW


def _unchanged(operation: Operation, why: DeferralReason, detail: str, until: datetime) -> Deferral:
    """Return a deferral that consumes no attempt and keeps the key; the operation stays as open as
    it is."""
    return Deferral(
        why=why.value,
        detail=detail,
        next_retry_at=until,
        retry_count=operation.retry_count,
        epoch=operation.epoch,
        open=operation.open,
        awaiting_since=operation.awaiting_since,
    )


def unknown(
    operation: Operation, outcome: Unknown, now: datetime, policy: Policy, lost: int = 0
) -> Deferral:
    """Defer after an unknown outcome: the same key again, or a look-up when no attempt is left."""
    exhausted = operation.retry_count >= policy.max_retries and not outcome.replayed
    counted = not exhausted and not outcome.replayed
    # a key that answers with a stored 5xx never says anything else, but the provider's records do
    wait = (
        policy.call_timeout
        if exhausted or outcome.replayed
        else policy.delay(operation.retry_count)
    )
    again = _unchanged(
        operation, DeferralReason.UNKNOWN, f"{outcome.why}: {outcome.message}", now + wait
    )
    return again._replace(
        open=True,
        retry_count=operation.retry_count + counted,
        exhausted=exhausted,
        look_first=outcome.replayed,
        lost=lost,
        request_id=outcome.request_id,
    )


def vanished(operation: Operation, now: datetime, policy: Policy) -> Deferral | None:
    """Defer an operation if its callers vanished `LOST_IN_A_ROW` times in a row; else return
    None."""
    lost = operation.lost + 1
    if not operation.in_call or lost < LOST_IN_A_ROW:
        return None
    return unknown(
        operation,
        Unknown("lease_lost", f"The caller vanished {lost} times in a row."),
        now,
        policy,
        lost,
    )


def contradicted(
    operation: Operation, outcome: Rejected, now: datetime, policy: Policy
) -> Deferral:
    """Defer after a refusal that is not stored: an earlier call with an unknown outcome may still
    succeed."""
    doubt = Unknown("rejected_while_open", outcome.message, outcome.status, outcome.request_id)
    return unknown(operation, doubt, now, policy)


def refused_while_open(operation: Operation, outcome: Rejected, now: datetime) -> Deferral:
    """Defer until a look-up: the refusal may only be the consequence of an earlier call that is
    under way."""
    return _unchanged(operation, DeferralReason.UNKNOWN, outcome.message, now)._replace(
        open=True, look_first=True
    )


def not_executed(
    operation: Operation, outcome: NotExecuted, now: datetime, policy: Policy, *, executing: bool
) -> Deferral:
    """Defer a call that the provider did not begin: the same key soon, and no attempt is consumed.

    `executing`: an earlier call of ours may be the hindrance, so the operation is open.
    """
    until = now + policy.hindered_delay(operation.hindered)
    return _unchanged(
        operation, DeferralReason(outcome.why.value), outcome.message, until
    )._replace(
        open=operation.unknown or executing,
        hindered=operation.hindered + 1,
        hindered_since=operation.hindered_since or now,
        request_id=outcome.request_id,
    )


def given_back(
    operation: Operation, detail: str, due_at: datetime | None, now: datetime
) -> Deferral:
    """Take back the intent of a call that was not made; doubts about earlier calls remain.

    The work keeps its due time `due_at`, so that it comes before younger work, and counts as
    overdue if this happens again and again.
    """
    until = min(due_at, now) if due_at is not None else now
    return _unchanged(operation, DeferralReason.GIVEN_BACK, detail, until)._replace(
        open=operation.unknown
    )


def outage(operation: Operation, until: datetime) -> Deferral:
    """Give the last attempt back, which an outage of the provider consumed. Its outcome stays
    unknown."""
    return _unchanged(operation, DeferralReason.OUTAGE, "Stripe answered nobody.", until)._replace(
        open=True,
        retry_count=max(0, operation.retry_count - (not operation.exhausted)),
        given_back=operation.attempt,
    )


def postponed(operation: Operation, why: DeferralReason, detail: str, until: datetime) -> Deferral:
    """Repeat the same step later: nothing was learned, and no attempt is consumed."""
    return _unchanged(operation, why, detail, until)._replace(exhausted=operation.exhausted)


def repeated(
    operation: Operation, why: DeferralReason, detail: str, now: datetime, policy: Policy
) -> Deferral:
    """Repeat the same step after a delay that grows, since the provider has not decided."""
    until = now + policy.delay(operation.retry_count)
    return _unchanged(operation, why, detail, until)._replace(retry_count=operation.retry_count + 1)


def pending(
    operation: Operation,
    detail: str,
    now: datetime,
    policy: Policy,
    *,
    epoch: int,
    open_: bool,
    request_id: str | None = None,
) -> Deferral:
    """Look the operation up again later, since Stripe has not decided about a reversal; nothing is
    sent meanwhile.

    The wait grows with the time since the first look. `open_`: the reversal is ours.
    """
    since = operation.awaiting_since or now
    wait = min(max(policy.base, now - since), policy.maximum)
    return _unchanged(operation, DeferralReason.PENDING, detail, now + wait)._replace(
        epoch=epoch,
        open=open_,
        look_first=True,
        waiting_for=WaitingFor.STRIPE.value,
        awaiting_since=since,
        request_id=request_id,
    )


def absent(operation: Operation, detail: str, now: datetime, *, epoch: int) -> Deferral:
    """Send the operation at once under the key of `epoch`, since the provider's records do not
    contain it."""
    return _unchanged(operation, DeferralReason.ABSENT, detail, now)._replace(
        open=False, epoch=epoch
    )


def refused(
    operation: Operation,
    why: DeferralReason,
    outcome: Rejected,
    until: datetime,
    *,
    spent: int = 0,
    waiting_for: WaitingFor | None = None,
    since: datetime | None = None,
) -> Deferral:
    """Repeat an operation that was definitely not done, under a new key if the provider stored its
    answer.

    `spent`: attempts that this consumes. `since`: begin of the wait for `waiting_for`.
    """
    return _unchanged(operation, why, outcome.message, until)._replace(
        open=False,
        epoch=operation.epoch + outcome.stored,
        retry_count=operation.retry_count + spent,
        waiting_for=waiting_for.value if waiting_for is not None else None,
        awaiting_since=since if waiting_for is not None else operation.awaiting_since,
        request_id=outcome.request_id,
    )
