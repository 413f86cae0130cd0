"""Calls to Stripe for a transfer or a reversal: next step, frozen body, deferral, evidence, end of
a reversal.

The intent is recorded before the call, the outcome in an append of its own. A call that is found
without an outcome counts as unknown. After an unknown outcome an operation stays open, under the
same key and body, until success, a stored rejection or a look-up at Stripe.
"""

from datetime import datetime

from domain.identity import compensated
from domain.lifecycle import TransferStatus
from domain.provider_call import deferral
from domain.provider_call.operation import TRANSFER, LookFirst, Operation
from domain.provider_call.outcome import Hindrance, NotExecuted, Unknown
from domain.provider_call.reasons import DeferralReason, FailureReason
from domain.provider_call.request_body import ReversalBody, TransferBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send, Step
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.giving_up import give_up, stop
from domain.seller_transfer.reversal import Reversal, ReversalStatus

US, EXTERNAL = "us", "external"
"""Values of `settled_by`: the ledger made the reversal, or others did."""


def begin(
    transfer: SellerTransfer,
    now: datetime,
    policy: Policy,
    look_first: LookFirst | None = None,
    ledger_id: str | None = None,
) -> Step:
    """Return the next step of a claimed transfer, with its intent recorded.

    `look_first`: after a restore, each operation is looked up at Stripe before its next call.
    `ledger_id`: the identity of the database, in keys and metadata.
    """
    operation = transfer.operation
    if operation is None or transfer.next_retry_at is None:
        return Rest("nothing is due")
    if transfer.next_retry_at > now:
        return Rest("not due yet")
    if operation.what != TRANSFER and not transfer.stripe_transfer_id:
        detail = (
            "The transfer has no Stripe id, so there is nothing that a reversal could be asked of."
        )
        give_up(transfer, FailureReason.NO_STRIPE_TRANSFER_ID, detail, None, now)
        return Rest(detail)
    if (lost := deferral.vanished(operation, now, policy)) is not None:
        transfer.defer(lost, now)
        return Rest("its caller vanished repeatedly")
    if not operation.must_look_up(now, policy, look_first):
        return _send(transfer, operation, now, ledger_id)
    if (ends_by := operation.under_way_until(now, policy)) is not None:
        postpone(
            transfer, DeferralReason.LOOK_UP_LATER, "A call may still be under way.", ends_by, now
        )
        return Rest("a call may still be under way")
    # From the transfer's first instant on, not from its first call: the clock of the process that
    # recorded the call may have been ahead. After a restore a transfer may be older at Stripe than
    # its order is here.
    began = transfer.begun_at
    since = min(began, look_first.lost_since) if look_first is not None else began
    restored = look_first is not None
    return LookUp(operation.what, since, operation.attempt, restored=restored, begun_at=now)


