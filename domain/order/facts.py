"""Facts of an order: registration, payment, refunds, disputes and compensations."""

from datetime import datetime
from typing import NotRequired, TypedDict
from uuid import UUID

from domain.alarm import OrderAlarmAcknowledged as OrderAlarmAcknowledged
from domain.allocation import Portion
from domain.fact import Fact, Opening
from domain.identity import dispute_cause
from domain.order.payment_facts import AmountReceived as AmountReceived
from domain.order.payment_facts import ChargeFound as ChargeFound
from domain.order.payment_facts import ChargeNotFound as ChargeNotFound
from domain.order.payment_facts import ChargeReadDeferred as ChargeReadDeferred
from domain.order.payment_facts import ChargeReadRequested as ChargeReadRequested
from domain.order.payment_facts import ConnectorPaymentNamed as ConnectorPaymentNamed
from domain.order.payment_facts import PaymentNamed as PaymentNamed
from domain.order.payment_facts import PaymentNotCounted as PaymentNotCounted
from domain.order.payment_facts import ReversalMadeByRefund as ReversalMadeByRefund
from domain.order.payment_facts import TransferMadeByCharge as TransferMadeByCharge
from domain.order.state import (
    AllocatedRefund,
    CountedDispute,
    OrderState,
    SetAsideDecision,
    Share,
)
from domain.provider_call.request_body import PaymentBody


class RefundReserved(Fact):
    """The PSP is asked for a refund. Until the PSP has decided, no other refund may ask for this
    part of the order."""

    TOPIC = "ledger.order.refund_reserved"
    refund_id: str
    amount: int
    explicit: dict[str, int] | None

    def apply(self, aggregate: OrderState) -> None:
        aggregate.reserved[self.refund_id] = Portion(self.amount, self.explicit)


class RefundReleased(Fact):
    """A refund that the PSP was asked for failed: its part of the order can be refunded again."""

    TOPIC = "ledger.order.refund_released"
    refund_id: str
    amount: int

    def apply(self, aggregate: OrderState) -> None:
        aggregate.reserved.pop(self.refund_id, None)


class PaymentRequested(Fact):
    """The PSP is about to be asked for a payment with this body, under this idempotency key."""

    TOPIC = "ledger.order.payment_requested"
    payment_id: str
    key: str
    body: PaymentBody

    def apply(self, aggregate: OrderState) -> None:
        # the payment's webhook may arrive before the PSP's answer, and it names this id
        aggregate.payment_id, aggregate.payment_body = self.payment_id, self.body


class OrderOpening(TypedDict):
    """Content of `Registered`."""

    order_id: str
    currency: str
    amount: int
    shares: list[Share]
    payment_id: NotRequired[str | None]
    source_transaction: NotRequired[str | None]


class Registered(Opening):
    """An order became known, with its shares (minor units)."""

    TOPIC = "ledger.order.registered"
    order_id: str
    currency: str
    amount: int
    shares: list[Share]
    payment_id: str | None = None
    source_transaction: str | None = None

    def apply(self, aggregate: OrderState) -> None:
        aggregate.order_id, aggregate.currency, aggregate.amount = (
            self.order_id,
            self.currency,
            self.amount,
        )
        aggregate.shares = {share["seller_id"]: share for share in self.shares}
        aggregate.seller_targets = dict.fromkeys(aggregate.shares, 0)
        aggregate.payment_id, aggregate.source_transaction = (
            self.payment_id,
            self.source_transaction,
        )


class Paid(Fact):
    """The buyer's payment succeeded: the sellers are to be paid."""

    TOPIC = "ledger.order.paid"
    payment_id: str | None
    source_transaction: str | None
    source: str
    """`api`, or the webhook as `hyperswitch:<event id>`."""
    amount_received: int | None = None
    """Amount that was collected, which may be more than the order's (a surcharge, a tip). None: not
    reported, so the order's amount counts."""
    targets: dict[str, int] | None = None
    """As in `RefundAllocated`, if refunds before the payment were divided over another amount."""
    connector: str | None = None
    """Connector of the PSP, such as `stripe`; None if the report does not name it."""
    connector_payment: str | None = None
    """Name of the payment at its connector; behind Stripe the PaymentIntent."""
    read_charge_at: datetime | None = None
    """When the charge is read at Stripe. None: the charge is known, or cannot be found there."""

    def apply(self, aggregate: OrderState) -> None:
        aggregate.paid, aggregate.paid_by = True, self.source
        aggregate.amount_received = self.amount_received
        if self.targets is not None:
            aggregate.seller_targets = self.targets
        aggregate.connector_payment = self.connector_payment
        aggregate.read_charge_at = self.read_charge_at
        aggregate.payment_id, aggregate.source_transaction = (
            self.payment_id,
            self.source_transaction,
        )


