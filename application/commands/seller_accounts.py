"""Command on a seller who has moved to another account at Stripe."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

from application.command_handler import CommandHandler
from application.ports import Directory
from application.unit_of_work import UnitOfWork
from domain.identity import pause_stream, seller_account_stream
from domain.pause import scope_of_seller
from domain.seller_account import SellerAccount
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.redirection import redirect

SWEEPS = 2
"""Passes over the unsent transfers: one that was created during the first is found by the
second."""


LEEWAY = timedelta(minutes=1)
"""Transfers that were created this long after the move are redirected too: their command may have
begun before it. Later ones go to the account that their order says."""


class SellerMoved(NamedTuple):
    """Result of a move."""

    seller_id: str
    destination: str
    redirected: int
    """Transfers that go to the new account now."""
    in_call: int
    """Transfers with an open call, whose outcome comes first: repeat the command after it."""


class SellerAccountCommands:
    """Commands on sellers' accounts. Each may be repeated."""

    def __init__(self, handler: CommandHandler, directory: Directory) -> None:
        self._handler, self._directory = handler, directory

    async def move(self, seller_id: str, destination: str, actor: str, reason: str) -> SellerMoved:
        """Pay a seller to `destination` from now on: unsent transfers, shares of known orders, and
        later compensations. Paid transfers keep their account. A pause that Stripe's events about a
        former account began ends.
        """
        moved_at = await self._record(seller_id, destination, actor, reason)
        until = moved_at + LEEWAY
        redirected, open_, by = 0, set[UUID](), (actor, reason)
        for _ in range(SWEEPS):
            after: UUID | None = None
            while batch := await self._directory.unsent_of(seller_id, after):
                moved, waiting = await self._redirect(batch, destination, until, by)
                redirected, open_, after = redirected + moved, open_ | set(waiting), batch[-1]
        await self._resume(seller_id, destination, actor, reason)
        return SellerMoved(seller_id, destination, redirected, len(open_))

    async def _record(self, seller_id: str, destination: str, actor: str, reason: str) -> datetime:
        def decide(uow: UnitOfWork, now: datetime) -> datetime:
            account = uow.seller_account(seller_id)
            if account is None:
                account = SellerAccount.note(seller_id, now)
                uow.add([account])
            account.move(destination, actor, reason, now)
            assert account.moved_at is not None, "the seller has moved"
            return account.moved_at

        return await self._handler.handle(
            partial(self._handler.load, seller_account_stream(seller_id)), decide
        )

    async def _redirect(
        self, batch: Sequence[UUID], destination: str, until: datetime, by: tuple[str, str]
    ) -> tuple[int, list[UUID]]:
        def decide(uow: UnitOfWork, now: datetime) -> tuple[int, list[UUID]]:
            transfers = [t for t in uow.transfers() if t.created_on < until]
            moved = [redirect(transfer, destination, *by, now) for transfer in transfers]
            waiting = [t.id for t in transfers if t.destination != destination and _in_call(t)]
            return sum(moved), waiting

        return await self._handler.handle(partial(self._handler.load, *batch), decide)

    async def _resume(self, seller_id: str, destination: str, actor: str, reason: str) -> None:
        scope = scope_of_seller(seller_id, "transferring")

        def decide(uow: UnitOfWork, now: datetime) -> None:
            pause = uow.pause(scope)
            if pause is None or not pause.paused_by_stripe:
                return
            if not pause.reason.startswith(f"account {destination}: "):
                pause.resume(actor, reason, now)

        await self._handler.handle(partial(self._handler.load, pause_stream(scope)), decide)


def _in_call(transfer: SellerTransfer) -> bool:
    return (
        not transfer.paid and transfer.operation is not None and transfer.operation.may_move_money
    )
