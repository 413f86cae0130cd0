"""Values of settings that are secrets or may contain one: their parsers, and the part of a wrong
value that a message may show. The parsers raise ValueError."""

from typing import TypeVar

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

HIDDEN = "…"
"""Shown instead of a secret."""
LONGEST_SHOWN = 15
"""Characters of a wrong value that a message may show."""

T = TypeVar("T")


def valid(value: T, condition: bool) -> T:
    """Return the value if the condition holds."""
    if not condition:
        raise ValueError(value)
    return value


def listed(text: str) -> tuple[str, ...]:
    """Return the values between commas."""
    return tuple(one.strip() for one in text.split(",") if one.strip())


def shown(value: str) -> str:
    """Return a value as a message may show it: short, or only the host of a URL. Any other may be a
    secret that was set under a wrong name."""
    if value.startswith(("http://", "https://")):
        scheme, _, rest = value.partition("://")
        return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"
    return value if len(value) <= LONGEST_SHOWN else HIDDEN


def database_url(text: str) -> str:
    """Return the URL of a database whose password is percent-encoded."""
    try:
        given = conninfo_to_dict(text)
    except ProgrammingError:  # its message may repeat the password
        raise ValueError from None
    # a part of a password that is not encoded is read as host, port or database, and an error of
    # the connection would show it
    host, port, name = (str(given.get(part) or "") for part in ("host", "port", "dbname"))
    sound = "@" not in host + name and all(p.isdecimal() for p in port.split(",") if p)
    return valid(text, sound and text.startswith(("postgresql://", "postgres://")))


def passwords_of(url: str) -> tuple[str, ...]:
    """Return the passwords of a URL that `database_url` has accepted."""
    given = conninfo_to_dict(url)
    return tuple(str(given[part]) for part in ("password", "sslpassword") if given.get(part))


def base_url(text: str) -> str | None:
    """Return the URL of a provider, without user and password."""
    sound = text.startswith(("http://", "https://")) and "@" not in text
    return valid(text, sound).rstrip("/")


def tokens(text: str) -> str:
    """Return one token, or several with commas between them."""
    return valid(token_like(text.replace(", ", ",")), bool(listed(text)))


def stripe_key(text: str) -> str:
    """Return a key that Stripe's servers accept from a server."""
    return valid(
        token_like(text), text.startswith(("sk_test_", "sk_live_", "rk_test_", "rk_live_"))
    )


def token_like(text: str) -> str:
    """Return printable text without spaces."""
    return valid(text, text.isascii() and text.isprintable() and " " not in text)
