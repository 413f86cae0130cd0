"""Hyperswitch's webhook signature: `X-Webhook-Signature-512`, the lower-case hex HMAC-SHA512 of the
raw body.

The signature contains no time, so a delivery can be replayed for ever: the inbox protects against
that by its event ids.
"""

import hashlib
import hmac
from collections.abc import Sequence

from infrastructure.signature_comparison import BadSignature, any_equal, keys_of

HEADER = "X-Webhook-Signature-512"
PATTERN = "^[0-9a-f]{128}$"
"""Form of the header."""


def verify(body: bytes, header: str | None, secrets: Sequence[str]) -> None:
    """Check that the raw body was signed with one of the secrets (several during the rotation of a
    key).

    Raises BadSignature for every wrong signature, ValueError when one of our secrets is empty.
    """
    keys = keys_of(secrets)
    if not any_equal([_digest(key, body) for key in keys], [check_form(header)]):
        raise BadSignature(
            f"{HEADER} was not made with one of our secrets; check the payment response hash key."
        )


def check_form(header: str | None) -> str:
    """Return the header if it could be a signature; checked before the body is read. Raises
    BadSignature."""
    if not header:
        raise BadSignature(
            f"The header {HEADER} is missing; set the profile's payment response hash key."
        )
    if len(header) != 2 * hashlib.sha512().digest_size:
        raise BadSignature(f"The header {HEADER} is not a signature of 128 hex digits.")
    return header


def sign(body: bytes, secret: str) -> str:
    """Return Hyperswitch's header for this body."""
    return _digest(keys_of([secret])[0], body)


def _digest(key: bytes, body: bytes) -> str:
    return hmac.new(key, body, hashlib.sha512).hexdigest()
