"""One sentence per fact of a payout: what happened, and what happens next."""

from typing import assert_never

from domain import payout as facts
from domain.payout import AnyPayoutFact
from projections.sentences.text import aside, money


def sentence(fact: AnyPayoutFact, currency: str | None) -> str:
    """What happened to the payout, and what happens next."""
    match fact:
        case facts.Announced():
            amount = money(fact.amount, fact.currency)
            return f"Stripe pays {amount} of account {fact.account!r} out as {fact.payout_id!r}; the seller's bank is next."
        case facts.Sent():
            return f"The payout is on its way, says {fact.source!r}; the bank confirms or refuses it."
        case facts.Arrived():
            return f"The payout has arrived, says {fact.source!r}; a reversal may find the balance empty."
        case facts.Canceled():
            return f"The payout was called off, says {fact.source!r}; the money stays on the seller's balance."
        case facts.Failed():
            return (
                f"The bank sent the payout back{aside(fact.detail)}, says {fact.source!r}; the money is on the seller's balance."
            )
        case _:
            assert_never(fact)
