"""Sentences about refunds that change after a person has closed a transfer or reversal outside
Stripe."""

from domain.seller_transfer import facts
from projections.sentences.text import begin, cause, clause, money


def sentence(
    fact: facts.ResolutionLapsed | facts.ResolutionReinstated | facts.OwedOutside,
    currency: str | None,
) -> str:
    """Describe the change, and the next step."""
    match fact:
        case facts.ResolutionLapsed():
            return (
                f"{begin(cause(fact.refund_id))} takes {money(fact.amount, currency)} no more that "
                f"a person had closed outside Stripe (reversal {fact.reversal_id!r}); nothing is "
                "paid to the seller, and an operator has to decide."
            )
        case facts.ResolutionReinstated():
            return (
                f"{begin(cause(fact.refund_id))} takes {money(fact.amount, currency)} again that a "
                f"person had closed outside Stripe (reversal {fact.reversal_id!r}); nothing is "
                "sent."
            )
        case facts.OwedOutside(amount=0):
            return "Nothing is left to collect from the seller outside Stripe."
        case facts.OwedOutside():
            return (
                f"Refunds take {money(fact.amount, currency)} of this transfer, which was settled "
                f"outside Stripe ({clause(fact.settled)}); an operator has to collect the amount "
                "and resolve the transfer."
            )
