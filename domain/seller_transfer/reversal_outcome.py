"""What Stripe's answers to `POST /v1/transfers/{id}/reversals`, and a look at its books, do to a transfer.

A refusal is never decided by its wording: the transfer and all its reversals are read again, and what is there decides.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never
from uuid import UUID

from domain.identity import external_reversal, may_be_ours, reversal_name
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import Operation
from domain.provider_call.outcome import NotExecuted, Outcome, Rejected, Succeeded, Unknown
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, proves_absence
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal import Reason, Reversal, ReversalStatus
from domain.seller_transfer.stripe_call import (
    absent,
    awaits,
    defer_contradiction,
    defer_hindered,
    defer_refused,
    defer_unknown,
    keep_evidence,
    postpone,
)

US, EXTERNAL = "us", "external"
MOST_ROUNDS = 20
"""How often one refund may have asked one transfer anew, and still be recognised by the name of its reversal."""
NOT_ABOUT_FUNDS = ("parameter_", "account_", "amount_too_", "livemode_mismatch", "resource_missing")
"""Beginnings of codes of which it is documented that no balance is behind them."""


def needs_look(outcome: Outcome) -> bool:
    """Whether Stripe's books have to be read before this outcome can be recorded."""
    return isinstance(outcome, Rejected) and not _no_such_transfer(outcome)


def _no_such_transfer(outcome: Rejected) -> bool:
    return outcome.status == 404


def settle_reversal(
    transfer: SellerTransfer,
    reversal_id: str,
    attempt: int,
    outcome: Outcome,
    seen: TransferAtStripe | None,
    now: datetime,
    policy: Policy,
) -> None:
    """Record the outcome of one call; `seen` is the look at Stripe's books after a refusal, None if it could not be had."""
    if isinstance(outcome, Succeeded):
        take_in(transfer, reversal_id, outcome.stripe_id, outcome.amount, outcome.request_id, now)
        return
    operation = awaits(transfer, reversal_id, attempt)
    if operation is None:
        return
    match outcome:
        case Rejected():
            _rejected(transfer, operation, outcome, seen, now, policy)
        case NotExecuted():
            defer_hindered(transfer, outcome, now, policy)
        case Unknown():
            defer_unknown(transfer, outcome, now, policy)
        case _:
            assert_never(outcome)


def take_in(
    transfer: SellerTransfer,
    reversal_id: str,
    stripe_reversal_id: str,
    amount: int,
    request_id: str | None,
    now: datetime,
    note: str | None = None,
) -> None:
    """Stripe holds our reversal. Evidence that the present status cannot take in is kept, never refused."""
    reversal = transfer.reversals.get(reversal_id)
    if reversal is not None and reversal.state is ReversalStatus.FAILED and transfer.status is TransferStatus.PERMANENTLY_FAILED:
        transfer.reopen(f"stripe:{stripe_reversal_id}", "Stripe holds the reversal", now, reversal)
        reversal = transfer.reversals[reversal_id]
    if reversal is not None and reversal.state is ReversalStatus.REQUESTED:
        _settled(transfer, reversal, stripe_reversal_id, amount, US, now, note, request_id)
        transfer.release_queue(now)
    elif reversal is None or reversal.stripe_reversal_id != stripe_reversal_id:
        detail = f"Stripe holds {stripe_reversal_id} for a reversal that is {reversal.state if reversal else 'unknown'} here."
        keep_evidence(transfer, reversal_id, stripe_reversal_id, amount, detail, request_id, now)


def settled_by_stripe(
    transfer: SellerTransfer, reversal_id: str, made: ReversalAtStripe, now: datetime, note: str | None = None
) -> None:
    """This reversal at Stripe, ours or somebody else's, is the outcome of the one that runs."""
    by = US if made.reversal_id == reversal_id else EXTERNAL
    _settled(transfer, transfer.reversals[reversal_id], made.stripe_reversal_id, made.amount, by, now, note)


def _settled(
    transfer: SellerTransfer,
    reversal: Reversal,
    stripe_reversal_id: str | None,
    amount: int,
    settled_by: str,
    now: datetime,
    note: str | None = None,
    request_id: str | None = None,
) -> None:
    total = transfer.amount_reversed + amount
    if total >= transfer.amount:
        transfer.empty_queue(now)
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


def _rejected(
    transfer: SellerTransfer,
    operation: Operation,
    outcome: Rejected,
    seen: TransferAtStripe | None,
    now: datetime,
    policy: Policy,
) -> None:
    if _no_such_transfer(outcome):
        _not_found(transfer, operation, outcome, now, policy)
    elif seen is None:
        detail = f"Refused ({outcome.message}), and Stripe's books could not be read to tell why."
        postpone(transfer, "unread", detail, now + policy.delay(operation.retry_count), now)
    elif not _by_the_books(transfer, _closed_by(operation, outcome), seen, now):
        _refused_with_enough_left(transfer, operation, outcome, now, policy)


def _closed_by(operation: Operation, refusal: Rejected) -> Operation:
    """The operation after a definite answer; what was unknown before stays so, unless Stripe keeps to this answer."""
    return operation._replace(in_call=False, unknown=operation.unknown and not refusal.stored)


