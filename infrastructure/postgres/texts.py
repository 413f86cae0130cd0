"""Texts from outside, made storable: a name in a webhook must never break a column or an index."""

import hashlib

LONGEST = 512
"""Characters that are stored of a text; PostgreSQL refuses longer keys in an index."""


def storable(text: str) -> str:
    """Return the text without NUL and lone surrogates, which PostgreSQL cannot store; the end of a
    long one is replaced by its hash, so that different texts stay different."""
    clean = cleaned(text)
    if len(clean) <= LONGEST:
        return clean
    digest = hashlib.sha256(clean.encode()).hexdigest()
    return f"{clean[: LONGEST - len(digest) - 1]}…{digest}"


def cleaned(text: str) -> str:
    """Return the text without NUL and lone surrogates."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
