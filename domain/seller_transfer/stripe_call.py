"""What calling Stripe for a transfer or a reversal has in common: when to send, when to read first, how to put off.

Intent is recorded before the call, the outcome by itself; a call found without an outcome counts as Unknown. Once unknown, an
operation stays open, under the same key and body, until success, a stored rejection or a look at Stripe's books.
"""

from datetime import datetime

from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, LookFirst, Operation
from domain.provider_call.outcome import Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.request_body import ReversalBody, TransferBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LOST_IN_A_ROW, LookUp, Rest, Send, Step
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.payment_hold import stay_held

EVIDENCE_HELD = "evidence_held"


def begin(transfer: SellerTransfer, now: datetime, policy: Policy, look_first: LookFirst | None = None) -> Step:
    """The next step of a claimed transfer, with its intent recorded. After a restore, `look_first` comes before any send."""
    operation = transfer.operation
    if operation is None or transfer.next_retry_at is None:
        return Rest("nothing is due")
    if transfer.next_retry_at > now:
        return Rest("not due yet")
    if operation.what != TRANSFER and not transfer.stripe_transfer_id:
        return _without_stripe_id(transfer, now)
    if operation.in_call and operation.lost + 1 >= LOST_IN_A_ROW:
        lost = operation.lost + 1
        vanished = Unknown("lease_lost", f"The caller vanished {lost} times in a row.")
        defer_unknown(transfer, vanished, now, policy, lost)
        return Rest("its caller vanished repeatedly")
    if operation.must_look_up(now, policy, look_first):
        return _look_up(transfer, operation, now, policy, look_first)
    return _send(transfer, operation, now)


def _without_stripe_id(transfer: SellerTransfer, now: datetime) -> Step:
    detail = "The transfer has no Stripe id, so there is nothing that a reversal could be asked of."
    transfer.record(facts.PermanentlyFailed(**transfer.next(now), reason="no_stripe_transfer_id", detail=detail))
    return Rest(detail)


def _look_up(transfer: SellerTransfer, operation: Operation, now: datetime, policy: Policy, look_first: LookFirst | None) -> Step:
    settled_at = (operation.last_began or transfer.created_on) + policy.call_timeout
    if operation.last_began is not None and now < settled_at:
        # absence proves something only when no call of ours can still be under way
        postpone(transfer, "look_up_later", "A call may still be under way.", settled_at, now)
        return Rest("a call may still be under way")
    began = operation.first_began or transfer.begun_at
    # after a restore a transfer may be older at Stripe than its order is here
    since = min(began, look_first.lost_since) if look_first is not None else began
    return LookUp(operation.what, since, operation.attempt)


def _send(transfer: SellerTransfer, operation: Operation, now: datetime) -> Step:
    body = _transfer_body(transfer) if operation.what == TRANSFER else _reversal_body(transfer, operation.what)
    attempt, key = operation.attempt + 1, operation.key(transfer.id)
    transfer.record(
        facts.CallStarted(**transfer.next(now), what=operation.what, attempt=attempt, epoch=operation.epoch, key=key, body=body)
    )
    return Send(operation.what, attempt, key, body)


def _transfer_body(transfer: SellerTransfer) -> TransferBody:
    body = TransferBody(
        amount=transfer.amount,
        currency=transfer.currency.lower(),
        destination=transfer.destination,
        transfer_group=transfer.transfer_group,
        metadata={
            "transfer_id": str(transfer.id),
            "order_id": transfer.order_id,
            "seller_id": transfer.seller_id,
        },
    )
    if transfer.source_transaction is not None:
        body["source_transaction"] = transfer.source_transaction
    return body


def _reversal_body(transfer: SellerTransfer, reversal_id: str) -> ReversalBody:
    reversal = transfer.reversals[reversal_id]
    metadata = {"reversal_id": reversal_id, "transfer_id": str(transfer.id), "order_id": transfer.order_id}
    if reversal.refund_id is not None:
        metadata["refund_id"] = reversal.refund_id
    return ReversalBody(
        stripe_transfer_id=transfer.stripe_transfer_id or "", amount=reversal.amount, reason=reversal.reason, metadata=metadata
    )


