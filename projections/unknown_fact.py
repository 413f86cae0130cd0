"""A fact of a newer release, shown as it is stored."""

from collections.abc import Mapping

from domain.fact import Fact


class UnknownFact(Fact):
    """A fact whose topic this release does not know. It is shown, and never folded."""

    topic: str
    content: Mapping[str, object]
    """The stored members, except those that every fact has."""


def fact_name(fact: Fact) -> str:
    """Return the bare name of a fact: that of its class, or, for an unknown one, the same form of
    the end of its topic."""
    if not isinstance(fact, UnknownFact):
        return type(fact).__name__
    return "".join(word.capitalize() for word in fact.topic.rpartition(".")[2].split("_"))


def unknown_sentence(fact: UnknownFact) -> str:
    """Say that a fact is not known."""
    return f"A newer release recorded {fact.topic}; this release does not know its meaning."