def _not_found(transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime, policy: Policy) -> None:
    if operation.unknown and not outcome.stored:
        defer_contradiction(transfer, outcome, now, policy)
    else:
        no_such_transfer(transfer, outcome.message, outcome.request_id, now)


def no_such_transfer(transfer: SellerTransfer, detail: str, request_id: str | None, now: datetime) -> None:
    """Stripe does not know the transfer: one answer is enough, a person is needed."""
    transfer.record(facts.PermanentlyFailed(**transfer.next(now), reason="not_found", detail=detail, request_id=request_id))


def _refused_with_enough_left(
    transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime, policy: Policy
) -> None:
    """Most likely the seller's balance is too low, for which Stripe has no dependable code: wait for it to be funded."""
    if operation.unknown and not outcome.stored:
        defer_contradiction(transfer, outcome, now, policy)
        return
    if outcome.says_reversed or (outcome.code or "").startswith(NOT_ABOUT_FUNDS):
        _refused(transfer, operation, outcome, now, policy)
        return
    since = operation.awaiting_since or now
    if now - since >= policy.funds_deadline:
        transfer.record(
            facts.PermanentlyFailed(
                **transfer.next(now), reason="funds_deadline", detail=outcome.message, request_id=outcome.request_id
            )
        )
        return
    defer_refused(transfer, "awaiting_funds", outcome, now + policy.funds_interval, now, waiting_for="funds")


def _refused(transfer: SellerTransfer, operation: Operation, outcome: Rejected, now: datetime, policy: Policy) -> None:
    """Waiting for money would not help: it costs attempts, and then a person is needed."""
    if operation.retry_count >= policy.max_retries:
        detail, request_id = outcome.message, outcome.request_id
        transfer.record(facts.PermanentlyFailed(**transfer.next(now), reason="rejected", detail=detail, request_id=request_id))
        return
    defer_refused(transfer, "rejected", outcome, now + policy.delay(operation.retry_count), now, spent=1)


def settle_look_up(transfer: SellerTransfer, seen: TransferAtStripe, now: datetime, look: LookUp | None = None) -> None:
    """What Stripe's books show for the running reversal: our own object, somebody else's, or that it is absent.

    `look` is the step that was taken: what it did not find proves nothing about a call that began after it.
    """
    operation, reversal = transfer.operation, transfer.in_flight
    if operation is None or reversal is None or operation.what != reversal.reversal_id:
        return
    current = proves_absence(look, operation)
    # all pages were read: nothing of ours can be hidden, unless it was sent since
    closed = operation._replace(in_call=False, unknown=False) if current else operation
    if _by_the_books(transfer, closed, seen, now) or not current:
        return
    if operation.exhausted:
        detail = "No attempt is left, and Stripe's books show no such reversal."
        transfer.record(facts.PermanentlyFailed(**transfer.next(now), reason="exhausted", detail=detail))
    else:
        absent(transfer, "Stripe's books show no such reversal; it is sent next.", now)


def _by_the_books(transfer: SellerTransfer, operation: Operation, seen: TransferAtStripe, now: datetime) -> bool:
    """Decide from what is at Stripe, if that decides: True when it did."""
    reversal = transfer.reversals[operation.what]
    ours = next((made for made in seen.reversals if made.reversal_id == reversal.reversal_id), None)
    if ours is not None:
        note = "found in Stripe's books"
        take_in(transfer, reversal.reversal_id, ours.stripe_reversal_id, ours.amount, None, now, note)
    elif _tried_before(transfer, reversal) and not operation.open and _by_the_older_system(transfer, reversal, seen, now):
        return True
    elif seen.left == 0:
        _nothing_left(transfer, reversal, seen, now)
    elif seen.left < reversal.amount and not operation.open:
        _less_left(transfer, reversal, operation, seen, now)
    else:
        return False
    return True


def _tried_before(transfer: SellerTransfer, reversal: Reversal) -> bool:
    given_up = reversal.refund_id is not None and reversal.refund_id == transfer.refund_given_up
    return reversal.reason == Reason.IMPORTED or given_up


def _by_the_older_system(transfer: SellerTransfer, reversal: Reversal, seen: TransferAtStripe, now: datetime) -> bool:
    """Whether it may have asked Stripe itself, before it was taken over: what is there of just that amount is the outcome,
    and of what only may be a part of it a person decides. Nothing is taken twice."""
    others = strangers(transfer, seen)
    same = next((made for made in others if made.amount == reversal.amount), None)
    if same is not None:
        settled_by_stripe(transfer, reversal.reversal_id, same, now, note="made by the older system")
        transfer.release_queue(now)
    elif others and seen.left >= reversal.amount:
        other = others[-1]
        detail = f"{other.stripe_reversal_id} took {other.amount} back, {reversal.amount} is asked: it may be meant by that."
        keep_evidence(transfer, reversal.reversal_id, other.stripe_reversal_id, other.amount, detail, None, now)
    return same is not None or (bool(others) and seen.left >= reversal.amount)


