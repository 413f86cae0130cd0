"""Access to the API: named tokens with a role, and the caller that a presented token stands for."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from infrastructure.secret_values import listed


class Role(StrEnum):
    """The rights of a token. Each operation lists the roles that may call it."""

    CHECKOUT = "checkout"
    """The marketplace's own system: orders, payments, refunds, and reading them."""
    OPERATOR = "operator"
    """A person, or a program of theirs, that decides: retries, resolutions, pauses; reads all."""
    AUDITOR = "auditor"
    """Reads all, and changes nothing."""
    METRICS = "metrics"
    """Reads /metrics alone."""


EVERY_RIGHT: Final = frozenset(Role)
TOKENS_EXPECTED: Final = (
    "name:role:sha256 with commas between several tokens, a name of 1 to 64 letters, digits and "
    f"._@- that no part of the ledger has, a role of {', '.join(Role)}, one role per name, and 64 "
    "hexadecimal digits that no other token has"
)
_TOKEN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._@-]{0,63}):([a-z]+):([0-9a-fA-F]{64})")
_OWN_NAMES = ("api", "import", "ledger", "poller", "us", "worker", "hyperswitch", "stripe")
"""Names of parts of the ledger and of its providers in the audit trail."""


@dataclass(frozen=True, slots=True)
class NamedToken:
    """An entry of LEDGER_API_TOKENS. `digest`: SHA-256 of the token, which itself is not known."""

    name: str
    role: Role
    digest: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a call. `name` is None for LEDGER_API_TOKEN and for a ledger without tokens."""

    name: str | None = None
    roles: frozenset[Role] = EVERY_RIGHT

    def may(self, allowed: frozenset[Role]) -> bool:
        """Return True if one of the caller's roles is allowed."""
        return not self.roles.isdisjoint(allowed)


class Access:
    """The tokens of one ledger."""

    def __init__(self, tokens: Sequence[str], named: Sequence[NamedToken] = ()) -> None:
        plain = [(sha256(token.encode()), Caller()) for token in tokens]
        self._callers = [
            *plain,
            *((one.digest, Caller(one.name, frozenset({one.role}))) for one in named),
        ]
        self.guards_metrics = any(one.role is Role.METRICS for one in named)
        """True if /metrics needs a token, because one exists for it."""

    @property
    def is_open(self) -> bool:
        """True if there is no token: every caller on this machine has every right."""
        return not self._callers

    @property
    def digests(self) -> Sequence[bytes]:
        """The digest of each token."""
        return [digest for digest, _ in self._callers]

    def caller(self, token: str) -> Caller | None:
        """Return the caller that presents this token; None if it is no token of the ledger.

        Every digest is compared, each in constant time.
        """
        return self.of_digest(digest_of(token))

    def of_digest(self, presented: bytes) -> Caller | None:
        """Return the caller of the token with this digest."""
        found = [who for digest, who in self._callers if hmac.compare_digest(digest, presented)]
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class AuthHeader:
    """LEDGER_AUTH_HEADER: the header in which a reverse proxy names the user of the console."""

    name: str
    role: Role = Role.OPERATOR


HEADER_EXPECTED: Final = (
    "the name of a header such as X-Forwarded-User, and optionally a role after a colon: operator "
    "or auditor"
)


def auth_header(text: str) -> AuthHeader:
    """Parse LEDGER_AUTH_HEADER. Raises ValueError."""
    name, _, role = text.partition(":")
    taken = ("authorization", "cookie", "host")
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) or name.lower() in taken:
        raise ValueError("not the name of a header")
    chosen = Role(role or Role.OPERATOR)
    if chosen not in (Role.OPERATOR, Role.AUDITOR):
        raise ValueError("not a role of the console")
    return AuthHeader(name, chosen)


def named_tokens(text: str) -> tuple[NamedToken, ...]:
    """Parse LEDGER_API_TOKENS. Raises ValueError."""
    found = tuple(map(_named_token, listed(text)))
    names, digests = {(one.name, one.role) for one in found}, {one.digest for one in found}
    if not found or len({name for name, _ in names}) < len(names) or len(digests) < len(found):
        raise ValueError("empty, a name with two roles, or a token with two names")
    return found


def _named_token(entry: str) -> NamedToken:
    parts = _TOKEN.fullmatch(entry)
    if parts is None or is_own_name(parts[1]):
        raise ValueError("not a named token")
    return NamedToken(parts[1], Role(parts[2]), bytes.fromhex(parts[3]))


def is_own_name(name: str) -> bool:
    """Return True for a name that only the ledger or a provider has in the audit trail."""
    return name.lower() in _OWN_NAMES


def sha256(token: bytes) -> bytes:
    """Return the digest under which a token is known."""
    return hashlib.sha256(token).digest()


def digest_of(token: str) -> bytes:
    """Return the digest of a presented token."""
    # latin-1, as headers are read: a caller may send characters outside of ASCII
    return sha256(token.encode("latin-1", errors="replace"))


def in_words(roles: Iterable[Role]) -> str:
    """Return the names of roles as a sentence lists them, in the order of `Role`."""
    given = set(roles)
    return " or ".join(role for role in Role if role in given)


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
