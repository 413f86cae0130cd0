"""Redaction of messages, before they are stored, shown or logged. This module knows no particular
sender.

Secrets are recognized by their form, and this process's own ones by their beginning: an error may
repeat a part of a key, or the key in another encoding.
"""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

LONGEST_MESSAGE = 2_000
"""Characters. The providers' own messages are far shorter and stay whole."""
EXCERPT = 200
"""Characters of a body that cannot be parsed."""
_SECRETS = re.compile(
    # keys of Stripe (sk_, rk_, pk_) and of Hyperswitch (snd_, prd_, dev_)
    r"\b(?:[srp]k|whsec|snd|prd|dev)_[\w*]{8,}"
    r"|_secret_\w{8,}"  # client secrets: with one, a buyer's browser can act on a payment
    r"|\b(?:Bearer|Basic)\s+[\w.+/=-]{16,}"
    r"|(?<=://)[^\s/@:]*:[^\s\"'<>]+(?=@)"  # user and password of a URL
    r"|\bpassword\s*=\s*(?:'[^']*'|\S+)",
    re.IGNORECASE,
)
REDACTED = "[redacted]"
SHORTEST_SECRET = 8
"""Characters. A shorter one would be found in ordinary words."""
BEGINNING = 12
"""Characters of a secret by which it is recognized."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str, limit: int = LONGEST_MESSAGE) -> str:
    """Make text from outside safe to store and to show: no secrets, no characters that PostgreSQL
    refuses, bounded."""
    cleaned = storable(hide(text))
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


class _Known:
    """The secrets of this process."""

    pattern: re.Pattern[str] | None = None


def protect(secrets: Iterable[str]) -> None:
    """Redact these secrets from now on, plain, percent-encoded or in base64, whole or only their
    beginning."""
    beginnings = {
        form
        for secret in secrets
        if len(secret) >= SHORTEST_SECRET
        for form in _beginnings(secret[:BEGINNING])
    }
    either = "|".join(map(re.escape, sorted(beginnings)))
    _Known.pattern = re.compile(rf"(?:{either})[^\s\"'<>,;()]*") if beginnings else None


def _beginnings(start: str) -> tuple[str, str, str]:
    plain = start.encode()
    whole = plain[: len(plain) // 3 * 3]  # three bytes are four characters of base64
    return start, quote(start, safe=""), base64.b64encode(whole).decode()


def hide(text: str) -> str:
    """Return the text without secrets, and otherwise as it is."""
    if _Known.pattern is not None:
        text = _Known.pattern.sub(REDACTED, text)
    return _SECRETS.sub(REDACTED, text)


def storable(identifier: str) -> str:
    """Make an identifier from outside safe to store, and otherwise leave it as it is.

    Identifiers are compared with ours. An id may look like an API key, and must not be redacted.
    """
    return _UNSTORABLE.sub("\ufffd", identifier)