def strangers(transfer: SellerTransfer, seen: TransferAtStripe) -> list[ReversalAtStripe]:
    """Reversals at Stripe that are not ours and not recorded yet, oldest first."""
    known = set(transfer.reversals)
    settled = {reversal.stripe_reversal_id for reversal in transfer.reversals.values()}
    unnamed = [
        reversal
        for reversal in reversed(seen.reversals)
        if reversal.reversal_id not in known
        and reversal.stripe_reversal_id not in settled
        and external_id(transfer.id, reversal.stripe_reversal_id) not in known
        # ours, for a refund that a restore has lost: as somebody else's it would count once more when that is told again
        and not names_ours(transfer, reversal)
    ]
    return _not_in_the_sum(transfer, unnamed)


def names_ours(transfer: SellerTransfer, made: ReversalAtStripe) -> bool:
    """Whether this ledger has asked for it, as far as its name tells. An older system may have used names that look like ours;
    those that follow from transfer and refund are nobody else's."""
    if not transfer.imported or made.refund_id is None:
        return not transfer.imported and may_be_ours(made.reversal_id)
    return made.reversal_id in {str(reversal_name(transfer.id, made.refund_id, n)) for n in range(1, MOST_ROUNDS + 1)}


def _not_in_the_sum(transfer: SellerTransfer, unnamed: Sequence[ReversalAtStripe]) -> list[ReversalAtStripe]:
    """Those that are not in `amount_reversed` yet: what came back before the transfer was taken over from an older system,
    or by several strangers together, is recorded as a sum, and the oldest are in it."""
    summed = transfer.amount_reversed - sum(c.settled for c in transfer.reversals.values() if c.stripe_reversal_id)
    left: list[ReversalAtStripe] = []
    for reversal in unnamed:
        if reversal.amount <= summed:
            summed -= reversal.amount
        else:
            left.append(reversal)
    return left


def external_id(transfer_id: UUID, stripe_reversal_id: str) -> str:
    """Our id for a reversal that somebody else made at Stripe."""
    return str(external_reversal(transfer_id, stripe_reversal_id))


def _nothing_left(transfer: SellerTransfer, reversal: Reversal, seen: TransferAtStripe, now: datetime) -> None:
    others = strangers(transfer, seen)
    theirs = others[0].stripe_reversal_id if len(others) == 1 else None
    unrecorded = seen.amount_reversed - transfer.amount_reversed
    amount = min(reversal.amount, unrecorded) if transfer.queue else unrecorded
    listed = ", ".join(reversal.stripe_reversal_id for reversal in others) or "reversals known here already"
    _settled(transfer, reversal, theirs, amount, EXTERNAL, now, note=f"Taken back outside this ledger by {listed}.")
    transfer.release_queue(now)
    if transfer.in_flight is not None:  # the rest of it stands for what waited
        _nothing_left(transfer, transfer.in_flight, seen, now)


def _less_left(transfer: SellerTransfer, reversal: Reversal, operation: Operation, seen: TransferAtStripe, now: datetime) -> None:
    """Somebody else took part of it: record that, and ask under a new key for what is left."""
    for external in strangers(transfer, seen):
        _record_external(transfer, external, now)
    note = f"{reversal.amount} was asked, {seen.left} is left at Stripe."
    transfer.record(
        facts.ReversalRequested(
            **transfer.next(now),
            reversal_id=reversal.reversal_id,
            refund_id=reversal.refund_id,
            amount=seen.left,
            reason=reversal.reason,
            next_retry_at=now,
            epoch=operation.epoch + 1,
            note=note,
        )
    )


def _record_external(transfer: SellerTransfer, external: ReversalAtStripe, now: datetime, note: str | None = None) -> None:
    """A reversal nobody of us asked for: its request and its outcome in one append, never sent."""
    stranger = external_id(transfer.id, external.stripe_reversal_id)
    transfer.record(
        facts.ReversalRequested(
            **transfer.next(now),
            reversal_id=stranger,
            refund_id=None,
            amount=external.amount,
            reason=Reason.EXTERNAL.value,
            next_retry_at=now,
            note=note or _made_by(external),
        )
    )
    reversal = transfer.reversals[stranger]
    _settled(transfer, reversal, external.stripe_reversal_id, external.amount, EXTERNAL, now)


def _made_by(reversal: ReversalAtStripe) -> str:
    if reversal.source_refund is not None:
        return f"made at Stripe by refund {reversal.source_refund} with reverse_transfer"
    return "made at Stripe outside this ledger"


def record_external(
    transfer: SellerTransfer, seen: TransferAtStripe, now: datetime, note: str | None = None, only: str | None = None
) -> None:
    """Take in what others reversed at Stripe; while a reversal of ours runs, attribution waits for its outcome.

    `note` says how it was noticed, where Stripe did not tell us; `only` this one of Stripe's reversals.
    """
    if transfer.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED):
        for reversal in strangers(transfer, seen):
            if only in (None, reversal.stripe_reversal_id):
                _record_external(transfer, reversal, now, note)
