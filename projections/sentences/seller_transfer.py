"""Sentences about the facts of a seller transfer."""

from typing import assert_never

from domain.identity import SALE
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER
from domain.provider_call.reasons import DeferralReason, WaitingFor
from domain.seller_transfer import facts
from domain.seller_transfer.facts import AnyTransferFact
from domain.seller_transfer.reversal import Reason
from domain.seller_transfer.state import NOT_RECORDED
from projections.sentences import alarm, resolution
from projections.sentences.text import aside, at, begin, cause, clause, money

_UNTIL: dict[str, str] = {
    WaitingFor.TRANSFER: "until the outcome of the transfer is known",
    WaitingFor.REVERSAL: "until the reversal before it has ended",
    WaitingFor.OPERATOR: "until an operator retries the transfer",
    WaitingFor.FUNDS: "until the balance is sufficient",
    "payment": "until an operator has checked the payment, and retries or resolves the transfer",
    WaitingFor.STRIPE: "until Stripe has decided",
    WaitingFor.ACCOUNT: "until the seller's account is ready and an operator retries",
}
_NEXT = {
    TransferStatus.PENDING: "the ledger looks the transfer up at Stripe before it is sent",
    TransferStatus.FAILED: "the ledger looks the transfer up at Stripe before it is sent again",
    TransferStatus.COMPLETED: "nothing is due",
    TransferStatus.REVERSAL_PENDING: "the ledger looks the reversal up at Stripe before it is sent",
    TransferStatus.REVERSED: "nothing is due",
    TransferStatus.PERMANENTLY_FAILED: "an operator has to decide",
    TransferStatus.PARTIALLY_REVERSED: "nothing is due",
    TransferStatus.CANCELLED: "nothing is sent",
}

_UNCLEARED = (
    "the older system may have paid the transfer, so nothing is sent until an operator clears "
    "the transfer: `retry` looks for it at Stripe first, "
    "and `resolve` records the transfer that exists there"
)


def sentence(fact: AnyTransferFact, currency: str | None) -> str:
    """Describe the change of the transfer, and the next step."""
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
        case facts.SourceDecided():
            return _source_decided(fact)
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
        case facts.ReversalAttributed():
            return (
                f"Reversal {fact.reversal_id!r} was made by {cause(fact.refund_id)} itself and "
                f"stands for its part of {money(fact.amount, currency)}; nothing is sent."
            )
        case facts.ReversalContested():
            return _contested(fact)
        case facts.MissingCauseReported():
            return _explained(fact, currency)
        case facts.PartiallyReversed() | facts.Reversed():
            return _settled(fact, currency)
        case facts.PermanentlyFailed():
            return (
                f"The ledger stops trying ({fact.reason}: {clause(fact.detail)}); an operator "
                "has to decide."
            )
        case facts.EvidenceHeld():
            return _evidence(fact, currency)
        case facts.ResolutionLapsed() | facts.ResolutionReinstated() | facts.OwedOutside():
            return resolution.sentence(fact, currency)
        case facts.Redirected():
            return (
                f"{fact.actor!r} moves the seller from account {fact.former!r} to "
                f"{fact.destination!r}, because {clause(fact.reason)!r}; the transfer goes to the "
                f"new account{', and is due now' if fact.due_now else ''}."
            )
        case facts.HeldBack():
            return _held_back(fact)
        case facts.RetryRequested():
            return (
                f"{fact.actor!r} retries the transfer, because {clause(fact.reason)!r}; "
                f"the next step is due at {at(fact.next_retry_at)}."
            )
        case facts.Reopened():
            return _reopened(fact, currency)
        case facts.Resolved():
            return _resolved(fact)
        case facts.StripeTransferIdBackfilled():
            return _backfilled(fact)
        case facts.TransferAlarmAcknowledged():
            return alarm.sentence(fact)
        case _:
            assert_never(fact)


def _operation(what: str) -> str:
    return "the transfer" if what == TRANSFER else f"the reversal {what!r}"


def _waits(waiting_for: str, waiting: str = "the transfer") -> str:
    return f"{waiting} waits {_UNTIL.get(waiting_for, f'for {waiting_for}')}"


def _cause(refund_id: str | None) -> str:
    return begin(cause(refund_id))


# --- the transfer itself --------------------------------------------------------------------------


def _created(fact: facts.Created) -> str:
    amount = money(fact.amount, fact.currency)
    if fact.cause == SALE:
        why = f"Seller {fact.seller_id!r} is to be paid {amount} for order {fact.order_id!r}"
    else:
        why = (
            f"Seller {fact.seller_id!r} is to be given back {amount} of order {fact.order_id!r}, "
            "taken for a revoked cause"
        )
    if fact.next_retry_at is None:
        return (
            f"{why}; the transfer to {fact.destination!r} waits until the charge of the payment is "
            "read at Stripe."
        )
    return f"{why}; the transfer to {fact.destination!r} is due at {at(fact.next_retry_at)}."


