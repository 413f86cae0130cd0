"""Sentences about the facts of a refund."""

from typing import assert_never

from domain.provider_call.reasons import DeferralReason
from domain.refund import facts as refund_facts
from domain.refund.facts import AnyRefundFact, AttemptDeferred, CallStarted
from projections.sentences import alarm
from projections.sentences.text import aside, at, clause, money

_OPENED = {
    "api": "is requested; the ledger asks the payment provider for it next",
    "settled": "is reported as done elsewhere; the sellers' shares are taken back next",
    "psp": "was made at the payment provider; its outcome follows",
}

_DEFERRED: dict[str, str] = {
    DeferralReason.UNKNOWN: "The outcome at the payment provider is unknown",
    DeferralReason.PENDING: "The payment provider has not decided yet",
    DeferralReason.NOT_YET: "The payment provider cannot refund the payment yet",
    DeferralReason.ABSENT: "The payment provider does not know the refund",
    DeferralReason.UNKNOWN_THERE: (
        "The payment provider accepted the refund before and does not know it now; an operator "
        "should check the refund there"
    ),
    DeferralReason.LOOK_UP_FAILED: "The payment provider did not answer the look-up",
    DeferralReason.LOOK_UP_LATER: "The ledger asks the payment provider after the last call ended",
    DeferralReason.GIVEN_BACK: "The call was not sent",
    DeferralReason.HELD: "The payment provider's answer contradicts the ledger; check it",
}


def sentence(fact: AnyRefundFact, currency: str | None) -> str:
    """Describe the change of the refund, and the next step."""
    match fact:
        case refund_facts.Opened():
            amount = money(fact.amount, fact.currency)
            known = _OPENED.get(
                fact.origin, f"was reported by {fact.origin!r}; its outcome follows"
            )
            return (
                f"Refund {fact.refund_id!r} of {amount} for order "
                f"{fact.order_id!r}{aside(fact.reason)} {known}."
            )
        case refund_facts.Named():
            known = (
                f", which the payment provider knows as {fact.psp_refund_id!r}"
                if fact.psp_refund_id
                else ""
            )
            return (
                f"The marketplace's id of the refund is {fact.refund_id!r}{known}; nothing else "
                "changes."
            )
        case CallStarted():
            name = f"{fact.body['refund_id']!r} under the idempotency key {fact.key!r}"
            return (
                f"The ledger asks the payment provider for refund {name} (call {fact.attempt}); "
                "its answer follows."
            )
        case AttemptDeferred():
            what = _DEFERRED.get(
                fact.why, f"The payment provider did not execute the refund ({fact.why})"
            )
            return (
                f"{what}{aside(fact.detail)}; the next call or look-up, for the same id, is due "
                f"at {at(fact.next_retry_at)}."
            )
        case refund_facts.Submitted():
            return (
                f"The payment provider accepted the refund as {fact.psp_refund_id!r}; its "
                "decision follows."
            )
        case refund_facts.Succeeded():
            return (
                f"The refund succeeded at the payment provider, as {fact.source!r} reports; "
                f"{_taken(fact, currency)}."
            )
        case refund_facts.Failed():
            next_ = (
                "the sellers' shares are given back"
                if fact.after_success
                else "nothing is taken from the sellers"
            )
            return (
                f"The refund failed at the payment provider, as {fact.source!r} "
                f"reports{aside(fact.detail)}; {next_}."
            )
        case refund_facts.RefundAlarmAcknowledged():
            return alarm.sentence(fact)
        case refund_facts.UnderReview():
            report = f"{fact.source!r} reports ({clause(fact.why)})"
            return (
                f"A person has to decide about the refund, as {report}; nothing is taken from "
                "the sellers."
            )
        case _:
            assert_never(fact)


def _taken(fact: refund_facts.Succeeded, currency: str | None) -> str:
    parts = ", ".join(
        f"{money(part['amount'], currency)} from {part['seller_id']!r}" for part in fact.allocation
    )
    return f"the ledger takes back {parts}" if parts else "no seller gives anything back"
