"""What the webhook signatures of all senders have in common. A leaf module: it knows no sender."""

import hmac
from collections.abc import Iterable, Sequence

from domain.errors import LedgerError


class BadSignature(LedgerError):
    """The body was not signed with one of our secrets, or not recently; nothing may be done with it."""

    code = "bad_signature"


def keys_of(secrets: Sequence[str]) -> list[bytes]:
    """The secrets as HMAC keys. Raises ValueError or TypeError when they would let anybody sign."""
    if isinstance(secrets, str):
        raise TypeError("secrets must be a list of strings; a single string would be read as one secret per character")
    if not secrets or not all(secrets):
        raise ValueError("secrets must not be empty: anybody can sign with an empty secret; set the webhook secrets")
    return [secret.encode() for secret in secrets]


def any_equal(expected: Iterable[str], given: Sequence[str]) -> bool:
    """Whether one of the given hex digests is one of the expected ones, in a time that does not depend on them."""
    # Bytes, because compare_digest raises TypeError on a str that is not ASCII, which an outsider may well send.
    candidates = [digest.encode("utf-8", "surrogateescape") for digest in given]
    matches = [hmac.compare_digest(digest.encode(), candidate) for digest in expected for candidate in candidates]
    return any(matches)