def _source_decided(fact: facts.SourceDecided) -> str:
    due = f"it is due at {at(fact.next_retry_at)}" if fact.next_retry_at else "its due time stays"
    if fact.source_transaction is None:
        return (
            f"The transfer is to be paid from the platform's balance ({clause(fact.why)}); {due}."
        )
    return f"The charge {fact.source_transaction!r} is to fund the transfer; {due}."


def _imported(fact: facts.Imported) -> str:
    amount, back = money(fact.amount, fact.currency), money(fact.amount_reversed, fact.currency)
    content = (
        f"{amount} for seller {fact.seller_id!r} of order {fact.order_id!r}, {back} of it reversed"
    )
    next_ = _UNCLEARED if fact.uncleared else _NEXT[TransferStatus(fact.status)]
    return (
        f"The transfer was imported from an older system as {fact.status}: {content} "
        f"({clause(fact.evidence)}); {next_}."
    )


def _call_started(fact: facts.CallStarted) -> str:
    call = f"call {fact.attempt} to Stripe for {_operation(fact.what)}"
    return f"The ledger begins {call} under the idempotency key {fact.key!r}; its outcome follows."


def _completed(fact: facts.Completed, currency: str | None) -> str:
    paid = f"the seller is paid {money(fact.amount, currency)}"
    return (
        f"The transfer succeeded at Stripe as {fact.stripe_transfer_id!r}{aside(fact.note)}: "
        f"{paid}, and no call is due."
    )


def _failed(fact: facts.Failed) -> str:
    code = f" with {fact.code!r}" if fact.code else ""
    waits = [_waits(fact.waiting_for)] if fact.waiting_for else []
    again = (
        [f"the ledger sends the transfer again at {at(fact.next_retry_at)}"]
        if fact.next_retry_at
        else []
    )
    next_ = ", and ".join(waits + again) or "an operator has to retry the transfer"
    return f"Stripe refused the transfer{code} ({clause(fact.detail)}); {next_}."


def _deferred(fact: facts.AttemptDeferred) -> str:
    operation, when, why = _operation(fact.what), at(fact.next_retry_at), clause(fact.detail)
    if fact.why == DeferralReason.UNKNOWN and fact.exhausted:
        outcome = f"The outcome of the last attempt for {operation} is unknown ({why})"
        return (
            f"{outcome}; at {when} the ledger looks {operation} up at Stripe, and nothing is sent."
        )
    if fact.why == DeferralReason.UNKNOWN:
        return (
            f"The outcome of {operation} at Stripe is unknown ({why}); the call is repeated "
            f"under the same key at {when}."
        )
    if fact.why == DeferralReason.ABSENT:
        return (
            f"The ledger looked {operation} up at Stripe and found nothing; the ledger sends "
            f"{operation} at {when}."
        )
    if fact.given_back is not None:
        return (
            f"Stripe had an outage, so attempt {fact.given_back} for {operation} does not count; "
            f"the next attempt is due at {when}."
        )
    if fact.why == DeferralReason.REJECTED:
        return f"Stripe refused {operation} ({why}); the ledger sends it again at {when}."
    if fact.why == DeferralReason.PENDING:
        return (
            f"Stripe has not decided about {operation} ({why}); nothing is sent, and the ledger "
            f"looks again at {when}."
        )
    if fact.waiting_for:
        return (
            f"Stripe refused {operation} ({why}); {_waits(fact.waiting_for, operation)}, and the "
            f"ledger tries again at {when}."
        )
    return (
        f"Stripe did not begin {operation}, and no attempt is used up ({fact.why}: {why}); the "
        f"next attempt is due at {when}."
    )


def _reduced(fact: facts.AmountReduced, currency: str | None) -> str:
    by, left = money(fact.by, currency), money(fact.amount, currency)
    if fact.refund_id == NOT_RECORDED:
        return (
            f"Stripe shows {by} less than was to be sent, for refunds that are not recorded here; "
            f"the amount of the transfer is now {left}, and the refunds have to be reported again."
        )
    return (
        f"{_cause(fact.refund_id)} reduces the transfer by {by} before the ledger sends it; the "
        f"amount to send is now {left}."
    )


def _cancelled(fact: facts.Cancelled, currency: str | None) -> str:
    by = money(fact.by, currency)
    return (
        f"{_cause(fact.refund_id)} takes the whole rest of {by} before the transfer is sent; "
        "nothing is sent."
    )


def _backfilled(fact: facts.StripeTransferIdBackfilled) -> str:
    evidence = clause(fact.evidence)
    return (
        f"{fact.actor!r} adds the missing Stripe id {fact.stripe_transfer_id!r} ({evidence}); "
        "reversals can be sent now."
    )


# --- its reversals --------------------------------------------------------------------------------


def _queued(fact: facts.ReversalQueued, currency: str | None) -> str:
    asks = (
        f"{_cause(fact.refund_id)} takes {money(fact.amount, currency)} back by reversal "
        f"{fact.reversal_id!r}"
    )
    return f"{asks}; {_waits(fact.waiting_for, 'the reversal')}."


