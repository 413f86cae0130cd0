"""What an order asks of the PSP: its payment, and the parts of it that are being refunded."""

from typing import TYPE_CHECKING

from domain.allocation import Portion
from domain.fact import Fact
from domain.provider_call.psp_objects import PaymentBody

if TYPE_CHECKING:
    from domain.order.aggregate import Order


class RefundReserved(Fact):
    """A refund is asked of the PSP: until that has decided, nobody else may ask for this part of the order."""

    TOPIC = "ledger.order.refund_reserved"
    refund_id: str
    amount: int
    explicit: dict[str, int] | None

    def apply(self, aggregate: "Order") -> None:
        aggregate.reserved[self.refund_id] = Portion(self.amount, self.explicit)


class RefundReleased(Fact):
    """A refund that was asked of the PSP came to nothing: its part of the order is free again."""

    TOPIC = "ledger.order.refund_released"
    refund_id: str
    amount: int

    def apply(self, aggregate: "Order") -> None:
        aggregate.reserved.pop(self.refund_id, None)


class PaymentRequested(Fact):
    """The PSP is about to be asked for a payment: exactly this body, under exactly this key."""

    TOPIC = "ledger.order.payment_requested"
    payment_id: str
    key: str
    body: PaymentBody

    def apply(self, aggregate: "Order") -> None:
        # its webhook may come before our answer, and names it like this
        aggregate.payment_id, aggregate.payment_body = self.payment_id, self.body
