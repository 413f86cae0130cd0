"""One sentence per fact of a seller transfer: what happened, and what happens next."""

from typing import assert_never

from domain.identity import DISPUTE, SALE
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER
from domain.provider_call.reasons import DeferralReason, WaitingFor
from domain.seller_transfer import facts
from domain.seller_transfer.facts import AnyTransferFact
from domain.seller_transfer.reversal import Reason
from projections.audit_trail.text import aside, at, clause, money

_UNTIL: dict[str, str] = {
    WaitingFor.TRANSFER: "until it is known what became of the transfer itself",
    WaitingFor.REVERSAL: "until the reversal before it is settled",
    WaitingFor.OPERATOR: "until an operator retries the transfer",
    WaitingFor.FUNDS: "until the balance is sufficient",
    "payment": "until a person is sure of the buyer's payment, and retries or resolves it",
    WaitingFor.ACCOUNT: "until the seller's account is ready and an operator retries",
}
_NEXT = {
    TransferStatus.PENDING: "Stripe's books are read before it is sent",
    TransferStatus.FAILED: "Stripe's books are read before it is sent again",
    TransferStatus.COMPLETED: "nothing is due",
    TransferStatus.REVERSAL_PENDING: "Stripe's books are read before its reversal goes on",
    TransferStatus.REVERSED: "nothing is due",
    TransferStatus.PERMANENTLY_FAILED: "a person has to decide",
    TransferStatus.PARTIALLY_REVERSED: "nothing is due",
    TransferStatus.CANCELLED: "nothing is sent",
}

_UNCLEARED = (
    "the older system may have paid it, so nothing is sent until a person clears it: `retry` looks for it at Stripe first, "
    "and `resolve` takes in what is there"
)


def sentence(fact: AnyTransferFact, currency: str | None) -> str:
    """What happened to the transfer, and what happens next."""
    match fact:
        case facts.Created():
            return _created(fact)
        case facts.Imported():
            return _imported(fact)
        case facts.CallStarted():
            return _call_started(fact)
        case facts.Completed():
            return _completed(fact, currency)
        case facts.Failed():
            return _failed(fact)
        case facts.AttemptDeferred():
            return _deferred(fact)
        case facts.AmountReduced():
            return _reduced(fact, currency)
        case facts.Cancelled():
            return _cancelled(fact, currency)
        case facts.ReversalQueued():
            return _queued(fact, currency)
        case facts.ReversalRequested():
            return _requested(fact, currency)
        case facts.ReversalReduced():
            return _reversal_reduced(fact, currency)
        case facts.ReversalWithdrawn():
            return _withdrawn(fact, currency)
        case facts.ReversalContested():
            return _contested(fact)
        case facts.PartiallyReversed() | facts.Reversed():
            return _settled(fact, currency)
        case facts.PermanentlyFailed():
            return f"It is given up ({fact.reason}: {clause(fact.detail)}); a person has to decide."
        case facts.EvidenceHeld():
            return _evidence(fact, currency)
        case facts.HeldBack():
            return _held_back(fact)
        case facts.RetryRequested():
            return f"{fact.actor!r} wants it tried now, because {clause(fact.reason)!r}; it is due at {at(fact.next_retry_at)}."
        case facts.Reopened():
            return _reopened(fact, currency)
        case facts.Resolved():
            return _resolved(fact)
        case facts.StripeTransferIdBackfilled():
            return _backfilled(fact)
        case _:
            assert_never(fact)


def _operation(what: str) -> str:
    return "the transfer" if what == TRANSFER else f"the reversal {what!r}"


def _waits(waiting_for: str) -> str:
    return f"it waits {_UNTIL.get(waiting_for, f'for {waiting_for}')}"


def _cause(refund_id: str | None) -> str:
    if refund_id is not None and refund_id.startswith(DISPUTE):
        return f"Dispute {refund_id.removeprefix(DISPUTE)!r}"
    return f"Refund {refund_id!r}" if refund_id is not None else "A cause without a refund"


