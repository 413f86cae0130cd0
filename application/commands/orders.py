"""Commands on orders and their payments: register, create the payment at the PSP, record its
success or failure."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from application.command_handler import NO_EXTRAS, CommandHandler
from application.commands.refunds import ANSWERED
from application.commands.subjects import subject_of_payment, subjects_of
from application.gateways import PaymentGateway
from application.ports import Directory
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.errors import ContentDiffers, PspRefused, PspSilent
from domain.order.aggregate import Order
from domain.order.recovery import doubt, pay_sellers, recover_shares, require_fit
from domain.order.state import Share
from domain.order.surplus import revoke_surplus_refunds
from domain.provider_call.outcome import NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import PaymentAtPsp, name_at_psp
from domain.provider_call.request_body import PaymentBody


class OrderCommands:
    """Commands on orders and their payments."""

    def __init__(self, handler: CommandHandler, directory: Directory) -> None:
        self._handler, self._directory = handler, directory

    async def register(
        self,
        *,
        order_id: str,
        currency: str,
        amount: int,
        shares: Sequence[Share],
        payment_id: str | None = None,
        source_transaction: str | None = None,
    ) -> bool:
        """Record an order; return whether it is new. Raises ContentDiffers, ImportDiffers,
        ExceedsOrder, Refused."""

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            known = uow.known_order(order_id)
            if known is not None:
                known.agree(currency, amount, shares, payment_id, source_transaction)
                return False
            order = Order.register(
                order_id=order_id,
                currency=currency,
                amount=amount,
                shares=list(shares),
                payment_id=payment_id,
                source_transaction=source_transaction,
                now=now,
            )
            require_fit(order, uow.transfers())
            uow.add([order])
            return True

        released = subjects_of(order_id, payment_id, source_transaction)
        return await self._handler.handle(
            lambda: self._load_unpaid(order_id), decide, CommitExtras(released=released)
        )

    async def create_payment(self, psp: PaymentGateway, order_id: str) -> PaymentAtPsp:
        """Create the buyer's payment at the PSP under an id of ours. Repeating the command reads
        the same payment back.

        The intent is stored before the call. A payment that the answer shows as succeeded is
        recorded, in case its webhook is late or lost; one that is split waits for its report.
        Raises UnknownId, Refused, PspRefused, ContentDiffers, and PspSilent when the payment may or
        may not exist: repeat the command.
        """
        answer = await psp.create_payment(order_id, await self._request_payment(order_id))
        match answer:
            case Rejected():
                raise PspRefused(
                    f"a payment for order {order_id!r}",
                    f"{answer.code or answer.status}: {answer.message}",
                )
            case NotExecuted() | Unknown():
                raise PspSilent(f"the payment of order {order_id!r}", answer.message)
        if answer.status == "succeeded" and answer.split is None:
            received = answer.amount if answer.amount_received is None else answer.amount_received
            await self.record_payment(
                order_id, answer.payment_id, None, ANSWERED, expected=(received, answer.currency)
            )
        return answer

    async def _request_payment(self, order_id: str) -> PaymentBody:
        return await self._handler.handle(
            lambda: self._handler.load_order(order_id),
            lambda uow, now: uow.order(order_id).request_payment(now),
            CommitExtras(released=[subject_of_payment(name_at_psp(order_id))]),
        )

    async def record_payment(
        self,
        order_id: str,
        payment_id: str | None,
        source_transaction: str | None,
        source: str,
        extras: CommitExtras = NO_EXTRAS,
        expected: tuple[int, str] | None = None,
    ) -> bool:
        """Record that the buyer has paid, and create the sellers' transfers; return whether that is
        news.

        `expected` is the amount and currency that were received: a payment counts only if they are
        the order's. Raises UnknownId, ContentDiffers when another payment, or another amount, has
        paid the order, and ImportDiffers.
        """

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            order = uow.order(order_id)
            if expected is not None and expected != (order.amount, order.currency):
                raise ContentDiffers(
                    "order", order_id, ["amount or currency than the payment received"]
                )
            news = order.pay(payment_id, source_transaction, source, now)
            surplus = revoke_surplus_refunds(order, now)
            if news:
                uow.add(pay_sellers(order, now, uow.transfers()))
            else:
                for refund_id in surplus:
                    uow.add(recover_shares(order, uow.transfers(), refund_id, now))
            return news

        released = subjects_of(order_id, payment_id, source_transaction)
        return await self._handler.handle(
            lambda: self._load_unpaid(order_id), decide, extras._replace(released=released)
        )

    async def record_payment_failure(
        self, order_id: str, payment_id: str, detail: str, source: str, extras: CommitExtras
    ) -> bool:
        """Hold back the unsent transfers of a paid order after a report that its payment has
        failed; return whether that is news.

        See `SellerTransfer.hold_back`. Raises UnknownId.
        """
        return await self._handler.handle(
            partial(self._handler.load_order_with_transfers, order_id),
            lambda uow, now: doubt(
                uow.order(order_id), uow.transfers(), payment_id, source, detail, now
            ),
            extras,
        )

    async def order(self, order_id: str) -> Order:
        """Return the order as it is now. Raises UnknownId."""
        return (await self._handler.load_order(order_id)).order(order_id)

    async def _load_unpaid(self, order_id: str) -> UnitOfWork:
        """Load the order, and, unless it is paid, the transfers that an older system has made for
        it.

        A paid order that does not know its payment is loaded with its transfers, because learning
        the payment may revoke a refund.
        """
        uow = await self._handler.load_order(order_id)
        order = uow.known_order(order_id)
        if order is None or not order.paid:
            uow.merge(await self._handler.load(*await self._directory.transfers_of(order_id)))
        elif order.payment_id is None:
            uow.merge(await self._handler.load(*order.transfer_ids()))
        return uow