def _send(
    transfer: SellerTransfer, operation: Operation, now: datetime, ledger_id: str | None
) -> Step:
    attempt, key = operation.attempt + 1, operation.key(transfer.id, ledger_id)
    body = (
        _transfer_body(transfer)
        if operation.what == TRANSFER
        else _reversal_body(transfer, operation.what)
    )
    if ledger_id is not None and key.endswith(ledger_id):  # the same body under the same key
        body["metadata"]["ledger_id"] = ledger_id
    transfer.record(
        facts.CallStarted(
            **transfer.next(now),
            what=operation.what,
            attempt=attempt,
            epoch=operation.epoch,
            key=key,
            body=body,
        )
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
    if (given_back := compensated(transfer.cause)) is not None:
        # with these, a restored ledger recognises a compensation that it has lost
        body["metadata"]["refund_id"] = given_back.cause_id
        body["metadata"]["compensates"] = given_back.transfer_id
    if (source := transfer.source_now) is not None:
        body["source_transaction"] = source
    return body


def _reversal_body(transfer: SellerTransfer, reversal_id: str) -> ReversalBody:
    reversal = transfer.reversals[reversal_id]
    metadata = {
        "reversal_id": reversal_id,
        "transfer_id": str(transfer.id),
        "order_id": transfer.order_id,
    }
    if reversal.refund_id is not None:
        metadata["refund_id"] = reversal.refund_id
    return ReversalBody(
        stripe_transfer_id=transfer.stripe_transfer_id or "",
        amount=reversal.amount,
        reason=reversal.reason,
        metadata=metadata,
        currency=transfer.currency,
    )


# --- outcomes that transfers and reversals share --------------------------------------------------


def defer_not_done(
    transfer: SellerTransfer,
    operation: Operation,
    outcome: NotExecuted | Unknown,
    now: datetime,
    policy: Policy,
) -> None:
    """Defer a call that Stripe did not begin, or that has an unknown outcome."""
    if isinstance(outcome, Unknown):
        transfer.defer(deferral.unknown(operation, outcome, now, policy), now)
    else:
        # an earlier request with this key is under way, so the operation is open
        executing = outcome.why is Hindrance.KEY_IN_USE
        transfer.defer(
            deferral.not_executed(operation, outcome, now, policy, executing=executing), now
        )


def give_back(transfer: SellerTransfer, what: str, attempt: int, why: str, now: datetime) -> None:
    """Take back the intent of a call that was not made; doubts about earlier calls remain."""
    operation = transfer.operation
    if operation is not None and operation.awaits(what, attempt):
        transfer.defer(deferral.given_back(operation, why, transfer.next_retry_at, now), now)


def forgive(transfer: SellerTransfer, what: str, attempt: int, now: datetime) -> None:
    """Give an attempt back, once, that an outage of Stripe has consumed. Its outcome stays
    unknown."""
    operation = transfer.operation
    if (
        operation is None
        or (operation.what, operation.attempt) != (what, attempt)
        or operation.forgiven == attempt
    ):
        return
    if operation.in_call or not operation.unknown or operation.look_first:
        return  # the outcome is still to come, or the attempt did not fail
    transfer.defer(deferral.outage(operation, transfer.next_retry_at or now), now)


def postpone(
    transfer: SellerTransfer, why: DeferralReason, detail: str, until: datetime, now: datetime
) -> None:
    """Repeat the same step later: nothing was learned, and no attempt is consumed. A permanent
    failure stays."""
    operation = transfer.operation
    if operation is not None and transfer.status is not TransferStatus.PERMANENTLY_FAILED:
        transfer.defer(deferral.postponed(operation, why, detail, until), now)


def send_again(
    transfer: SellerTransfer,
    operation: Operation,
    detail: str,
    now: datetime,
    policy: Policy,
    look: LookUp | None,
) -> None:
    """Send the operation at once, since Stripe's records do not contain it, under the same key
    unless that is spent.

    Under the same key, Stripe recognises a call that arrives late all the same, of a process that
    was frozen or of a ledger that a restore has lost. A key that became too old since the look-up
    began needs another look-up: that call may have arrived meanwhile.
    """
    looked_at = now if look is None or look.begun_at is None else look.begun_at
    epoch = operation.epoch + operation.is_spent(looked_at, policy)
    transfer.defer(deferral.absent(operation, detail, now, epoch=epoch), now)


def keep_evidence(
    transfer: SellerTransfer,
    what: str,
    stripe_id: str,
    amount: int,
    detail: str,
    request_id: str | None,
    now: datetime,
) -> None:
    """Record an object at Stripe that the present status cannot take, and send nothing more for its
    operation.

    The same object is recorded once. An operation that was reopened without new knowledge stops
    again.
    """
    running = (
        transfer.operation is not None
        and transfer.operation.what == what
        and transfer.next_retry_at is not None
    )
    if transfer.evidence.get(stripe_id) != what:
        transfer.record(
            facts.EvidenceHeld(
                **transfer.next(now),
                what=what,
                stripe_id=stripe_id,
                amount=amount,
                detail=detail,
                request_id=request_id,
            )
        )
    if running:
        stop(transfer, FailureReason.EVIDENCE_HELD, detail, request_id, now)


def end_reversal(
    transfer: SellerTransfer,
    reversal: Reversal,
    stripe_reversal_id: str | None,
    amount: int,
    settled_by: str,
    now: datetime,
    note: str | None = None,
    request_id: str | None = None,
) -> None:
    """Record that Stripe has reversed `amount` by this reversal. Reversals that wait are lowered or
    withdrawn at once if too little is left for them."""
    total = transfer.amount_reversed + amount
    others = sum(
        other.amount
        for other in transfer.reversals.values()
        if other.reversal_id != reversal.reversal_id
        and other.state in (ReversalStatus.REQUESTED, ReversalStatus.FAILED)
    )
    transfer.fit_queue(transfer.amount - total - others, now)
    if amount < reversal.amount and reversal.refund_id is not None:
        transfer.shortened.add(reversal.refund_id)
    ending = facts.Reversed if total >= transfer.amount else facts.PartiallyReversed
    transfer.record(
        ending(
            **transfer.next(now),
            reversal_id=reversal.reversal_id,
            stripe_reversal_id=stripe_reversal_id,
            amount=amount,
            amount_reversed=total,
            settled_by=settled_by,
            drift=amount - reversal.amount,
            note=note,
            request_id=request_id,
        )
    )
