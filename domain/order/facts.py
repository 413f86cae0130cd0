"""What an order asks of the PSP: its payment, and the parts of it that are being refunded."""

from typing import NotRequired, TypedDict
from uuid import UUID

from domain.allocation import Portion
from domain.fact import Fact, Opening
from domain.identity import dispute_cause
from domain.order.state import Admitted, Disputed, OrderState, Share
from domain.provider_call.request_body import PaymentBody


class RefundReserved(Fact):
    """A refund is asked of the PSP: until that has decided, nobody else may ask for this part of the order."""

    TOPIC = "ledger.order.refund_reserved"
    refund_id: str
    amount: int
    explicit: dict[str, int] | None

    def apply(self, aggregate: OrderState) -> None:
        aggregate.reserved[self.refund_id] = Portion(self.amount, self.explicit)


class RefundReleased(Fact):
    """A refund that was asked of the PSP came to nothing: its part of the order is free again."""

    TOPIC = "ledger.order.refund_released"
    refund_id: str
    amount: int

    def apply(self, aggregate: OrderState) -> None:
        aggregate.reserved.pop(self.refund_id, None)


class PaymentRequested(Fact):
    """The PSP is about to be asked for a payment: exactly this body, under exactly this key."""

    TOPIC = "ledger.order.payment_requested"
    payment_id: str
    key: str
    body: PaymentBody

    def apply(self, aggregate: OrderState) -> None:
        # its webhook may come before our answer, and names it like this
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
    """An order with its shares (minor units)."""

    TOPIC = "ledger.order.registered"
    order_id: str
    currency: str
    amount: int
    shares: list[Share]
    payment_id: str | None = None
    source_transaction: str | None = None

    def apply(self, aggregate: OrderState) -> None:
        aggregate.order_id, aggregate.currency, aggregate.amount = self.order_id, self.currency, self.amount
        aggregate.shares = {share["seller_id"]: share for share in self.shares}
        aggregate.payment_id, aggregate.source_transaction = self.payment_id, self.source_transaction


class Paid(Fact):
    """The buyer's payment succeeded: the sellers are to be paid."""

    TOPIC = "ledger.order.paid"
    payment_id: str | None
    source_transaction: str | None
    source: str
    """Who said so: `api`, or a webhook as `hyperswitch:<event id>`."""

    def apply(self, aggregate: OrderState) -> None:
        aggregate.paid, aggregate.paid_by = True, self.source
        aggregate.payment_id, aggregate.source_transaction = self.payment_id, self.source_transaction


class PaymentNamed(Fact):
    """The order was paid already, and now it is known by which payment: what is told of that payment finds the order."""

    TOPIC = "ledger.order.payment_named"
    payment_id: str
    source: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.payment_id = self.payment_id


class RefundAllocated(Fact):
    """A refund is effective; `refunded` is the total of the order after it, `targets` what each seller owes in all."""

    TOPIC = "ledger.order.refund_allocated"
    refund_id: str
    amount: int
    explicit: dict[str, int] | None
    refunded: int
    targets: dict[str, int]

    def apply(self, aggregate: OrderState) -> None:
        before = aggregate.refunds.pop(self.refund_id, None)
        rounds = before.rounds + 1 if before is not None else 1
        aggregate.refunds[self.refund_id] = Admitted(self.amount, self.explicit, True, rounds)
        aggregate.set_aside.pop(self.refund_id, None)
        aggregate.reserved.pop(self.refund_id, None)


class RefundRevoked(Fact):
    """A refund that had been effective failed after all; `targets` is what each seller owes without it."""

    TOPIC = "ledger.order.refund_revoked"
    refund_id: str
    amount: int
    refunded: int
    targets: dict[str, int]

    def apply(self, aggregate: OrderState) -> None:
        aggregate.refunds[self.refund_id] = aggregate.refunds[self.refund_id]._replace(effective=False)


class RefundSetAside(Fact):
    """A refund that cannot be divided: another currency, or more than is left. An operator decides."""

    TOPIC = "ledger.order.refund_set_aside"
    refund_id: str
    amount: int
    currency: str
    why: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.set_aside[self.refund_id] = self.amount


class CompensationOwed(Fact):
    """What a refund took in vain goes back to the seller by a transfer of its own; the order keeps count of those."""

    TOPIC = "ledger.order.compensation_owed"
    transfer_id: str
    seller_id: str
    amount: int
    cause_id: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.compensations.append(UUID(self.transfer_id))


class Resettled(Fact):
    """Its transfers were settled anew after a call whose cause had vanished: a refund decided meanwhile decides again."""

    TOPIC = "ledger.order.resettled"
    cause_id: str


class DisputeCounted(Fact):
    """A dispute takes from the sellers: `counted` of its `amount`, as much as refunds leave; `targets` as for refunds."""

    TOPIC = "ledger.order.dispute_counted"
    dispute_id: str
    amount: int
    counted: int
    targets: dict[str, int]

    def apply(self, aggregate: OrderState) -> None:
        aggregate.disputes.pop(self.dispute_id, None)
        aggregate.disputes[self.dispute_id] = Disputed(self.amount, True)


class DisputeRevoked(Fact):
    """A dispute takes nothing any more; `targets` is what each seller owes without it."""

    TOPIC = "ledger.order.dispute_revoked"
    dispute_id: str
    amount: int
    targets: dict[str, int]

    def apply(self, aggregate: OrderState) -> None:
        aggregate.disputes[self.dispute_id] = Disputed(self.amount, False)


class DisputeSetAside(Fact):
    """A dispute that cannot be divided, being in another currency. An operator decides."""

    TOPIC = "ledger.order.dispute_set_aside"
    dispute_id: str
    amount: int
    currency: str
    why: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.set_aside[dispute_cause(self.dispute_id)] = self.amount


class AuthorityFound(Fact):
    """From now on this provider's word counts about the order's refunds and disputes."""

    TOPIC = "ledger.order.authority_found"
    provider: str
    source: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.authority = self.provider


class PaymentDoubted(Fact):
    """The payment is said to have failed after it was recorded as succeeded. `held` transfers were unsent, `sent` were not."""

    TOPIC = "ledger.order.payment_doubted"
    payment_id: str
    source: str
    """Who said so, a webhook as `hyperswitch:<event id>`."""
    detail: str
    held: int
    sent: int

    def apply(self, aggregate: OrderState) -> None:
        aggregate.doubt = self.detail


AnyOrderFact = (
    Registered
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