def awaits(transfer: SellerTransfer, what: str, attempt: int) -> Operation | None:
    """The operation that this call belongs to, while it still awaits the outcome of just this call."""
    operation = transfer.operation
    mine = operation is not None and operation.what == what and operation.attempt == attempt and operation.in_call
    return operation if mine else None


# --- putting off ----------------------------------------------------------------------------------------------------


def defer_unknown(transfer: SellerTransfer, outcome: Unknown, now: datetime, policy: Policy, lost: int = 0) -> None:
    """Nobody can tell what happened: the same key again later, or, with no attempt left, Stripe's books."""
    operation = transfer.operation
    assert operation is not None
    count = operation.retry_count
    exhausted = count >= policy.max_retries and not outcome.replayed
    counted = not exhausted and not outcome.replayed
    # a key that answers with a stored 5xx will never say anything else: the books can
    wait = policy.call_timeout if exhausted or outcome.replayed else policy.delay(count)
    _deferred(
        transfer,
        now,
        why="unknown",
        detail=f"{outcome.why}: {outcome.message}",
        retry_count=count + counted,
        next_retry_at=now + wait,
        open_=True,
        exhausted=exhausted,
        look_first=outcome.replayed,
        lost=lost,
        request_id=outcome.request_id,
    )


def defer_hindered(transfer: SellerTransfer, outcome: NotExecuted, now: datetime, policy: Policy) -> None:
    """Stripe did not begin: the same key again soon, and no attempt is consumed."""
    operation = transfer.operation
    assert operation is not None
    executing = outcome.why is Hindrance.KEY_IN_USE  # an earlier request with this key is under way, so it is open
    _deferred(
        transfer,
        now,
        why=outcome.why.value,
        detail=outcome.message,
        next_retry_at=now + policy.hindered_delay(operation.hindered),
        open_=operation.unknown or executing,
        hindered=operation.hindered + 1,
        hindered_since=operation.hindered_since or now,
        request_id=outcome.request_id,
    )


def defer_contradiction(transfer: SellerTransfer, outcome: Rejected, now: datetime, policy: Policy) -> None:
    """A refusal that Stripe did not store says nothing about an earlier unknown attempt: the operation stays open."""
    defer_unknown(transfer, Unknown("rejected_while_open", outcome.message, outcome.status, outcome.request_id), now, policy)


def give_back(transfer: SellerTransfer, attempt: int, why: str, now: datetime) -> None:
    """The call was not made after all: its intent is taken back, and what was unknown before stays unknown."""
    operation = transfer.operation
    if operation is not None and operation.attempt == attempt and operation.in_call:
        _deferred(transfer, now, why="given_back", detail=why, next_retry_at=now, open_=operation.unknown)


def forgive(transfer: SellerTransfer, what: str, attempt: int, now: datetime) -> None:
    """Stripe was down for everybody: the attempt that this spent is given back, once. What is unknown stays so."""
    operation = transfer.operation
    if operation is None or operation.what != what or operation.attempt != attempt or operation.forgiven == attempt:
        return
    if operation.in_call or not operation.unknown or operation.look_first:
        return  # nobody knows yet, or it was no failed attempt
    _deferred(
        transfer,
        now,
        why="outage",
        detail="Stripe answered nobody.",
        retry_count=max(0, operation.retry_count - (not operation.exhausted)),
        next_retry_at=transfer.next_retry_at or now,
        open_=True,
        given_back=attempt,
    )


def postpone(transfer: SellerTransfer, why: str, detail: str, until: datetime, now: datetime) -> None:
    """Try the same step again later: nothing was learned, and no attempt is consumed. What is given up stays so."""
    operation = transfer.operation
    if operation is None or transfer.status is TransferStatus.PERMANENTLY_FAILED:
        return
    _deferred(transfer, now, why=why, detail=detail, next_retry_at=until, open_=operation.open, exhausted=operation.exhausted)


