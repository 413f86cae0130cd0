"""Binding of a database to one mode and one Stripe account.

The first start binds the database; a start with another mode or account must not go on.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from infrastructure.postgres.connections import Pool, execute, fetch_rows
from infrastructure.postgres.errors import WrongBinding
from infrastructure.postgres.named_queries import queries

SQL = queries("bound_account")


class Binding(NamedTuple):
    """The row of `ledger_binding`."""

    mode: str
    account: str | None
    bound_at: datetime
    ledger_id: UUID
    """Identity of this database, made when it was bound, and kept by a restore of the whole
    database."""


async def bind(pool: Pool, mode: str, account: str | None = None) -> Binding:
    """Bind this database to a mode (simulator, test, live) and, where known, to an account.

    Raises WrongBinding when the database already belongs to another mode or account.
    """
    await execute(pool, SQL["bind"], {"mode": mode, "account": account})
    bound = await binding(pool)
    assert bound, "bind has just stored a row"
    if bound.mode != mode:
        raise WrongBinding("mode", bound.mode, mode)
    if account is not None and bound.account != account:
        raise WrongBinding("account", str(bound.account), account)
    return bound


async def require_binding(pool: Pool, mode: str, account: str | None = None) -> Binding | None:
    """Compare a bound database with the present key, and bind nothing. Raises WrongBinding."""
    bound = await binding(pool)
    if bound is not None:
        if bound.mode != mode:
            raise WrongBinding("mode", bound.mode, mode)
        if account is not None and bound.account not in (None, account):
            raise WrongBinding("account", str(bound.account), account)
    return bound


async def binding(pool: Pool) -> Binding | None:
    """Return the mode and account that this database belongs to; None before the first start."""
    return next(iter(await fetch_rows(pool, Binding, SQL["identity"])), None)
