"""Redaction of messages, before they are stored, shown or logged. This module knows no particular
sender.

Secrets are recognized by their form, and this process's own ones by their beginning: an error may
repeat a part of a key, or the key in another encoding.
"""

import base64
import json
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
    r"|\b(?:ssl)?password\s*=\s*(?:'[^']*'|\S+)",
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
    """Redact these secrets from now on, whole or only their beginning, in every form of
    `_forms`."""
    long = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
    wholes = {form for secret in long for form in _forms(secret)}
    starts = {form for secret in long for form in _forms(secret[:BEGINNING])}
    if not long:
        _Known.pattern = None
        return
    # the longest first, since one secret may begin as another does
    whole, start = (
        "|".join(map(re.escape, sorted(forms, key=len, reverse=True))) for forms in (wholes, starts)
    )
    _Known.pattern = re.compile(rf"(?:{whole}|{start})[^\s\"'<>,;()]*")


def _forms(secret: str) -> tuple[str, ...]:
    """Return a secret plain, percent-encoded, in base64, and as a log line and a traceback write
    it."""
    plain = secret.encode()
    aligned = plain[: len(plain) // 3 * 3]  # three bytes are four characters of base64
    escaped = json.dumps(secret)[1:-1], repr(secret)[1:-1]
    return secret, quote(secret, safe=""), base64.b64encode(aligned).decode(), *escaped


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
