"""Text that others wrote, before it is stored or shown. A leaf module: it knows no sender."""

import re

LONGEST_MESSAGE = 2_000
"""Characters. The providers' own messages are far shorter and stay whole."""
EXCERPT = 200
"""Characters of a body that nobody understands."""
_SECRETS = re.compile(
    r"\b(?:[srp]k|whsec|snd|prd|dev)_[\w*]{8,}"  # keys of Stripe (sk_, rk_, pk_) and of Hyperswitch (snd_, prd_, dev_)
    r"|_secret_\w{8,}"  # what lets a buyer's browser act on a payment
    r"|\bBearer\s+[\w.+/=-]{16,}",
    re.IGNORECASE,
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str, limit: int = LONGEST_MESSAGE) -> str:
    """Text from outside, safe to store and to show: no secrets, nothing PostgreSQL refuses, bounded."""
    storable = _UNSTORABLE.sub("\ufffd", _SECRETS.sub("[redacted]", text))
    return storable if len(storable) <= limit else storable[: limit - 1] + "…"