# --- the transfer itself ----------------------------------------------------------------------------------------------


def _created(fact: facts.Created) -> str:
    amount = money(fact.amount, fact.currency)
    if fact.cause == SALE:
        why = f"Seller {fact.seller_id!r} is to be paid {amount} for order {fact.order_id!r}"
    else:
        why = f"Seller {fact.seller_id!r} is to be given back {amount}, taken in vain for order {fact.order_id!r}"
    return f"{why}; the transfer to {fact.destination!r} is due at {at(fact.next_retry_at)}."


def _imported(fact: facts.Imported) -> str:
    amount, back = money(fact.amount, fact.currency), money(fact.amount_reversed, fact.currency)
    whose = f"{amount} for seller {fact.seller_id!r} of order {fact.order_id!r}, {back} of it reversed"
    next_ = _UNCLEARED if fact.uncleared else _NEXT[TransferStatus(fact.status)]
    return f"Taken over from an older system as {fact.status}: {whose} ({clause(fact.evidence)}); {next_}."


def _call_started(fact: facts.CallStarted) -> str:
    return f"Call {fact.attempt} to Stripe for {_operation(fact.what)} begins, under the key {fact.key!r}; its outcome follows."


def _completed(fact: facts.Completed, currency: str | None) -> str:
    paid = f"the seller is paid {money(fact.amount, currency)}"
    return f"Stripe holds the transfer {fact.stripe_transfer_id!r}{aside(fact.note)}: {paid}, and nothing more is to be sent."


def _failed(fact: facts.Failed) -> str:
    code = f" with {fact.code!r}" if fact.code else ""
    waits = [_waits(fact.waiting_for)] if fact.waiting_for else []
    again = [f"it is tried again at {at(fact.next_retry_at)}"] if fact.next_retry_at else []
    next_ = ", and ".join(waits + again) or "it is not tried again by itself"
    return f"The transfer is definitely not made, refused{code} ({clause(fact.detail)}); {next_}."


def _deferred(fact: facts.AttemptDeferred) -> str:
    operation, when, why = _operation(fact.what), at(fact.next_retry_at), clause(fact.detail)
    if fact.why == DeferralReason.UNKNOWN and fact.exhausted:
        return f"The last attempt for {operation} is unknown too ({why}); at {when} Stripe's books are read, and nothing is sent."
    if fact.why == DeferralReason.UNKNOWN:
        return f"Nobody can tell whether Stripe made {operation} ({why}); the same key is used again at {when}."
    if fact.why == DeferralReason.ABSENT:
        return f"Stripe's books were read for {operation} and do not show it; it is sent at {when}."
    if fact.given_back is not None:
        return (
            f"Stripe was down for everybody, so attempt {fact.given_back} for {operation} does not count; it goes on at {when}."
        )
    if fact.why == DeferralReason.REJECTED:
        return f"Stripe refused {operation} ({why}); it is asked for again at {when}."
    if fact.waiting_for:
        return f"Stripe refused {operation} ({why}); {_waits(fact.waiting_for)}, and is tried again at {when}."
    return f"The attempt for {operation} is put off, and none is used up ({fact.why}: {why}); it goes on at {when}."


def _reduced(fact: facts.AmountReduced, currency: str | None) -> str:
    by, left = money(fact.by, currency), money(fact.amount, currency)
    return f"{_cause(fact.refund_id)} takes {by} off before the money leaves; {left} remain to be sent."


def _cancelled(fact: facts.Cancelled, currency: str | None) -> str:
    by = money(fact.by, currency)
    return f"{_cause(fact.refund_id)} takes the whole rest of {by} before the money leaves; nothing is sent."


def _backfilled(fact: facts.StripeTransferIdBackfilled) -> str:
    evidence = clause(fact.evidence)
    return (
        f"{fact.actor!r} enters the missing Stripe id {fact.stripe_transfer_id!r} ({evidence}); reversals can be asked for now."
    )


