"""Sentences about the facts of a pause."""

from typing import assert_never

from domain.pause import EVERYTHING, LOOK_UP_FIRST, AnyPauseFact, Installed, Paused, Resumed
from projections.sentences.text import clause


def sentence(fact: AnyPauseFact, currency: str | None) -> str:
    """Describe the change of the scope of a pause, and the next step."""
    match fact:
        case Installed():
            return f"The ledger can pause {_named(fact.scope)} from now on; nothing is paused yet."
        case Paused() if fact.scope == LOOK_UP_FIRST:
            return (
                f"{fact.actor!r} requires a look-up at Stripe before each send ({clause(fact.reason)}), "
                "until `resume` ends the requirement."
            )
        case Paused():
            return f"{fact.actor!r} pauses {_named(fact.scope)} ({clause(fact.reason)}); due work waits for `resume`."
        case Resumed():
            return f"{fact.actor!r} resumes {_named(fact.scope)} ({clause(fact.reason)}); due work continues."
        case _:
            assert_never(fact)


def _named(scope: str) -> str:
    kind, _, name = scope.partition(":")
    if scope == EVERYTHING:
        return "all calls to Stripe and all refunds"
    if scope == LOOK_UP_FIRST:
        return "sending without a look-up at Stripe"
    return f"all {name}" if kind == "work" else f"all work for seller {name!r}"
