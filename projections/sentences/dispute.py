"""Sentences about the facts of a dispute."""

from typing import assert_never

from domain import dispute as facts
from domain.dispute import AnyDisputeFact
from projections.sentences.text import aside, at, clause, money


def sentence(fact: AnyDisputeFact, currency: str | None) -> str:
    """Describe the change of the dispute, and the next step."""
    match fact:
        case facts.Opened():
            amount = money(fact.amount, fact.currency)
            return (
                f"The buyer disputes {amount} of order {fact.order_id!r} in dispute "
                f"{fact.dispute_id!r}{aside(fact.reason)}, as "
                f"{fact.source!r} reports; an operator has to answer the dispute."
            )
        case facts.Restated():
            return (
                f"The disputed amount is now {money(fact.amount, currency)}, as {fact.source!r} "
                "reports; no money moved yet."
            )
        case facts.EvidenceRequested():
            return (
                f"The provider wants the platform's evidence by {at(fact.evidence_due_by)}, as "
                f"{fact.source!r} reports; an operator has to answer the dispute before."
            )
        case facts.Challenged():
            return (
                f"The platform answered the dispute, as {fact.source!r} reports; the bank "
                "decides next."
            )
        case facts.FundsWithdrawn():
            return (
                f"The bank took the money from the platform, as {fact.source!r} reports; "
                "the sellers bear their shares now or when the dispute is lost, by the setting "
                "DISPUTE_POLICY."
            )
        case facts.Closed():
            return (
                f"The dispute was closed without a decision, as {fact.source!r} reports; no "
                "answer is needed any more."
            )
        case facts.Lost():
            return (
                f"The platform lost the dispute, as {fact.source!r} reports; the sellers bear "
                "their shares."
            )
        case facts.FundsReinstated():
            return (
                f"The platform has its money back, as {fact.source!r} reports; the sellers get "
                "their shares back next."
            )
        case facts.Won():
            return (
                f"The platform won the dispute, as {fact.source!r} reports; the sellers get "
                "their shares back "
                "after Stripe or the PSP returns the money to the platform."
            )
        case facts.ReinstatedInPart():
            kept = ", ".join(money(kept, code) for code, kept in fact.still_withdrawn.items())
            return (
                f"Only a part of the money came back, as {fact.source!r} reports: {kept} stay "
                "withdrawn; an operator decides how much of the order the dispute takes."
            )
        case facts.PartDecided():
            taken = money(fact.amount, currency)
            return (
                f"{fact.actor!r} decided that the dispute takes {taken} of the order "
                f"({clause(fact.reason)}); the sellers get the rest of their shares back."
            )
        case _:
            assert_never(fact)
