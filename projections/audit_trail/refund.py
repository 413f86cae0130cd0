"""One sentence per fact of a refund: what happened, and what happens next."""

from typing import assert_never

from domain.provider_call.reasons import DeferralReason
from domain.refund import facts as refund_facts
from domain.refund.facts import AnyRefundFact, AttemptDeferred, CallStarted
from projections.audit_trail.text import aside, clause, money

_OPENED = {
    "api": "is wanted; the payment provider is asked next",
    "settled": "is reported as done elsewhere; the sellers' shares come back next",
    "psp": "was made at the payment provider; its word decides what happens next",
}

_DEFERRED: dict[str, str] = {
    DeferralReason.UNKNOWN: "Whether the payment provider has it is not known",
    DeferralReason.PENDING: "The payment provider has not decided",
    DeferralReason.NOT_YET: "The payment provider cannot refund the payment yet",
    DeferralReason.ABSENT: "The payment provider does not have it",
    DeferralReason.UNKNOWN_THERE: "The payment provider took it in and now says that it does not have it; a person should look",
    DeferralReason.LOOK_UP_FAILED: "The payment provider could not be asked about it",
    DeferralReason.LOOK_UP_LATER: "Before the payment provider is asked about it, the last call has to have ended",
    DeferralReason.GIVEN_BACK: "The call was not made",
    DeferralReason.HELD: "The payment provider's answer cannot be recorded; a person should look",
}


def sentence(fact: AnyRefundFact, currency: str | None) -> str:
    """What happened to the refund, and what happens next."""
    match fact:
        case refund_facts.Opened():
            amount = money(fact.amount, fact.currency)
            known = _OPENED.get(fact.origin, f"is known from {fact.origin!r}; its outcome follows")
            return f"Refund {fact.refund_id!r} of {amount} for order {fact.order_id!r}{aside(fact.reason)} {known}."
        case refund_facts.Named():
            known = f", known to the payment provider as {fact.psp_refund_id!r}" if fact.psp_refund_id else ""
            return f"The marketplace calls this refund {fact.refund_id!r}{known}; nothing else changes."
        case CallStarted():
            named = f"as {fact.body['refund_id']!r} under {fact.key!r}"
            return f"The payment provider is asked for the refund {named} (call {fact.attempt}); its answer follows."
        case AttemptDeferred():
            what = _DEFERRED.get(fact.why, f"The payment provider did not carry it out ({fact.why})")
            return f"{what}{aside(fact.detail)}; it goes on at {fact.next_retry_at:%Y-%m-%d %H:%M:%S} UTC, without a new name."
        case refund_facts.Submitted():
            return f"The payment provider took it in as {fact.psp_refund_id!r}; its decision follows."
        case refund_facts.Succeeded():
            return f"The buyer has the money, says {fact.source!r}; {_taken(fact, currency)}."
        case refund_facts.Failed():
            next_ = "what was taken from the sellers is given back" if fact.after_success else "nothing is taken from the sellers"
            return f"The buyer does not get the money, says {fact.source!r}{aside(fact.detail)}; {next_}."
        case refund_facts.UnderReview():
            why = clause(fact.why)
            return f"A person has to decide, says {fact.source!r} ({why}); nothing is taken from the sellers meanwhile."
        case _:
            assert_never(fact)


def _taken(fact: refund_facts.Succeeded, currency: str | None) -> str:
    parts = ", ".join(f"{money(part['amount'], currency)} from {part['seller_id']!r}" for part in fact.allocation)
    return f"it takes {parts}" if parts else "no seller gives anything back"
