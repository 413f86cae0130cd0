"""Redaction of text from outside, before it is stored or shown. This module knows no particular
sender."""

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
    storable = _UNSTORABLE.sub("\ufffd", _SECRETS.sub("[redacted]", text))
    return storable if len(storable) <= limit else storable[: limit - 1] + "…"
