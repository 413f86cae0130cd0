"""Shared checks of webhook signatures. This module knows no particular sender."""

import hmac
from collections.abc import Iterable, Sequence

from domain.errors import LedgerError


class BadSignature(LedgerError):
    """The body was not signed with one of our secrets, or not recently; it must not be used."""

    code = "bad_signature"


def keys_of(secrets: Sequence[str]) -> list[bytes]:
    """Return the secrets as HMAC keys. Raises ValueError or TypeError for secrets with which
    anybody could sign."""
    if isinstance(secrets, str):
        raise TypeError(
            "secrets must be a list of strings, not one string: each of its characters would be "
            "a secret"
        )
    if not secrets or not all(secrets):
        raise ValueError(
            "a webhook secret is empty, so anybody could sign; set the webhook secrets"
        )
    return [secret.encode() for secret in secrets]


def any_equal(expected: Iterable[str], given: Sequence[str]) -> bool:
    """Return True if one of the given hex digests is expected, in a time that does not depend on
    the digests."""
    # Bytes, because compare_digest raises TypeError on a str that is not ASCII, which an outsider
    # can send.
    candidates = [digest.encode("utf-8", "surrogateescape") for digest in given]
    matches = [
        hmac.compare_digest(digest.encode(), candidate)
        for digest in expected
        for candidate in candidates
    ]
    return any(matches)
