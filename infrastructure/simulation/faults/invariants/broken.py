"""Sentences about broken invariants."""


def broken(invariant: str, sentence: str) -> str:
    """Return a violation: the invariant's permanent name, then one sentence."""
    return f"{invariant}: {sentence}"


def invariant_of(violation: str) -> str:
    """Return the name of the invariant that a violation breaks."""
    return violation.partition(":")[0]
