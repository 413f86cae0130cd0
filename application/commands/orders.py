"""Commands on orders and their payments: register, create the payment at the PSP, record its
success or failure."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from application.command_handler import NO_EXTRAS, CommandHandler
from application.commands.fitting_refunds import take_fitting
from application.commands.refunds import ANSWERED
from application.commands.subjects import subject_of_order, subject_of_payment, subjects_of
from application.gateways import PaymentGateway
from application.ports import Directory
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.errors import PspRefused, PspSilent
from domain.order.aggregate import Order
from domain.order.charge import request_read
from domain.order.collected import (
    correct_collected,
    learn_collected,
    leave_uncounted,
    require_collected,
    require_not_voided,
)
from domain.order.recovery import doubt, pay_sellers, recover_shares, require_fit
from domain.order.state import Share, UncountedPayment
from domain.order.surplus import revoke_surplus
from domain.provider_call.outcome import NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import ConnectorPayment, PaymentAtPsp, name_at_psp
from domain.provider_call.request_body import PaymentBody

UNNAMED = ConnectorPayment()
"""A report that names no connector."""


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
                order_id,
                answer.payment_id,
                None,
                ANSWERED,
                expected=(received, answer.currency),
                connector=ConnectorPayment(answer.connector, answer.connector_transaction_id),
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
        connector: ConnectorPayment = UNNAMED,
    ) -> bool:
        """Record that the buyer has paid, and create the sellers' transfers; return whether that is
        news.

        If `connector` names a payment at Stripe, and no charge is given, the transfers wait until
        its charge is read. `expected` is the amount and currency that were received: a payment
        counts only if they are at least the order's. Raises UnknownId, ContentDiffers when another
        payment has paid the order, CollectedDiffers, PaymentVoided, and ImportDiffers.
        """

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            order = uow.order(order_id)
            received = None
            if expected is not None:
                received, _ = expected
                require_collected(order, payment_id, *expected)
            require_not_voided(order, payment_id)
            imported = uow.transfers() if not order.paid else []
            news = order.pay(
                payment_id,
                source_transaction,
                source,
                now,
                connector,
                received,
                imported=bool(imported),
            )
            surplus = revoke_surplus(order, now)
            if news:
                uow.add(pay_sellers(order, now, imported))
                return news
            for cause_id in surplus:
                uow.add(recover_shares(order, uow.transfers(), cause_id, now))
            if received is not None and learn_collected(order, received, source, now):
                _divide_again(uow, order, now)
            take_fitting(uow, order, source, now)
            return news

        released = subjects_of(order_id, payment_id, source_transaction)
        return await self._handler.handle(
            lambda: self._load_paying(order_id), decide, extras._replace(released=released)
        )

    async def correct_collected(self, order_id: str, amount_received: int, source: str) -> bool:
        """Record another collected amount of a paid order, as a caller states it, and divide its
        refunds again; return whether that is news. Raises UnknownId, Refused."""

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            order = uow.order(order_id)
            news = correct_collected(order, amount_received, source, now)
            if news:
                _divide_again(uow, order, now)
                take_fitting(uow, order, source, now)
            return news

        return await self._handler.handle(
            partial(self._handler.load_order_with_transfers, order_id),
            decide,
            CommitExtras(released=[subject_of_order(order_id)]),
        )

    async def leave_uncounted(
        self,
        order_id: str,
        report: UncountedPayment,
        source: str,
        extras: CommitExtras = NO_EXTRAS,
    ) -> bool:
        """Record a payment that pays no seller; return whether the report is new. See
        `domain.order.collected`. Raises UnknownId."""
        return await self._handler.handle(
            lambda: self._handler.load_order(order_id),
            lambda uow, now: leave_uncounted(uow.order(order_id), report, source, now),
            extras,
        )

    async def record_payment_failure(
        self,
        order_id: str,
        payment_id: str,
        detail: str,
        source: str,
        extras: CommitExtras,
        status: str = "failed",
    ) -> bool:
        """Hold back the unsent transfers of a paid order after a report that its payment has
        failed, or was cancelled; return whether that is news.

        See `SellerTransfer.hold_back`. Raises UnknownId.
        """
        return await self._handler.handle(
            partial(self._handler.load_order_with_transfers, order_id),
            lambda uow, now: doubt(
                uow.order(order_id), uow.transfers(), payment_id, source, detail, now, status
            ),
            extras,
        )

    async def read_charge(self, order_id: str, actor: str, reason: str) -> None:
        """Read the charge of the order's payment again. Raises UnknownId and NothingToRead."""
        await self._handler.handle(
            lambda: self._handler.load_order(order_id),
            lambda uow, now: request_read(uow.order(order_id), actor, reason, now),
        )

    async def order(self, order_id: str) -> Order:
        """Return the order as it is now. Raises UnknownId."""
        return (await self._handler.load_order(order_id)).order(order_id)

    async def _load_paying(self, order_id: str) -> UnitOfWork:
        """Load an order for a report of its payment. A paid order with refunds or disputes is
        loaded with its transfers: the report may revoke one of them, or change their division."""
        uow = await self._load_unpaid(order_id)
        order = uow.known_order(order_id)
        if order is not None and order.paid and (order.causes or order.set_aside):
            await self._handler.with_transfers(uow, order)
        return uow

    async def _load_unpaid(self, order_id: str) -> UnitOfWork:
        """Load the order, and, unless it is paid, the transfers that an older system has made for
        it."""
        uow = await self._handler.load_order(order_id)
        order = uow.known_order(order_id)
        if order is None or not order.paid:
            sellers = order.seller_streams() if order is not None else []
            imported = await self._directory.transfers_of(order_id)
            uow.merge(await self._handler.load(*imported, *sellers))
        return uow


def _divide_again(uow: UnitOfWork, order: Order, now: datetime) -> None:
    """Bring the transfers in line with the collected amount, under the name of the latest refund or
    dispute. Without any, nothing was divided."""
    if order.causes:
        uow.add(recover_shares(order, uow.transfers(), order.causes[-1], now))
