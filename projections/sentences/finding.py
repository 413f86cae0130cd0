"""Sentences about the facts of a reconciliation finding."""

from typing import assert_never

from domain.finding import Adopted, AnyFindingFact, Ignored, IgnoreTakenBack, Noted
from projections.sentences.text import clause, money


def sentence(fact: AnyFindingFact, currency: str | None) -> str:
    """Describe the decision about a finding, and its effect."""
    match fact:
        case Noted():
            at_risk = money(fact.at_risk, fact.currency)
            return (
                f"Finding {fact.finding_id!r} is recorded ({clause(fact.detail)}), {at_risk} at "
                "risk; a decision follows."
            )
        case Ignored():
            return (
                f"{fact.actor!r} ignores finding {fact.finding_id!r} ({clause(fact.reason)}); "
                "`reconcile` reports the difference again if its amount changes."
            )
        case Adopted():
            return (
                f"{fact.actor!r} adopts finding {fact.finding_id!r} ({clause(fact.reason)}); "
                "the ledger now records what Stripe shows."
            )
        case IgnoreTakenBack():
            return (
                f"{fact.actor!r} ignores finding {fact.finding_id!r} no more "
                f"({clause(fact.reason)}); `reconcile` reports the difference again."
            )
        case _:
            assert_never(fact)
