"""Sessions of the console that a person has signed out, until they would have ended by themselves.
Every process of the ledger refuses them."""

from datetime import datetime

from infrastructure.postgres.connections import Pool, execute, fetch_one
from infrastructure.postgres.named_queries import queries

SQL = queries("console")


class SignedOutSessions:
    """The signed-out sessions, by the digest of their cookies."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, digest: str, ends_at: datetime, now: datetime) -> None:
        """Refuse a session from now on. Sessions that have ended by themselves are forgotten."""
        await execute(
            self._pool, SQL["sign_out"], {"digest": digest, "ends_at": ends_at, "now": now}
        )

    async def contains(self, digest: str) -> bool:
        """Return whether a session was signed out."""
        return await fetch_one(self._pool, SQL["is_signed_out"], {"digest": digest}) is not None
