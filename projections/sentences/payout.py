"""Sentences about the facts of a payout."""

from typing import assert_never

from domain import payout as facts
from domain.payout import AnyPayoutFact
from projections.sentences.text import aside, money


def sentence(fact: AnyPayoutFact, currency: str | None) -> str:
    """Describe the change of the payout, and the next step."""
    match fact:
        case facts.Announced():
            amount = money(fact.amount, fact.currency)
            return (
                f"Stripe pays out {amount} of account {fact.account!r} as {fact.payout_id!r}; "
                "the seller's bank gets it next."
            )
        case facts.Sent():
            return (
                f"The payout is on its way, as {fact.source!r} reports; the bank accepts or "
                "returns it."
            )
        case facts.Arrived():
            return (
                f"The payout arrived at the bank, as {fact.source!r} reports; a reversal may "
                "find the seller's balance empty."
            )
        case facts.Canceled():
            return (
                f"The payout was canceled, as {fact.source!r} reports; the money stays on the "
                "seller's balance."
            )
        case facts.Failed():
            return (
                f"The bank returned the payout{aside(fact.detail)}, as {fact.source!r} reports; "
                "the money is on the seller's balance again."
            )
        case _:
            assert_never(fact)
