"""Asking the PSP for a refund: when to call, when to ask first, how to put off. The sibling of `stripe_call`.

Intent is recorded before the call, the outcome by itself; a call found without an outcome counts as Unknown. The PSP goes by
the refund's name and never forgets it, so the same call may be repeated without end and moves the money once. What it
refuses is looked up by its client, so a refusal is definite, unless an earlier call may still be under way.
"""

from datetime import datetime, timedelta

from domain.provider_call.operation import Operation
from domain.provider_call.outcome import Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import name_at_psp
from domain.provider_call.request_body import RefundBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LOST_IN_A_ROW, LookUp, Rest, Send, Step
from domain.refund.aggregate import Refund
from domain.refund.facts import AttemptDeferred, CallStarted
from domain.refund.state import REFUND, RefundStatus

FOR_EVER = timedelta(days=36_500)
"""How long the PSP knows a name."""
CONNECTORS_REASONS = frozenset({"duplicate", "fraudulent", "requested_by_customer"})
"""The only reasons that every connector takes; any other text goes into the metadata."""
NOT_YET = frozenset({"IR_14"})
"""Refusals of a payment's present state, which changes: asked again until the attempts are spent."""


def begin(refund: Refund, now: datetime, policy: Policy) -> Step:
    """The next step of a claimed refund, with its intent recorded."""
    operation = refund.operation
    if operation is None or refund.next_retry_at is None:
        return Rest("nothing is due")
    if refund.next_retry_at > now:
        return Rest("not due yet")
    if refund.status is RefundStatus.SUBMITTED:
        return LookUp(REFUND, refund.created_on, operation.attempt)
    if operation.in_call and operation.lost + 1 >= LOST_IN_A_ROW:
        lost = operation.lost + 1
        defer_unknown(refund, Unknown("lease_lost", f"The caller vanished {lost} times in a row."), now, policy, lost)
        return Rest("its caller vanished repeatedly")
    if operation.must_look_up(now, policy):
        return _look_up(refund, operation, now, policy)
    return _send(refund, operation, now)


def _look_up(refund: Refund, operation: Operation, now: datetime, policy: Policy) -> Step:
    settled_at = (operation.last_began or refund.created_on) + policy.call_timeout
    if now < settled_at:
        # absence proves something only when no call of ours can still be under way
        postpone(refund, "look_up_later", "A call may still be under way.", settled_at, now)
        return Rest("a call may still be under way")
    return LookUp(REFUND, refund.created_on, operation.attempt)


def _send(refund: Refund, operation: Operation, now: datetime) -> Step:
    attempt, body = operation.attempt + 1, _body(refund)
    refund.record(CallStarted(**refund.next(now), attempt=attempt, key=refund.key, body=body))
    return Send(REFUND, attempt, refund.key, body)


def _body(refund: Refund) -> RefundBody:
    """The same for ever: it is made of what the refund was opened with."""
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


def awaits(refund: Refund, attempt: int) -> bool:
    """Whether the call with this number is the last one, and has no outcome yet."""
    operation = refund.operation
    return operation is not None and operation.in_call and operation.attempt == attempt


# --- what the answers do --------------------------------------------------------------------------------------------


def refused(refund: Refund, outcome: Rejected, now: datetime, policy: Policy) -> str | None:
    """The PSP said no. Answers why the refund has failed, or None where that is not certain, and it goes on."""
    operation = refund.operation
    assert operation is not None
    if operation.unknown:
        # an earlier call may still be under way, and this refusal be nothing but its shadow: what is there now?
        _deferred(refund, now, "unknown", outcome.message, now, open_=True, look_first=True)
        return None
    if outcome.code in NOT_YET and operation.retry_count < policy.max_retries:
        wait = policy.delay(operation.retry_count)
        _deferred(refund, now, "not_yet", outcome.message, now + wait, open_=False, retry_count=operation.retry_count + 1)
        return None
    return f"{outcome.code or outcome.status}: {outcome.message}"


def hindered(refund: Refund, outcome: NotExecuted, now: datetime, policy: Policy) -> None:
    """The PSP did not begin: the same call again soon, and no attempt is consumed."""
    operation = refund.operation
    assert operation is not None
    executing = outcome.why is Hindrance.LOCK_TIMEOUT and operation.attempt > 1  # it may be our own earlier call that holds it
    _deferred(
        refund,
        now,
        outcome.why.value,
        outcome.message,
        now + policy.hindered_delay(operation.hindered),
        open_=operation.unknown or executing,
        hindered=operation.hindered + 1,
        hindered_since=operation.hindered_since or now,
    )


def defer_unknown(refund: Refund, outcome: Unknown, now: datetime, policy: Policy, lost: int = 0) -> None:
    """Nobody can tell what happened: the same call again later, or, with no attempt left, a look at the PSP's books."""
    operation = refund.operation
    assert operation is not None
    count = operation.retry_count
    exhausted = count >= policy.max_retries
    _deferred(
        refund,
        now,
        "unknown",
        f"{outcome.why}: {outcome.message}",
        now + (policy.call_timeout if exhausted else policy.delay(count)),
        open_=True,
        retry_count=count + (not exhausted),
        exhausted=exhausted,
        lost=lost,
    )


def give_back(refund: Refund, attempt: int, why: str, now: datetime) -> None:
    """The call was not made after all: what was unknown before stays unknown."""
    if awaits(refund, attempt):
        assert refund.operation is not None
        _deferred(refund, now, "given_back", why, now, open_=refund.operation.unknown)


def undecided(refund: Refund, why: str, detail: str, now: datetime, policy: Policy) -> None:
    """It was asked about, and nothing is decided: asked again, less and less often."""
    operation = refund.operation
    assert operation is not None
    until = now + policy.delay(operation.retry_count)
    _deferred(refund, now, why, detail, until, open_=operation.open, retry_count=operation.retry_count + 1)


def postpone(refund: Refund, why: str, detail: str, until: datetime, now: datetime) -> None:
    """The same step again later: nothing was learned, and no attempt is consumed."""
    operation = refund.operation
    if operation is not None:
        _deferred(
            refund, now, why, detail, until, open_=operation.open, exhausted=operation.exhausted, look_first=operation.look_first
        )


def absent(refund: Refund, detail: str, now: datetime) -> str | None:
    """The PSP was asked, and has no such refund. Answers why it has failed where no attempt is left; else it is sent again."""
    operation = refund.operation
    assert operation is not None
    if operation.exhausted:
        return f"The payment provider was called {operation.attempt} times and has no such refund: {detail}"
    _deferred(refund, now, "absent", detail, now, open_=False)
    return None


def _deferred(
    refund: Refund,
    now: datetime,
    why: str,
    detail: str,
    until: datetime,
    *,
    open_: bool,
    retry_count: int | None = None,
    exhausted: bool = False,
    look_first: bool = False,
    hindered: int = 0,
    hindered_since: datetime | None = None,
    lost: int = 0,
) -> None:
    operation = refund.operation
    assert operation is not None
    refund.record(
        AttemptDeferred(
            **refund.next(now),
            why=why,
            detail=detail,
            retry_count=operation.retry_count if retry_count is None else retry_count,
            next_retry_at=until,
            open=open_,
            exhausted=exhausted,
            look_first=look_first,
            hindered=hindered,
            hindered_since=hindered_since,
            lost=lost,
        )
    )