def absent(transfer: SellerTransfer, detail: str, now: datetime) -> None:
    """Stripe's books were read and do not show it: it goes out under a new key, unless none was ever used.

    The first key is kept, since a restored ledger may have used it for the same: Stripe would recognise it.
    """
    operation = transfer.operation
    assert operation is not None
    used = operation.first_began is not None
    _deferred(transfer, now, why=facts.ABSENT, detail=detail, next_retry_at=now, open_=False, epoch=operation.epoch + used)


def defer_refused(
    transfer: SellerTransfer,
    why: str,
    outcome: Rejected,
    until: datetime,
    now: datetime,
    *,
    waiting_for: str | None = None,
    spent: int = 0,
) -> None:
    """Definitely not done: it is asked for again, under a new key if Stripe keeps to its answer. `spent` attempts count."""
    operation = transfer.operation
    assert operation is not None
    since = (operation.awaiting_since or now) if waiting_for else None
    _deferred(
        transfer,
        now,
        why=why,
        detail=outcome.message,
        retry_count=operation.retry_count + spent,
        next_retry_at=until,
        open_=False,
        epoch=operation.epoch + outcome.stored,
        waiting_for=waiting_for,
        awaiting_since=since,
        request_id=outcome.request_id,
    )


def _deferred(
    transfer: SellerTransfer,
    now: datetime,
    *,
    why: str,
    detail: str,
    next_retry_at: datetime,
    open_: bool,
    retry_count: int | None = None,
    epoch: int | None = None,
    exhausted: bool = False,
    look_first: bool = False,
    hindered: int = 0,
    lost: int = 0,
    waiting_for: str | None = None,
    awaiting_since: datetime | None = None,
    hindered_since: datetime | None = None,
    given_back: int | None = None,
    request_id: str | None = None,
) -> None:
    operation = transfer.operation
    assert operation is not None
    transfer.record(
        facts.AttemptDeferred(
            **transfer.next(now),
            what=operation.what,
            why=why,
            detail=detail,
            retry_count=operation.retry_count if retry_count is None else retry_count,
            next_retry_at=next_retry_at,
            epoch=operation.epoch if epoch is None else epoch,
            open=open_,
            exhausted=exhausted,
            look_first=look_first,
            hindered=hindered,
            lost=lost,
            waiting_for=waiting_for,
            awaiting_since=awaiting_since if waiting_for else operation.awaiting_since,
            hindered_since=hindered_since,
            given_back=given_back,
            request_id=request_id,
        )
    )
    stay_held(transfer, now)


def keep_evidence(
    transfer: SellerTransfer, what: str, stripe_id: str, amount: int, detail: str, request_id: str | None, now: datetime
) -> None:
    """Keep what Stripe did although the present status cannot take it in, and send nothing more for that operation.

    Twice is as good as once; what is taken up again while nothing else is known stops again.
    """
    running = transfer.operation is not None and transfer.operation.what == what and transfer.next_retry_at is not None
    if transfer.evidence.get(stripe_id) != what:
        transfer.record(
            facts.EvidenceHeld(
                **transfer.next(now), what=what, stripe_id=stripe_id, amount=amount, detail=detail, request_id=request_id
            )
        )
    if running:
        stop(transfer, EVIDENCE_HELD, detail, request_id, now)


def stop(transfer: SellerTransfer, reason: str, detail: str, request_id: str | None, now: datetime) -> None:
    """Nothing more is sent for the running operation: a person is needed."""
    operation = transfer.operation
    assert operation is not None
    if transfer.status is TransferStatus.PENDING:
        transfer.record(
            facts.Failed(
                **transfer.next(now),
                reason=reason,
                code=None,
                detail=detail,
                retry_count=operation.retry_count,
                next_retry_at=now,
                epoch=operation.epoch,
                request_id=request_id,
            )
        )
    transfer.record(facts.PermanentlyFailed(**transfer.next(now), reason=reason, detail=detail, request_id=request_id))
