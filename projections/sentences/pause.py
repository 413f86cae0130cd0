"""One sentence per fact of a switch: what happened, and what happens next."""

from typing import assert_never

from domain.pause import EVERYTHING, LOOK_UP_FIRST, AnyPauseFact, Installed, Paused, Resumed
from projections.sentences.text import clause


def sentence(fact: AnyPauseFact, currency: str | None) -> str:
    """What happened to what can be paused, and what happens next."""
    match fact:
        case Installed():
            return f"There is a switch for {_named(fact.scope)}; it is on."
        case Paused() if fact.scope == LOOK_UP_FIRST:
            return (
                f"{fact.actor!r} demands a look at Stripe's books before each send ({clause(fact.reason)}), until it is resumed."
            )
        case Paused():
            return f"{fact.actor!r} pauses {_named(fact.scope)} ({clause(fact.reason)}); it waits until it is resumed."
        case Resumed():
            return f"{fact.actor!r} resumes {_named(fact.scope)} ({clause(fact.reason)}); what is due goes on."
        case _:
            assert_never(fact)


def _named(scope: str) -> str:
    kind, _, name = scope.partition(":")
    if scope == EVERYTHING:
        return "everything that is sent to Stripe"
    if scope == LOOK_UP_FIRST:
        return "sending without a look at Stripe's books"
    return f"all {name}" if kind == "work" else f"all work for seller {name!r}"
