"""Aggregate of an order: its shares per seller, its payment, and the allocation of its refunds and
disputes.

The order is the boundary that allocates, because only the order knows the cumulative amounts.
Refunds and disputes share one cap, and refunds come first even if they arrive late: a dispute takes
at most the amount that refunds leave of the order. The result therefore does not depend on which of
them was reported first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Unpack
from uuid import UUID

from domain.currency import require_payable
from domain.errors import ContentDiffers, ExceedsOrder, Refused
from domain.fact import opened
from domain.identity import order_stream
from domain.order.facts import (
    CompensationOwed,
    ConnectorPaymentNamed,
    OrderOpening,
    Paid,
    PaymentNamed,
    PaymentRequested,
    RefundAllocated,
    RefundReleased,
    RefundReserved,
    RefundRevoked,
    RefundSetAside,
    Registered,
    Resettled,
)
from domain.order.state import AllocatedRefund, OrderState, Share
from domain.provider_call.psp_objects import ConnectorPayment, name_at_psp
from domain.provider_call.request_body import PaymentBody

TOPIC = "ledger.order"


class Order(OrderState, topic=TOPIC, opening=Registered):
    """One order. Amounts in minor units of `currency`, except shares with a currency of their
    own."""

    @classmethod
    def register(cls, now: datetime, **opening: Unpack[OrderOpening]) -> "Order":
        """Open the stream of a new order.

        Raises ExceedsOrder when the sum of its shares is above its amount, Refused when a seller
        has two shares, BadMoney when Stripe cannot transfer a share.
        """
        order_id, currency, amount, shares = (
            opening["order_id"],
            opening["currency"],
            opening["amount"],
            opening["shares"],
        )
        sum_of_shares = sum(
            share["amount"] for share in shares if share.get("currency", currency) == currency
        )
        if sum_of_shares > amount:
            raise ExceedsOrder(
                f"The sum of the shares of order {order_id!r}", sum_of_shares, amount, currency
            )
        for share in shares:
            require_payable(share.get("currency", currency), share["amount"])
        if len({share["seller_id"] for share in shares}) != len(shares):
            raise Refused(
                f"A seller appears twice in order {order_id!r}; expected one share per seller."
            )
        return opened(cls, Registered(**cls.first(order_stream(order_id), now), **opening))

    def agree(
        self,
        currency: str,
        amount: int,
        shares: Sequence[Share],
        payment_id: str | None,
        source_transaction: str | None,
    ) -> None:
        """Check that a repeated registration has the same content. Raises ContentDiffers, naming
        the members that differ."""
        same = {
            "currency": self.currency == currency,
            "amount": self.amount == amount,
            "shares": list(self.shares.values()) == list(shares),
            "payment_id": payment_id in (None, self.payment_id),
            "source_transaction": source_transaction in (None, self.source_transaction),
        }
        if not all(same.values()):
            raise ContentDiffers(
                "order", self.order_id, [name for name, equal in same.items() if not equal]
            )

    def pay(
        self,
        payment_id: str | None,
        source_transaction: str | None,
        source: str,
        now: datetime,
        connector: ConnectorPayment = ConnectorPayment(),  # noqa: B008 - an immutable NamedTuple
        amount_received: int | None = None,
        imported: bool = False,
    ) -> bool:
        """Record that the buyer has paid. Returns whether that is new.

        A payment id or connector's payment that is reported only after the payment is recorded too,
        and then the result is False. `imported`: an older system has made the transfers, so no
        charge is read for them. Raises ContentDiffers when another payment paid the order.
        """
        known, given = self.payment_id, payment_id
        if known is not None and given is not None and known != given:
            raise ContentDiffers("order", self.order_id, ["payment_id"])
        if self.paid:
            if known is None and given is not None:
                self.record(PaymentNamed(**self.next(now), payment_id=given, source=source))
            self._name_connector_payment(connector, source, now)
            return False
        paid_by, charge = given or known, source_transaction or self.source_transaction
        collected = self.amount if amount_received is None else amount_received
        targets = self.targets_over(collected)
        reads = charge is None and connector.at_stripe is not None and not imported
        self.record(
            Paid(
                **self.next(now),
                payment_id=paid_by,
                source_transaction=charge,
                source=source,
                connector=connector.connector,
                connector_payment=connector.payment_id,
                read_charge_at=now if reads else None,
                amount_received=amount_received,
                targets=None if targets == self.seller_targets else targets,
            )
        )
        return True

    def _name_connector_payment(
        self, connector: ConnectorPayment, source: str, now: datetime
    ) -> None:
        """Record the connector's payment of a paid order, if its charge is not known without it."""
        name, known = connector.at_stripe, self.source_transaction or self.connector_payment
        if name is None or known is not None:
            return
        self.record(
            ConnectorPaymentNamed(
                **self.next(now),
                connector=connector.connector,
                connector_payment=name,
                source=source,
                read_charge_at=now,
            )
        )

    def request_payment(self, now: datetime) -> PaymentBody:
        """Return the body of the request for a payment at the PSP, which is always the same. Raises
        Refused."""
        name = name_at_psp(self.order_id)
        if self.payment_id not in (None, name) or (self.paid and self.payment_id is None):
            paid_by = f"names payment {self.payment_id!r}" if self.payment_id else "is paid already"
            raise Refused(
                f"Order {self.order_id!r} {paid_by}, so no other payment is created for it."
            )
        if self.payment_body is not None:
            return self.payment_body
        body = PaymentBody(
            payment_id=name,
            amount=self.amount,
            currency=self.currency,
            metadata={"order_id": self.order_id},
            merchant_order_reference_id=self.order_id,
        )
        self.record(
            PaymentRequested(**self.next(now), payment_id=name, key=self.order_id, body=body)
        )
        return body

    def reserve_refund(
        self, refund_id: str, amount: int, explicit: dict[str, int] | None, now: datetime
    ) -> None:
        """Reserve a part of the order for a refund that the PSP is asked for next."""
        self.record(
            RefundReserved(**self.next(now), refund_id=refund_id, amount=amount, explicit=explicit)
        )

    def release_refund(self, refund_id: str, now: datetime) -> None:
        """Release the part of the order that a failed refund had reserved. Does nothing if none is
        reserved."""
        portion = self.reserved.get(refund_id)
        if portion is not None:
            self.record(
                RefundReleased(**self.next(now), refund_id=refund_id, amount=portion.amount)
            )

    def allocate_refund(
        self,
        refund_id: str,
        amount: int,
        currency: str,
        explicit: dict[str, int] | None,
        now: datetime,
        payment: Mapping[str, str] | None = None,
    ) -> str | None:
        """Divide a refund that succeeded among the sellers, or set it aside. Returns why it was set
        aside.

        Does nothing if the refund is effective already. `payment`: the names of the refunded
        payment, in case the order's own payment becomes known only later.
        """
        known = self.refunds.get(refund_id)
        if known is not None and known.effective:
            return None
        decided = self.decided.get(refund_id)
        if decided is not None and decided.allocation is None:
            return None  # dismissed: it never takes anything
        why = (
            self.objection_to_refund(amount, currency, explicit)
            if decided is None
            else self.objection_to_decision(decided, refund_id)
        )
        if why is not None:
            self._set_refund_aside(refund_id, amount, currency, why, now, payment)
            return why
        if decided is not None:
            amount, explicit = decided.amount, decided.allocation
        refunds = {
            **self._refunds_without(refund_id),
            refund_id: AllocatedRefund(amount, explicit, True),
        }
        self.record(
            RefundAllocated(
                **self.next(now),
                refund_id=refund_id,
                amount=amount,
                explicit=explicit,
                refunded=self.refunded + amount,
                targets=self.targets_for(refunds, self.disputes),
                payment=dict(payment) if payment else None,
            )
        )
        return None

    def _set_refund_aside(
        self,
        refund_id: str,
        amount: int,
        currency: str,
        why: str,
        now: datetime,
        payment: Mapping[str, str] | None,
    ) -> None:
        if refund_id not in self.set_aside:
            self.record(
                RefundSetAside(
                    **self.next(now),
                    refund_id=refund_id,
                    amount=amount,
                    currency=currency,
                    why=why,
                    order_id=self.order_id,
                    payment=dict(payment) if payment else None,
                )
            )

    def revoke_refund(self, refund_id: str, now: datetime) -> bool:
        """Revoke an effective refund that failed after all. Returns whether the refund was
        effective."""
        known = self.refunds.get(refund_id)
        if known is None or not known.effective:
            return False
        self.record(
            RefundRevoked(
                **self.next(now),
                refund_id=refund_id,
                amount=known.amount,
                refunded=self.refunded - known.amount,
                targets=self.targets_for(self._refunds_without(refund_id), self.disputes),
            )
        )
        return True

    def _refunds_without(self, refund_id: str) -> dict[str, AllocatedRefund]:
        return {name: refund for name, refund in self.refunds.items() if name != refund_id}

    def owe(
        self, transfer_id: UUID, seller_id: str, amount: int, cause_id: str, now: datetime
    ) -> None:
        """Record a compensating transfer, so that the next recovery of this order includes it."""
        self.record(
            CompensationOwed(
                **self.next(now),
                transfer_id=str(transfer_id),
                seller_id=seller_id,
                amount=amount,
                cause_id=cause_id,
            )
        )

    def resettle(self, cause_id: str, now: datetime) -> None:
        """Record a repeated recovery, so that a concurrent command that does not know its result
        conflicts and decides again."""
        self.record(Resettled(**self.next(now), cause_id=cause_id))
