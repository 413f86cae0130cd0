"""Redaction of messages from outside, before they are stored or shown. This module knows no
particular sender."""

import re

LONGEST_MESSAGE = 2_000
"""Characters. The providers' own messages are far shorter and stay whole."""
EXCERPT = 200
"""Characters of a body that cannot be parsed."""
_SECRETS = re.compile(
    # keys of Stripe (sk_, rk_, pk_) and of Hyperswitch (snd_, prd_, dev_)
    r"\b(?:[srp]k|whsec|snd|prd|dev)_[\w*]{8,}"
    r"|_secret_\w{8,}"  # client secrets: with one, a buyer's browser can act on a payment
    r"|\bBearer\s+[\w.+/=-]{16,}",
    re.IGNORECASE,
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str, limit: int = LONGEST_MESSAGE) -> str:
    """Make text from outside safe to store and to show: no secrets, no characters that PostgreSQL
    refuses, bounded."""
    cleaned = storable(_SECRETS.sub("[redacted]", text))
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def storable(identifier: str) -> str:
    """Make an identifier from outside safe to store, and otherwise leave it as it is.

    Identifiers are compared with ours. An id may look like an API key, and must not be redacted.
    """
    return _UNSTORABLE.sub("\ufffd", identifier)