# --- its reversals ----------------------------------------------------------------------------------------------------


def _queued(fact: facts.ReversalQueued, currency: str | None) -> str:
    asks = f"{_cause(fact.refund_id)} asks {money(fact.amount, currency)} back by reversal {fact.reversal_id!r}"
    return f"{asks}; {_waits(fact.waiting_for)}."


def _requested(fact: facts.ReversalRequested, currency: str | None) -> str:
    amount = money(fact.amount, currency)
    if fact.reason == Reason.EXTERNAL:
        return f"Somebody took {amount} back at Stripe; it is recorded as reversal {fact.reversal_id!r}, and nothing is sent."
    asks = f"{_cause(fact.refund_id)} asks {amount} back by reversal {fact.reversal_id!r}{aside(fact.note)}"
    return f"{asks}; it is due at {at(fact.next_retry_at)}."


def _reversal_reduced(fact: facts.ReversalReduced, currency: str | None) -> str:
    return f"Because of {fact.cause_id!r}, reversal {fact.reversal_id!r} is to take only {money(fact.amount, currency)}."


def _withdrawn(fact: facts.ReversalWithdrawn, currency: str | None) -> str:
    what = f"reversal {fact.reversal_id!r} of {money(fact.amount, currency)} is withdrawn before it was sent"
    return f"Because of {fact.cause_id!r}, {what}; {money(fact.amount_reversed, currency)} of the transfer have come back."


def _contested(fact: facts.ReversalContested) -> str:
    call = f"the call for reversal {fact.reversal_id!r} is open"
    return f"{fact.cause_id!r} asks nothing back any more, but {call}; what it turns out to have taken is given back."


def _settled(fact: facts.PartiallyReversed | facts.Reversed, currency: str | None) -> str:
    by = "" if fact.settled_by == "us" else ", taken by somebody else,"
    name = f" as {fact.stripe_reversal_id!r}" if fact.stripe_reversal_id else ""
    drift = f", {abs(fact.drift)} {'more' if fact.drift > 0 else 'less'} than was asked" if fact.drift else ""
    share = "all" if isinstance(fact, facts.Reversed) else "part"
    total = f"{share} of the transfer is back, {money(fact.amount_reversed, currency)}"
    return f"{money(fact.amount, currency)}{by} came back{name}{drift}{aside(fact.note)}; {total}, and nothing more of it is due."


# --- people and evidence ----------------------------------------------------------------------------------------------


def _evidence(fact: facts.EvidenceHeld, currency: str | None) -> str:
    held = f"Stripe's {fact.stripe_id!r} over {money(fact.amount, currency)} for {_operation(fact.what)} is kept as evidence"
    return f"{held} ({clause(fact.detail)}); nothing more is sent for it, and a person has to decide."


def _held_back(fact: facts.HeldBack) -> str:
    first = f"at {at(fact.next_retry_at)} Stripe's books are read for its call, and then " if fact.next_retry_at else ""
    return f"Nothing more of the transfer is sent ({clause(fact.why)}); {first}{_waits('payment')}."


def _reopened(fact: facts.Reopened, currency: str | None) -> str:
    what = _operation(fact.reversal_id or TRANSFER)
    amount = f" of {money(fact.amount, currency)}" if fact.amount is not None else ""
    looks = "Stripe's books are read before anything is sent"
    return f"{fact.actor!r} takes up {what}{amount} again, because {clause(fact.reason)!r}; {looks}."


def _resolved(fact: facts.Resolved) -> str:
    by = f"{fact.actor!r} resolves it, because {clause(fact.reason)!r}, by {fact.evidence!r}"
    what = f"; {_operation(fact.reversal_id)} is not asked of Stripe again" if fact.reversal_id is not None else ""
    next_ = f"it is {fact.to} now" if fact.to is not None else "Stripe is asked for nothing more of it"
    return f"{by}{what}; {next_}."
