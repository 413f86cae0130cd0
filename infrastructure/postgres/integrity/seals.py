"""Seals: the head of the hash chain at one moment, kept out of reach of anybody who can write to
the database.

The chain alone proves that no fact in the middle was changed. An attacker with all privileges can
also delete the newest facts, or rewrite the whole chain: a head that was recorded elsewhere reveals
both.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from infrastructure.postgres.integrity.replay import SQL, Blocking
from infrastructure.postgres.named_queries import queries

FORMAT = "transfer-ledger seal 1"
SHORTEST_KEY = 16


class InvalidSeal(ValueError):
    """The given file is no seal, or no key."""


class Seal(NamedTuple):
    """The head of one database at `sealed_at`. `signature`: HMAC-SHA256, if a key was given."""

    position: int
    digest: str
    sealed_at: str
    mode: str | None
    account: str | None
    bound_at: str | None
    signature: str | None = None

    def to_json(self) -> bytes:
        """Encode the seal for a file."""
        return orjson.dumps(
            {"format": FORMAT, **self._asdict()},
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )

    def signed(self, key: bytes) -> "Seal":
        """Return the same seal, signed."""
        return self._replace(signature=hmac.new(key, self._content(), hashlib.sha256).hexdigest())

    def is_signed_with(self, key: bytes) -> bool:
        """Return True if the signature was made with this key over exactly this content."""
        signature = hmac.new(key, self._content(), hashlib.sha256).hexdigest()
        return self.signature is not None and hmac.compare_digest(
            signature.encode(), self.signature.encode()
        )

    def _content(self) -> bytes:
        return orjson.dumps(
            {"format": FORMAT, **self._asdict(), "signature": None}, option=orjson.OPT_SORT_KEYS
        )


def seal(connection: Blocking) -> Seal:
    """Seal the present head. Raises InvalidSeal when there is no fact yet."""
    head = connection.execute(SQL["last_link"]).fetchone()
    if head is None:
        raise InvalidSeal("The ledger has no fact yet, so there is nothing to seal.")
    return Seal(head[0], head[1].hex(), datetime.now(UTC).isoformat(), *bound(connection))


def bound(connection: Blocking) -> tuple[str | None, str | None, str | None]:
    """Return mode, account and instant of the database's binding; all None before the first
    start."""
    row = connection.execute(queries("bound_account")["binding"]).fetchone()
    return (row[0], row[1], row[2].isoformat()) if row else (None, None, None)


def read_seal(content: bytes) -> Seal:
    """Parse a seal. Raises InvalidSeal."""
    try:
        members: dict[str, Any] = orjson.loads(content)
        if members.pop("format") != FORMAT:
            raise InvalidSeal(
                f"The format of the seal is not {FORMAT!r}; expected a file that "
                "`transfer-ledger seal` wrote."
            )
        found = Seal(**members)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidSeal(
            f"The file is no seal of this ledger ({error}); expected a file that "
            "`transfer-ledger seal` wrote."
        ) from error
    texts = (found.sealed_at, found.mode, found.account, found.bound_at, found.signature)
    typed = (
        isinstance(found.position, int)
        and found.position > 0
        and all(text is None or isinstance(text, str) for text in texts)
    )
    if (
        not typed
        or not isinstance(found.digest, str)
        or len(found.digest) != 2 * hashlib.sha256().digest_size
    ):
        raise InvalidSeal(
            "The position or digest of the seal is invalid; expected a file that "
            "`transfer-ledger seal` wrote."
        )
    return found


def read_key(content: bytes) -> bytes:
    """Return the key of a key file, without the newline that editors add. Raises InvalidSeal."""
    key = content.strip()
    if len(key) < SHORTEST_KEY:
        raise InvalidSeal(
            f"The key is {len(key)} bytes long; expected at least {SHORTEST_KEY}, for example "
            "that of `openssl rand -hex 32`."
        )
    return key
