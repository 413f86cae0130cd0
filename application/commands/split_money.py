"""Commands on money that Stripe has moved with a payment or a refund itself: see
`domain.order.split`."""

from datetime import datetime
from functools import partial
from uuid import UUID

from application.command_handler import CommandHandler
from application.unit_of_work import UnitOfWork, recover_again
from domain.order.split import learn_made_reversal, learn_made_transfer
from domain.provider_call.stripe_objects import TransferAtStripe


class SplitMoneyCommands:
    """Commands that record such a movement before its payment or refund is recorded. Each may be
    repeated."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler

    async def learn_transfer(self, order_id: str, seen: TransferAtStripe, source: str) -> None:
        """Record the transfer that the charge of an order has made. Raises UnknownId,
        DoesNotFit."""

        def decide(uow: UnitOfWork, now: datetime) -> None:
            order, transfers = uow.order(order_id), uow.transfers()
            reduced = {transfer.id: dict(transfer.reductions) for transfer in transfers}
            learn_made_transfer(order, transfers, seen, source, now)
            for transfer in transfers:
                for cause_id in transfer.undone_since(reduced[transfer.id]):
                    recover_again(uow, order, cause_id, now)

        await self._handler.handle(
            partial(self._handler.load_order_with_transfers, order_id), decide
        )

    async def learn_reversal(
        self,
        order_id: str,
        refund: UUID,
        name: str,
        amount: int,
        seen: TransferAtStripe,
        source: str,
    ) -> None:
        """Record the reversal that a refund has made. `refund` is the refund's stream, `name` its
        id at the PSP. Raises UnknownId, NotMadeYet, DoesNotFit."""

        def decide(uow: UnitOfWork, now: datetime) -> None:
            known = uow.refund()
            key, explicit = (name, None) if known is None else (known.key, known.explicit)
            order = uow.order(order_id)
            learn_made_reversal(order, uow.transfers(), key, amount, explicit, seen, source, now)

        await self._handler.handle(
            partial(self._handler.load_order_with_transfers, order_id, refund), decide
        )
