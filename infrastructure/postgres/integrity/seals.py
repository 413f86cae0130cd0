"""A seal: the head of the chain at one moment, to be kept where nobody who can write to the database can write.

The chain alone proves that nothing in the middle was changed. Whoever can write everything can also cut off the end, or
rewrite all of it: a head that was written down elsewhere is what both run into.
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
    """What was given is no seal, or no key."""


class Seal(NamedTuple):
    """The ledger's head at `sealed_at`, and which database it is the head of. `signature`: HMAC-SHA256, if there was a key."""

    position: int
    digest: str
    sealed_at: str
    mode: str | None
    account: str | None
    bound_at: str | None
    signature: str | None = None

    def to_json(self) -> bytes:
        """As it is kept in a file."""
        return orjson.dumps({"format": FORMAT, **self._asdict()}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def signed(self, key: bytes) -> "Seal":
        """The same, signed."""
        return self._replace(signature=hmac.new(key, self._content(), hashlib.sha256).hexdigest())

    def is_signed_with(self, key: bytes) -> bool:
        """Whether its signature was made with this key over just this content."""
        signature = hmac.new(key, self._content(), hashlib.sha256).hexdigest()
        return self.signature is not None and hmac.compare_digest(signature.encode(), self.signature.encode())

    def _content(self) -> bytes:
        return orjson.dumps({"format": FORMAT, **self._asdict(), "signature": None}, option=orjson.OPT_SORT_KEYS)


def seal(connection: Blocking) -> Seal:
    """Of the head as it is now. Raises InvalidSeal when there is no fact yet."""
    head = connection.execute(SQL["last_link"]).fetchone()
    if head is None:
        raise InvalidSeal("There is no fact yet, so there is nothing to seal.")
    return Seal(head[0], head[1].hex(), datetime.now(UTC).isoformat(), *bound(connection))


def bound(connection: Blocking) -> tuple[str | None, str | None, str | None]:
    """Mode, account and instant of the database's binding; nothing before the first start."""
    row = connection.execute(queries("bound_account")["binding"]).fetchone()
    return (row[0], row[1], row[2].isoformat()) if row else (None, None, None)


def read_seal(content: bytes) -> Seal:
    """Raises InvalidSeal."""
    try:
        members: dict[str, Any] = orjson.loads(content)
        if members.pop("format") != FORMAT:
            raise InvalidSeal(f"Its format is not {FORMAT!r}.")
        found = Seal(**members)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidSeal(
            f"It is no seal of this ledger ({error}); expected a file that `transfer-ledger seal` wrote."
        ) from error
    texts = (found.sealed_at, found.mode, found.account, found.bound_at, found.signature)
    typed = (
        isinstance(found.position, int) and found.position > 0 and all(text is None or isinstance(text, str) for text in texts)
    )
    if not typed or not isinstance(found.digest, str) or len(found.digest) != 2 * hashlib.sha256().digest_size:
        raise InvalidSeal("Its position or digest is not what `transfer-ledger seal` writes.")
    return found


def read_key(content: bytes) -> bytes:
    """The key of a key file, without the newline that editors add. Raises InvalidSeal."""
    key = content.strip()
    if len(key) < SHORTEST_KEY:
        raise InvalidSeal(
            f"The key is {len(key)} bytes long; expected at least {SHORTEST_KEY}, for example of `openssl rand -hex 32`."
        )
    return key
