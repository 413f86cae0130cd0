"""One sentence per fact of a finding: what was decided, and what follows."""

from typing import assert_never

from domain.finding import Adopted, AnyFindingFact, Ignored, Noted
from projections.sentences.text import clause, money


def sentence(fact: AnyFindingFact, currency: str | None) -> str:
    """What was decided about a difference between Stripe's books and ours, and what follows."""
    match fact:
        case Noted():
            at_risk = money(fact.at_risk, fact.currency)
            return f"Finding {fact.finding_id!r} is noted ({clause(fact.detail)}), {at_risk} at risk; a decision follows."
        case Ignored():
            return (
                f"{fact.actor!r} lets finding {fact.finding_id!r} stand ({clause(fact.reason)}); "
                "when other money hangs on it, it is found again."
            )
        case Adopted():
            return f"{fact.actor!r} adopts finding {fact.finding_id!r} ({clause(fact.reason)}), and what Stripe has is taken in."
        case _:
            assert_never(fact)
