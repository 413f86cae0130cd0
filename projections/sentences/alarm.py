"""Sentence about an alarm that a person has dealt with."""

from domain.alarm import AlarmAcknowledged
from projections.sentences.text import clause


def sentence(fact: AlarmAcknowledged) -> str:
    """Describe the end of the alarm."""
    return (
        f"{fact.actor!r} has dealt with the alarm {fact.kind!r}, because {clause(fact.reason)!r}; "
        "the alarm ends, and is raised again if its cause comes back."
    )