class RefundAllocated(Fact):
    """A refund is effective. `refunded` is the order's total after it; `targets` the total to take
    back from each seller."""

    TOPIC = "ledger.order.refund_allocated"
    refund_id: str
    amount: int
    explicit: dict[str, int] | None
    refunded: int
    targets: dict[str, int]
    payment: dict[str, str] | None = None
    """Names of the refunded payment, by kind, if the report gave any."""

    def apply(self, aggregate: OrderState) -> None:
        aggregate.seller_targets = self.targets
        before = aggregate.refunds.pop(self.refund_id, None)
        rounds = before.rounds + 1 if before is not None else 1
        aggregate.refunds[self.refund_id] = AllocatedRefund(
            self.amount, self.explicit, True, rounds, self.payment
        )
        aggregate.set_aside.pop(self.refund_id, None)
        aggregate.reserved.pop(self.refund_id, None)


class RefundRevoked(Fact):
    """An effective refund failed after all. `targets` is the total to take back from each seller
    without it."""

    TOPIC = "ledger.order.refund_revoked"
    refund_id: str
    amount: int
    refunded: int
    targets: dict[str, int]

    def apply(self, aggregate: OrderState) -> None:
        aggregate.seller_targets = self.targets
        aggregate.refunds[self.refund_id] = aggregate.refunds[self.refund_id]._replace(
            effective=False
        )


class RefundSetAside(Fact):
    """A refund cannot be divided: it is in another currency, or exceeds the rest of the order. An
    operator decides."""

    TOPIC = "ledger.order.refund_set_aside"
    refund_id: str
    amount: int
    currency: str
    why: str
    order_id: str | None = None
    payment: dict[str, str] | None = None
    """See `AllocatedRefund.payment`."""

    def apply(self, aggregate: OrderState) -> None:
        aggregate.set_aside[self.refund_id] = self.amount
        aggregate.aside_payments[self.refund_id] = self.payment
        aggregate.decided.pop(self.refund_id, None)


class CompensationOwed(Fact):
    """An amount that a revoked refund or dispute took goes back to the seller by a compensating
    transfer."""

    TOPIC = "ledger.order.compensation_owed"
    transfer_id: str
    seller_id: str
    amount: int
    cause_id: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.compensations.append(UUID(self.transfer_id))


class Resettled(Fact):
    """Shares were recovered again, because the cause of a call was revoked. A concurrent command
    conflicts and decides again."""

    TOPIC = "ledger.order.resettled"
    cause_id: str


class DisputeCounted(Fact):
    """A dispute is effective: `counted` of its `amount`, limited by refunds. `targets` as in
    `RefundAllocated`."""

    TOPIC = "ledger.order.dispute_counted"
    dispute_id: str
    amount: int
    counted: int
    targets: dict[str, int]
    explicit: dict[str, int] | None = None
    """Amount per seller, if a person has decided it."""
    payment: dict[str, str] | None = None
    """Names of the disputed payment, by kind, if the report gave any."""

    def apply(self, aggregate: OrderState) -> None:
        aggregate.seller_targets = self.targets
        aggregate.disputes.pop(self.dispute_id, None)
        aggregate.disputes[self.dispute_id] = CountedDispute(
            self.amount, True, self.explicit, self.payment
        )


class DisputeRevoked(Fact):
    """A dispute is not effective any more. `targets` is the total to take back from each seller
    without it."""

    TOPIC = "ledger.order.dispute_revoked"
    dispute_id: str
    amount: int
    targets: dict[str, int]

    def apply(self, aggregate: OrderState) -> None:
        aggregate.seller_targets = self.targets
        aggregate.disputes[self.dispute_id] = CountedDispute(self.amount, False)


