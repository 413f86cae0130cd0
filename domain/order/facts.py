"""Facts of an order: registration, payment, refunds, disputes and compensations."""

from typing import NotRequired, TypedDict
from uuid import UUID

from domain.allocation import Portion
from domain.fact import Fact, Opening
from domain.identity import dispute_cause
from domain.order.state import (
    AllocatedRefund,
    CountedDispute,
    MadeTransfer,
    OrderState,
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

    def apply(self, aggregate: OrderState) -> None:
        aggregate.paid, aggregate.paid_by = True, self.source
        aggregate.payment_id, aggregate.source_transaction = (
            self.payment_id,
            self.source_transaction,
        )


class PaymentNamed(Fact):
    """The payment id of a paid order became known, so that reports about that payment find the
    order."""

    TOPIC = "ledger.order.payment_named"
    payment_id: str
    source: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.payment_id = self.payment_id


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

    def apply(self, aggregate: OrderState) -> None:
        aggregate.set_aside[self.refund_id] = self.amount


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

    def apply(self, aggregate: OrderState) -> None:
        aggregate.seller_targets = self.targets
        aggregate.disputes.pop(self.dispute_id, None)
        aggregate.disputes[self.dispute_id] = CountedDispute(self.amount, True)


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


class DisputeSetAside(Fact):
    """A dispute cannot be divided, because it is in another currency. An operator decides."""

    TOPIC = "ledger.order.dispute_set_aside"
    dispute_id: str
    amount: int
    currency: str
    why: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.set_aside[dispute_cause(self.dispute_id)] = self.amount


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

    def apply(self, aggregate: OrderState) -> None:
        aggregate.doubt = self.detail


class TransferMadeByCharge(Fact):
    """The payment is split at the PSP (a destination charge): it has made the transfer to this
    seller at Stripe, so the ledger sends none."""

    TOPIC = "ledger.order.transfer_made_by_charge"
    seller_id: str
    stripe_transfer_id: str
    amount: int
    source: str

    def apply(self, aggregate: OrderState) -> None:
        made = MadeTransfer(self.stripe_transfer_id, self.amount)
        aggregate.made_by_charge[self.seller_id] = made


class ReversalMadeByRefund(Fact):
    """The refund is split at the PSP (`revert_transfer`): it has reversed this seller's part at
    Stripe, so the ledger reverses nothing."""

    TOPIC = "ledger.order.reversal_made_by_refund"
    refund_id: str
    seller_id: str
    stripe_reversal_id: str
    amount: int
    source: str

    def apply(self, aggregate: OrderState) -> None:
        made = aggregate.reversed_by_refund.setdefault(self.refund_id, {})
        made[self.seller_id] = self.stripe_reversal_id


AnyOrderFact = (
    Registered
    | TransferMadeByCharge
    | ReversalMadeByRefund
    | PaymentRequested
    | Paid
    | PaymentDoubted
    | PaymentNamed
    | RefundReserved
    | RefundReleased
    | AuthorityFound
    | RefundAllocated
    | RefundRevoked
    | RefundSetAside
    | DisputeCounted
    | DisputeRevoked
    | DisputeSetAside
    | CompensationOwed
    | Resettled
)
