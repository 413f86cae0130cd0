"""Facts of an order about its payment: the collected amount, the charge at Stripe, and the money
that the payment itself has moved."""

from datetime import datetime

from domain.fact import Fact
from domain.order.state import MadeTransfer, OrderState, UncountedPayment
from domain.provider_call.reasons import DeferralReason


class AmountReceived(Fact):
    """The amount that was collected for a paid order became known, or was corrected. `targets` as
    in `RefundAllocated`."""

    TOPIC = "ledger.order.amount_received"
    amount_received: int
    source: str
    targets: dict[str, int]

    def apply(self, aggregate: OrderState) -> None:
        aggregate.amount_received = self.amount_received
        aggregate.seller_targets = self.targets


class PaymentNotCounted(Fact):
    """A payment of an unpaid order was reported that pays no seller: it collected less than was
    ordered, or another currency, or was cancelled after its capture."""

    TOPIC = "ledger.order.payment_not_counted"
    payment_id: str
    status: str
    """Status at the PSP."""
    amount_received: int | None
    currency: str
    source: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.not_counted.add(
            UncountedPayment(self.payment_id, self.status, self.amount_received, self.currency)
        )


class PaymentNamed(Fact):
    """The payment id of a paid order became known, so that reports about that payment find the
    order."""

    TOPIC = "ledger.order.payment_named"
    payment_id: str
    source: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.payment_id = self.payment_id


class ConnectorPaymentNamed(Fact):
    """The connector's name of the payment of a paid order became known, so that its charge can be
    read."""

    TOPIC = "ledger.order.connector_payment_named"
    connector: str | None
    connector_payment: str
    source: str
    read_charge_at: datetime

    def apply(self, aggregate: OrderState) -> None:
        aggregate.connector_payment = self.connector_payment
        aggregate.read_charge_at, aggregate.charge_reads = self.read_charge_at, 0


class ChargeReadDeferred(Fact):
    """Stripe did not show the charge; it is read again at `read_charge_at`."""

    TOPIC = "ledger.order.charge_read_deferred"
    connector_payment: str
    why: str
    """A value of `DeferralReason`."""
    detail: str
    reads: int
    """Number of reads without a result."""
    since: datetime
    """Begin of the time in which the charge could not be read."""
    read_charge_at: datetime

    def apply(self, aggregate: OrderState) -> None:
        aggregate.read_charge_at = self.read_charge_at
        aggregate.charge_reads, aggregate.charge_unread_since = self.reads, self.since
        aggregate.charge_absences += self.why == DeferralReason.PENDING


class ChargeReadRequested(Fact):
    """An operator asked the ledger to read the charge again."""

    TOPIC = "ledger.order.charge_read_requested"
    actor: str
    reason: str
    read_charge_at: datetime

    def apply(self, aggregate: OrderState) -> None:
        aggregate.read_charge_at, aggregate.charge_reads = self.read_charge_at, 0
        aggregate.charge_unread_since, aggregate.charge_absences = None, 0


class ChargeFound(Fact):
    """Stripe shows the charge of the payment. It is the source of the sale's transfers, up to its
    amount."""

    TOPIC = "ledger.order.charge_found"
    connector_payment: str
    """The PaymentIntent that leads to the charge, or the charge itself."""
    charge: str
    amount: int
    currency: str
    settled_amount: int | None
    """Amount of the charge's balance transaction; None if Stripe does not show it yet."""
    settled_currency: str | None
    status: str
    sourced: int
    """Number of transfers that are paid from the charge from now on."""

    def apply(self, aggregate: OrderState) -> None:
        aggregate.read_charge_at = None
        if self.status != "failed":  # the same payment may succeed with another charge
            aggregate.source_transaction = self.charge


class ChargeNotFound(Fact):
    """The charge of the payment cannot be read at Stripe with our key: the transfers are paid from
    the platform's balance."""

    TOPIC = "ledger.order.charge_not_found"
    order_id: str
    connector_payment: str
    why: str
    """`not_readable` (another account or mode, or a key without the permission) or `no_charge`."""
    detail: str
    unfunded: int
    """Number of transfers that waited for the charge, and are sent without it."""
    amount: int
    """Their sum, in minor units of `currency`; shares in other currencies are not counted."""
    currency: str

    def apply(self, aggregate: OrderState) -> None:
        aggregate.read_charge_at = None


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
        # a new dict: copies of the state share the old one
        made = aggregate.reversed_by_refund.get(self.refund_id, {})
        aggregate.reversed_by_refund[self.refund_id] = {
            **made,
            self.seller_id: self.stripe_reversal_id,
        }
