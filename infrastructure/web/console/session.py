"""Sessions of the console: a signed cookie, and the tokens of its forms.

The cookie is signed and not stored: any process of the ledger can check it, and signing in works
while the database takes no writes, when an operator needs the console most. A session ends after
`LASTS`, when its token is no longer configured, or when any secret of the settings changes. Signing
out stores the digest of its cookie until then, and every process refuses such a cookie.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from infrastructure.access import Access, Caller, digest_of
from infrastructure.settings import Settings

COOKIE = "ledger_console"
LASTS = timedelta(hours=12)
ANONYMOUS = "anonymous"
_FORM = re.compile(r"([0-9a-f]{32}|anonymous)\.(\d{1,12})\.([\w-]{22})\.([0-9a-f]{64})")


class Session(NamedTuple):
    """A checked cookie. `holder` names the token without revealing it."""

    cookie: str
    ends_at: datetime
    holder: str = ANONYMOUS

    @property
    def digest(self) -> str:
        """The digest under which the session is signed out."""
        return hashlib.sha256(self.cookie.encode()).hexdigest()


class Sessions:
    """Makes and checks the cookies of one ledger's console."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._access = access
        self._key = _signing_key([*settings.secrets, *(one.hex() for one in access.digests)])

    def anonymous(self, now: datetime) -> Session:
        """Make a session without a token, for the forms of a visitor that has none."""
        return Session(self._cookie(ANONYMOUS, now), now + LASTS)

    def signed_in(self, token: str, now: datetime) -> Session | None:
        """Make the session of a token; None if it is no token of the ledger."""
        if self._access.caller(token) is None:
            return None
        holder = self._holder(digest_of(token))
        return Session(self._cookie(holder, now), now + LASTS, holder)

    def checked(self, cookie: str, now: datetime) -> Session | None:
        """Return the session of a cookie; None if it is not ours, or too old."""
        parts = _FORM.fullmatch(cookie)
        if parts is None or not self._is_signed(cookie):
            return None
        ends_at = datetime.fromtimestamp(int(parts[2]), UTC) + LASTS
        return Session(cookie, ends_at, parts[1]) if now <= ends_at else None

    def caller(self, session: Session) -> Caller | None:
        """Return the caller of a session; None if its token is not configured any more."""
        for digest in self._access.digests:
            if hmac.compare_digest(self._holder(digest), session.holder):
                return self._access.of_digest(digest)
        return None

    def form_token(self, session: Session) -> str:
        """Return the token that the session's forms carry, which other sites cannot know."""
        return self._signed(f"form:{session.cookie}")

    def _cookie(self, holder: str, now: datetime) -> str:
        content = f"{holder}.{int(now.timestamp())}.{secrets.token_urlsafe(16)}"
        return f"{content}.{self._signed(content)}"

    def _is_signed(self, cookie: str) -> bool:
        content, _, signature = cookie.rpartition(".")
        return hmac.compare_digest(self._signed(content), signature)

    def _holder(self, digest: bytes) -> str:
        return self._signed(f"token:{digest.hex()}")[:32]

    def _signed(self, content: str) -> str:
        return hmac.new(self._key, content.encode(), hashlib.sha256).hexdigest()


def _signing_key(known: Sequence[str]) -> bytes:
    """Derive the key from every secret, so that no single one forges a session. Without any secret
    the console is open, and the key only has to last as long as this process."""
    if not known:
        return secrets.token_bytes(32)
    return hashlib.sha256("\0".join(["console", *known]).encode()).digest()
