"""Deciding purely and storing in one piece: whoever loses a race reloads and decides again.

Nothing that is decided here has a side effect that could be repeated.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from application.ports import Clock, EventLog
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.errors import Conflict, ConstraintBroken
from domain.identity import order_stream, pause_stream
from domain.pause import LOOK_UP_FIRST

ATTEMPTS = 20
"""How often a command is decided anew after losing a race, before its caller is told so."""

LOOK_UP_FIRST_STREAM = pause_stream(LOOK_UP_FIRST)
"""The switch that is off while, after a restore, looks come first."""
NAME_TAKEN = frozenset({"one_refund_per_psp_refund", "one_refund_per_refund_id"})

T = TypeVar("T")
Decision = Callable[[UnitOfWork, datetime], T]
NO_EXTRAS = CommitExtras()


class CommandHandler:
    """Loads, decides, and appends, until nobody was faster. Raises Conflict only after many lost races."""

    def __init__(self, ledger: EventLog, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    async def handle(
        self,
        load: Callable[[], Awaitable[UnitOfWork]],
        decide: Decision[T],
        extras: CommitExtras | Callable[[T], CommitExtras] = NO_EXTRAS,
    ) -> T:
        """What `decide` answers, once what it changed is stored; what is stored along may depend on the answer."""
        for left in reversed(range(ATTEMPTS)):
            uow = await load()
            uow.mark_unverified()
            answer = decide(uow, self._clock.now())
            with_it = extras if isinstance(extras, CommitExtras) else extras(answer)
            if not uow.changed() and with_it.inbox is None:
                break
            try:
                await self._ledger.append(uow, with_it)
                break
            except Conflict:
                if not left:
                    raise
            except ConstraintBroken as broken:
                if broken.constraint not in NAME_TAKEN or not left:
                    raise  # else somebody recorded the same refund under its other name: now it will be found
        return answer

    async def order_with(self, order_id: str, *streams: UUID) -> UnitOfWork:
        """An order with all its transfers, and these streams. Raises UnknownId."""
        uow = await self._ledger.load([order_stream(order_id), LOOK_UP_FIRST_STREAM, *streams])
        uow.merge(await self._ledger.load(uow.order(order_id).transfer_ids()))
        return uow

    async def around(self, transfer_id: UUID, *others: UUID) -> UnitOfWork:
        """The transfer, and, where there is one, its order with all its transfers; and these streams. Raises UnknownId."""
        uow = await self._ledger.load([transfer_id, LOOK_UP_FIRST_STREAM, *others])
        order_id = uow.transfer(transfer_id).order_id
        uow.merge(await self._ledger.load([order_stream(order_id)]))
        if (order := uow.known_order(order_id)) is not None:
            uow.merge(await self._ledger.load(order.transfer_ids()))
        return uow
