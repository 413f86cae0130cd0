"""Sentences about the facts of a pause."""

from typing import assert_never

from domain.pause import (
    EVERYTHING,
    LOOK_UP_FIRST,
    AnyPauseFact,
    CapabilitiesTold,
    Installed,
    Paused,
    Resumed,
)
from projections.sentences.text import clause

_CALLS = {
    "transferring": "transfers",
    "reversing": "reversals",
    "refunding": "refunds",
    "funding": "reads of charges",
}
"""Names of the kinds of work."""


def sentence(fact: AnyPauseFact, currency: str | None) -> str:
    """Describe the change of the scope of a pause, and the next step."""
    match fact:
        case Installed() if fact.scope == LOOK_UP_FIRST:
            return (
                "An operator can now require a look-up at Stripe before each call; the ledger "
                "does not require it yet."
            )
        case Paused() if fact.scope == LOOK_UP_FIRST:
            return (
                "From now on the ledger looks each call up at Stripe before it sends, as "
                f"{fact.actor!r} requires "
                f"({clause(fact.reason)}); `resume` ends this."
            )
        case Resumed() if fact.scope == LOOK_UP_FIRST:
            return (
                f"The ledger no longer requires a look-up before each send, as {fact.actor!r} "
                "decided "
                f"({clause(fact.reason)}); due work continues."
            )
        case Installed():
            return f"The ledger can pause {named(fact.scope)} from now on; nothing is paused yet."
        case Paused():
            return (
                f"{fact.actor!r} pauses {named(fact.scope)} ({clause(fact.reason)}); due work "
                "waits for `resume`."
            )
        case Resumed():
            return (
                f"{fact.actor!r} resumes {named(fact.scope)} ({clause(fact.reason)}); due work "
                "continues."
            )
        case CapabilitiesTold():
            states = ", ".join(f"{name} {state}" for name, state in fact.capabilities.items())
            return (
                f"{fact.source!r} tells the capabilities of account {fact.account!r} ({states}); "
                "they count for the next events about it, because our key may not read it."
            )
        case _:
            assert_never(fact)


def named(scope: str) -> str:
    """Name the work that a pause of this scope stops."""
    if scope == EVERYTHING:
        return "all calls to Stripe and all refunds"
    if scope == LOOK_UP_FIRST:
        return "each call without a look-up at Stripe"
    kind, _, name = scope.partition(":")
    if kind == "work":
        return f"all {_CALLS.get(name, name)}"
    return f"all {_CALLS.get(kind, 'work')} for seller {name!r}"