def _requested(fact: facts.ReversalRequested, currency: str | None) -> str:
    amount = money(fact.amount, currency)
    if fact.reason == Reason.EXTERNAL:
        return (
            f"Others reversed {amount} at Stripe; the ledger records reversal "
            f"{fact.reversal_id!r}, and nothing is sent."
        )
    if fact.found:
        lost = ", which is not recorded here and has to be reported again" if fact.missing else ""
        return (
            f"Stripe holds reversal {fact.reversal_id!r} of {amount}, made by this ledger for "
            f"{cause(fact.refund_id)}{lost}; the ledger records the reversal, and nothing is sent."
        )
    asks = (
        f"{_cause(fact.refund_id)} takes {amount} back by reversal "
        f"{fact.reversal_id!r}{aside(fact.note)}"
    )
    return f"{asks}; the reversal is due at {at(fact.next_retry_at)}."


def _reversal_reduced(fact: facts.ReversalReduced, currency: str | None) -> str:
    return (
        f"Because of {cause(fact.cause_id)}, reversal {fact.reversal_id!r} takes only "
        f"{money(fact.amount, currency)}."
    )


def _withdrawn(fact: facts.ReversalWithdrawn, currency: str | None) -> str:
    what = (
        f"reversal {fact.reversal_id!r} of {money(fact.amount, currency)} is withdrawn before it "
        "was sent"
    )
    reversed_ = money(fact.amount_reversed, currency)
    return (
        f"Because of {cause(fact.cause_id)}, {what}; the reversed amount of the transfer is "
        f"{reversed_}."
    )


def _contested(fact: facts.ReversalContested) -> str:
    call = f"the call for reversal {fact.reversal_id!r} is open"
    return (
        f"{_cause(fact.cause_id)} takes nothing back any more, but {call}; an amount that the "
        "call took is given back."
    )


def _explained(fact: facts.MissingCauseReported, currency: str | None) -> str:
    what = f"{money(fact.by, currency)} that was not sent" if fact.by else "a reversal at Stripe"
    left = (
        f"{money(fact.left, currency)} of the transfer is still unexplained"
        if fact.left
        else "nothing of the transfer is unexplained any more"
    )
    return f"{_cause(fact.refund_id)} explains {what}; {left}."


def _settled(fact: facts.PartiallyReversed | facts.Reversed, currency: str | None) -> str:
    amount, name = money(fact.amount, currency), fact.stripe_reversal_id
    more = "more" if fact.drift > 0 else "less"
    drift = f", {money(abs(fact.drift), currency)} {more} than requested" if fact.drift else ""
    if fact.settled_by == "us":
        done = f"Stripe reversed {amount}{f' as {name!r}' if name else ''}"
    else:
        done = f"Others reversed {amount} at Stripe{f' ({name!r})' if name else ''}"
    share = "all" if isinstance(fact, facts.Reversed) else "part"
    total = f"{share} of the transfer is reversed, {money(fact.amount_reversed, currency)}"
    return f"{done}{drift}{aside(fact.note)}; {total}, and no call is due."


# --- people and evidence --------------------------------------------------------------------------


def _evidence(fact: facts.EvidenceHeld, currency: str | None) -> str:
    kept = (
        f"Stripe's {fact.stripe_id!r} of {money(fact.amount, currency)} is kept as evidence for "
        f"{_operation(fact.what)}"
    )
    return (
        f"{kept} ({clause(fact.detail)}); nothing more is sent for {_operation(fact.what)}, and "
        "an operator has to decide."
    )


def _held_back(fact: facts.HeldBack) -> str:
    first = (
        f"at {at(fact.next_retry_at)} the ledger looks the last call up at Stripe, and then "
        if fact.next_retry_at
        else ""
    )
    return f"The ledger holds the transfer back ({clause(fact.why)}); {first}{_waits('payment')}."


def _reopened(fact: facts.Reopened, currency: str | None) -> str:
    what = _operation(fact.reversal_id or TRANSFER)
    amount = f" of {money(fact.amount, currency)}" if fact.amount is not None else ""
    next_ = f"the ledger looks {what} up at Stripe before it sends"
    return f"{fact.actor!r} reopens {what}{amount}, because {clause(fact.reason)!r}; {next_}."


def _resolved(fact: facts.Resolved) -> str:
    by = (
        f"{fact.actor!r} resolves the transfer by {fact.evidence!r}, because "
        f"{clause(fact.reason)!r}"
    )
    what = (
        f"; {_operation(fact.reversal_id)} is not sent to Stripe again"
        if fact.reversal_id is not None
        else ""
    )
    next_ = (
        f"the status of the transfer is now {fact.to}"
        if fact.to is not None
        else "nothing more of it is sent to Stripe"
    )
    return f"{by}{what}; {next_}."
