"""Stripe's webhook signature: `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>]…`,
HMAC-SHA256 of "<t>.<body>"."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from infrastructure.signature_comparison import BadSignature, any_equal, keys_of

HEADER = "Stripe-Signature"
PATTERN = "^t=[0-9]{1,12}(,v[0-9]+=[0-9a-f]{64})*,v1=[0-9a-f]{64}(,v[0-9]+=[0-9a-f]{64})*$"
"""Form of the header as Stripe sends it. Other orders and spaces are accepted too."""
TOLERANCE = timedelta(seconds=300)
_LONGEST_HEADER = 4096  # characters; real ones have about 80 per signature


def verify(
    body: bytes,
    header: str | None,
    secrets: Sequence[str],
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> None:
    """Check that the raw body was signed with one of the secrets, at most `tolerance` from `now`
    (aware).

    Raises BadSignature for every wrong signature, also for a timestamp too far in the *future*: a
    stolen one would stay valid. Raises ValueError when one of our secrets is empty.
    """
    keys = keys_of(secrets)
    timestamp, signatures = _parsed(header)
    if not any_equal([_digest(key, timestamp, body) for key in keys], signatures):
        raise BadSignature(
            f"No signature in {HEADER} was made with one of our secrets; check the endpoint's "
            "secret."
        )
    if abs(now.timestamp() - int(timestamp)) > tolerance.total_seconds():
        raise BadSignature(
            f"{HEADER} was made at {timestamp}, more than {tolerance.total_seconds():.0f} s from "
            "our clock; "
            "check the clock, or let Stripe deliver again."
        )


def check_form(header: str | None) -> None:
    """Check that the header could be a signature, before the body is read. Raises BadSignature."""
    _parsed(header)


def sign(body: bytes, secret: str, at: datetime) -> str:
    """Return Stripe's header for this body at that instant."""
    timestamp = str(int(at.timestamp()))
    return f"t={timestamp},v1={_digest(keys_of([secret])[0], timestamp, body)}"


def _parsed(header: str | None) -> tuple[str, list[str]]:
    if not header:
        raise BadSignature(
            f"The header {HEADER} is missing; only Stripe's own deliveries are accepted."
        )
    if len(header) > _LONGEST_HEADER:
        raise BadSignature(f"The header {HEADER} is longer than {_LONGEST_HEADER} characters.")
    pairs = [part.strip().partition("=") for part in header.split(",")]
    timestamps = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == "v1"]
    if len(timestamps) != 1 or not _is_timestamp(timestamps[0]) or not signatures:
        raise BadSignature(f"The header {HEADER} is not of the form t=<unix seconds>,v1=<hex>.")
    return timestamps[0], signatures


def _is_timestamp(text: str) -> bool:
    # isdigit alone accepts digits of other scripts, and int() refuses strings with thousands of
    # digits
    return text.isascii() and text.isdigit() and len(text) <= 12


def _digest(key: bytes, timestamp: str, body: bytes) -> str:
    return hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