class DisputeReduced(Fact):
    """A dispute takes another amount of the order, as a person decided: `amount`, and `counted` of
    it after refunds. `targets` as in `RefundAllocated`."""

    TOPIC = "ledger.order.dispute_reduced"
    dispute_id: str
    before: int
    amount: int
    counted: int
    targets: dict[str, int]

    def apply(self, aggregate: OrderState) -> None:
        aggregate.seller_targets = self.targets
        # in its place: disputes take in turn from the amount that refunds leave
        before = aggregate.disputes.get(self.dispute_id)
        aggregate.disputes[self.dispute_id] = CountedDispute(
            self.amount, self.amount > 0, payment=before.payment if before is not None else None
        )


class DisputeSetAside(Fact):
    """A dispute cannot be divided, because it is in another currency. An operator decides."""

    TOPIC = "ledger.order.dispute_set_aside"
    dispute_id: str
    amount: int
    currency: str
    why: str
    order_id: str | None = None

    def apply(self, aggregate: OrderState) -> None:
        aggregate.set_aside[dispute_cause(self.dispute_id)] = self.amount
        aggregate.decided.pop(dispute_cause(self.dispute_id), None)


class SetAsideDecided(Fact):
    """A person decided about a refund or dispute that was set aside, or came back in part.

    With `explicit` amounts, the fact that makes it effective follows in the same append. Without
    them it is dismissed, and never takes anything.
    """

    TOPIC = "ledger.order.set_aside_decided"
    order_id: str
    cause_id: str
    amount: int
    """Amount of the order that it counts as."""
    explicit: dict[str, int] | None
    """Amount per seller; None: dismissed."""
    actor: str
    reason: str
    remaining: list[str]
    """Refunds and disputes of the order that still wait for a decision, by cause."""

    def apply(self, aggregate: OrderState) -> None:
        aggregate.decided[self.cause_id] = SetAsideDecision(self.amount, self.explicit)
        aggregate.set_aside.pop(self.cause_id, None)
        aggregate.reserved.pop(self.cause_id, None)


class SetAsideEnded(Fact):
    """A refund or dispute that was set aside needs no decision any more."""

    TOPIC = "ledger.order.set_aside_ended"
    order_id: str
    cause_id: str
    why: str
    remaining: list[str]

    def apply(self, aggregate: OrderState) -> None:
        aggregate.set_aside.pop(self.cause_id, None)


class AuthorityFound(Fact):
    """From now on this provider's reports of the order's refunds and disputes count."""

    TOPIC = "ledger.order.authority_found"
    provider: str
    source: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.authority = self.provider


class PaymentDoubted(Fact):
    """A payment recorded as succeeded is reported as failed. `held` transfers are held back, `sent`
    were sent before."""

    TOPIC = "ledger.order.payment_doubted"
    payment_id: str
    source: str
    """Webhook as `hyperswitch:<event id>`."""
    detail: str
    held: int
    sent: int
    status: str = "failed"
    """Status at the PSP that was reported."""

    def apply(self, aggregate: OrderState) -> None:
        aggregate.doubt = self.detail
        aggregate.doubted_as.add(self.status)


AnyOrderFact = (
    Registered
    | TransferMadeByCharge
    | ReversalMadeByRefund
    | PaymentRequested
    | Paid
    | PaymentDoubted
    | PaymentNamed
    | AmountReceived
    | PaymentNotCounted
    | ConnectorPaymentNamed
    | ChargeReadDeferred
    | ChargeReadRequested
    | ChargeFound
    | ChargeNotFound
    | RefundReserved
    | RefundReleased
    | AuthorityFound
    | RefundAllocated
    | RefundRevoked
    | RefundSetAside
    | DisputeCounted
    | DisputeRevoked
    | DisputeReduced
    | DisputeSetAside
    | SetAsideDecided
    | SetAsideEnded
    | CompensationOwed
    | Resettled
    | OrderAlarmAcknowledged
)
