"""One sentence per fact of a dispute: what happened, and what happens next."""

from typing import assert_never

from domain import dispute as facts
from domain.dispute import AnyDisputeFact
from projections.sentences.text import aside, money


def sentence(fact: AnyDisputeFact, currency: str | None) -> str:
    """What happened to the dispute, and what happens next."""
    match fact:
        case facts.Opened():
            amount = money(fact.amount, fact.currency)
            return (
                f"The buyer disputes {amount} of order {fact.order_id!r} as {fact.dispute_id!r}{aside(fact.reason)}, "
                f"says {fact.source!r}; a person has to answer it."
            )
        case facts.Restated():
            return f"The dispute is about {fact.amount} (minor units) now, says {fact.source!r}; no money had moved for it."
        case facts.Challenged():
            return f"The dispute was answered, says {fact.source!r}; the bank decides next."
        case facts.FundsWithdrawn():
            return f"The bank has taken the money from the platform, says {fact.source!r}; the policy decides who bears it now."
        case facts.Closed():
            return f"The dispute was closed undecided, says {fact.source!r}; nobody has to answer it any more."
        case facts.Lost():
            return f"The dispute is lost, says {fact.source!r}; the sellers bear their shares of it."
        case facts.FundsReinstated():
            return f"The platform has its money back, says {fact.source!r}; what the dispute took is given back to the sellers."
        case facts.Won():
            return f"The dispute is won, says {fact.source!r}; what it took is given back as soon as the funds are."
        case _:
            assert_never(fact)
