"""State of an order: its fields, and the amounts that follow from them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple, NotRequired, TypedDict
from uuid import UUID

from domain.allocation import Portion, cumulative_targets, targets
from domain.currency import step
from domain.fact import Stream
from domain.identity import DISPUTE, dispute_cause, seller_account_stream, transfer_stream
from domain.provider_call.request_body import PaymentBody


class Share(TypedDict):
    """Amount of an order that one seller is paid. `currency` is present only if it differs from the
    order's."""

    seller_id: str
    destination: str
    amount: int
    currency: NotRequired[str]


class AllocatedRefund(NamedTuple):
    """A refund that is or was divided among the sellers. `effective` is False after the refund
    failed."""

    amount: int
    explicit: dict[str, int] | None
    effective: bool
    rounds: int = 1
    """Number of times that the refund became effective."""
    payment: dict[str, str] | None = None
    """Names of the refunded payment, as the report gave them (see `domain.order.payment_match`)."""


class CountedDispute(NamedTuple):
    """A dispute that takes or took from the sellers. `effective` is False after the money came
    back."""

    amount: int
    effective: bool
    explicit: dict[str, int] | None = None
    """Amount per seller, if a person has decided it."""
    payment: dict[str, str] | None = None
    """Names of the disputed payment, as the report gave them."""


class SetAsideDecision(NamedTuple):
    """Decision of a person about a refund or dispute that was set aside."""

    amount: int
    """Amount of the order that it counts as, in minor units of the order's currency."""
    allocation: dict[str, int] | None
    """Amount per seller; None: dismissed, so that it never takes anything."""


class UncountedPayment(NamedTuple):
    """A report about a payment that pays no seller. Amount in minor units of `currency`."""

    payment_id: str
    status: str
    amount_received: int | None
    currency: str


class MadeTransfer(NamedTuple):
    """A transfer that the buyer's payment has made at Stripe (a destination charge)."""

    stripe_transfer_id: str
    amount: int


class OrderState(Stream):
    """State of one order. Amounts in minor units of `currency`, except shares with a currency of
    their own."""

    def __init__(self) -> None:
        self.order_id = self.currency = ""
        self.amount = 0
        self.shares: dict[str, Share] = {}
        self.paid = False
        self.paid_by = ""
        """Source of the fact `Paid`."""
        self.payment_id: str | None = None
        self.source_transaction: str | None = None
        self.amount_received: int | None = None
        """Amount that was collected, once the payment has told."""
        self.not_counted: set[UncountedPayment] = set()
        """Reports of payments, from before the order was paid, that pay no seller."""
        self.connector_payment: str | None = None
        """Name of the payment at the PSP's connector, if the PSP has told it."""
        self.read_charge_at: datetime | None = None
        """When the charge is read at Stripe; None once it is known, or cannot be found."""
        self.charge_reads = 0
        """Number of reads of the charge without a result."""
        self.charge_absences = 0
        """Number of those reads that showed a PaymentIntent without a charge."""
        self.charge_unread_since: datetime | None = None
        self.authority: str | None = None
        """Provider whose reports about refunds and disputes count, if the payment does not
        determine it."""
        self.refunds: dict[str, AllocatedRefund] = {}
        self.disputes: dict[str, CountedDispute] = {}
        self.seller_targets: dict[str, int] = {}
        """Amount that the effective refunds and disputes take back from each seller, as the last
        fact recorded it."""
        self.set_aside: dict[str, int] = {}
        """Amounts of refunds and disputes that cannot be divided among the sellers, by cause."""
        self.aside_payments: dict[str, dict[str, str] | None] = {}
        """Names of the refunded payment of each refund that was ever set aside."""
        self.decided: dict[str, SetAsideDecision] = {}
        """Decisions of a person, by cause."""
        self.reserved: dict[str, Portion] = {}
        """Refunds that the PSP was asked for and has not decided."""
        self.payment_body: PaymentBody | None = None
        self.compensations: list[UUID] = []
        self.made_by_charge: dict[str, MadeTransfer] = {}
        """Transfers that the payment itself has made, by seller."""
        self.reversed_by_refund: dict[str, dict[str, str]] = {}
        """Reversals at Stripe that a refund itself has made: Stripe's id by seller, by refund."""
        self.unverified = False
        """See `SellerTransfer.unverified`."""
        self.moved: dict[str, str] = {}
        """Accounts of sellers who have moved since the order was registered. Set during a command,
        without a fact."""
        self.doubt: str | None = None
        """Why the payment is doubted. If set, transfers of the order that are not sent yet are held
        back, later ones too."""
        self.doubted_as: set[str] = set()
        """Statuses at the PSP because of which the payment is doubted."""

    def share_currency(self, seller_id: str) -> str:
        """Return the currency in which a seller is paid."""
        return self.shares[seller_id].get("currency", self.currency)

    def transfer_ids(self) -> list[UUID]:
        """Return the ids of the order's transfers that exist."""
        sales = (
            [transfer_stream(self.order_id, seller_id) for seller_id in self.shares]
            if self.paid
            else []
        )
        return sales + self.compensations

    def seller_streams(self) -> list[UUID]:
        """Return the streams that tell whether the order's sellers have moved."""
        return [seller_account_stream(seller_id) for seller_id in self.shares]

    @property
    def collected(self) -> int:
        """Amount that refunds and disputes are divided over: what was received for the order; until
        that is known, the order's amount."""
        return self.amount if self.amount_received is None else self.amount_received

    @property
    def refunded(self) -> int:
        """Sum of the effective refunds."""
        return sum(refund.amount for refund in self.refunds.values() if refund.effective)

    @property
    def refundable(self) -> int:
        """Amount that a new refund may ask for: neither refunded nor reserved."""
        return max(
            0,
            self.collected
            - self.refunded
            - sum(portion.amount for portion in self.reserved.values()),
        )

    @property
    def causes(self) -> list[str]:
        """Effective refunds and disputes in the order of their allocation: refunds first, then
        disputes."""
        refunds = [refund_id for refund_id, refund in self.refunds.items() if refund.effective]
        return refunds + [
            dispute_cause(name) for name, dispute in self.disputes.items() if dispute.effective
        ]

    def targets_for(
        self, refunds: Mapping[str, AllocatedRefund], disputes: Mapping[str, CountedDispute]
    ) -> dict[str, int]:
        """Return the target of each seller if these were the order's refunds and disputes."""
        return self._targets(self.portions(refunds, disputes), self.collected)

    def targets_over(self, collected: int) -> dict[str, int]:
        """Return the target of each seller if this amount was collected."""
        return self._targets(self.portions(self.refunds, self.disputes, collected), collected)

    def parts_by_cause(self) -> dict[str, dict[str, int]]:
        """Return the part of each seller in each effective refund and dispute, in the order of
        their allocation.

        The part is the amount that the refund or dispute adds to the seller's target.
        """
        portions = self.portions(self.refunds, self.disputes)
        cumulative = cumulative_targets(
            self._amounts(), self.collected, portions, self._summed(), self._steps()
        )
        return {
            cause_id: {seller: target - before[seller] for seller, target in after.items()}
            for cause_id, (before, after) in zip(self.causes, pairwise(cumulative), strict=True)
        }

    def portions(
        self,
        refunds: Mapping[str, AllocatedRefund],
        disputes: Mapping[str, CountedDispute],
        collected: int | None = None,
    ) -> list[Portion]:
        """Return the amounts to divide among the sellers: the effective refunds, then disputes up
        to what they leave of the collected amount (None: as recorded)."""
        portions = [
            Portion(refund.amount, refund.explicit)
            for refund in refunds.values()
            if refund.effective
        ]
        collected = self.collected if collected is None else collected
        left = collected - sum(portion.amount for portion in portions)
        for dispute in disputes.values():
            if dispute.effective:
                portions.append(Portion(min(dispute.amount, left), dispute.explicit))
                left -= portions[-1].amount
        return portions

    def _targets(self, portions: Sequence[Portion], collected: int) -> dict[str, int]:
        return targets(self._amounts(), collected, portions, self._summed(), self._steps())

    def _amounts(self) -> dict[str, int]:
        return {seller: share["amount"] for seller, share in self.shares.items()}

    def _steps(self) -> dict[str, int]:
        """Return the step of the amounts of each seller whose currency Stripe moves in steps."""
        steps = {seller: step(self.share_currency(seller)) for seller in self.shares}
        return {seller: size for seller, size in steps.items() if size > 1}

    def _summed(self) -> frozenset[str]:
        """Return the sellers whose shares are in the order's currency."""
        return frozenset(
            seller for seller in self.shares if self.share_currency(seller) == self.currency
        )

    def objection_to_refund(
        self, amount: int, currency: str, explicit: Mapping[str, int] | None = None
    ) -> str | None:
        """Return why a refund that succeeded cannot be divided among the sellers; None if it
        can."""
        left = self.collected - self.refunded
        if currency != self.currency:
            return f"it is in {currency}, the order in {self.currency}"
        if amount < 1:
            return f"it is {amount}, which is no amount to divide"
        if amount > left:
            return f"it is {amount}, but only {left} of the order is not refunded yet"
        return (
            self._objection_to(explicit, amount, self.targets_for(self.refunds, {}))
            if explicit is not None
            else None
        )

    def objection_to_request(self, explicit: Mapping[str, int] | None, amount: int) -> str | None:
        """Return why a requested refund could not be divided once all reserved refunds have
        succeeded; None if it can."""
        if explicit is None:
            return None
        effective = [
            Portion(refund.amount, refund.explicit)
            for refund in self.refunds.values()
            if refund.effective
        ]
        # without disputes, because they take only the rest that refunds leave
        return self._objection_to(
            explicit,
            amount,
            self._targets([*effective, *self.reserved.values()], self.collected),
        )

    def objection_to_decision(self, decided: SetAsideDecision, cause_id: str) -> str | None:
        """Return why a refund or dispute cannot be divided as a person has decided; None if it can.

        A refund counts before all disputes, a dispute after all other causes.
        """
        dispute_id = cause_id.removeprefix(DISPUTE)
        refunds = {name: refund for name, refund in self.refunds.items() if name != cause_id}
        disputes = {name: one for name, one in self.disputes.items() if name != dispute_id}
        effective = sum(refund.amount for refund in refunds.values() if refund.effective)
        left = self.collected - effective
        if not 0 <= decided.amount <= left:
            return f"it counts as {decided.amount}, but {left} of the order is not refunded yet"
        taken = self.targets_for(refunds, disputes if dispute_id != cause_id else {})
        return self._objection_to(decided.allocation or {}, self.collected, taken)

    def _objection_to(
        self, explicit: Mapping[str, int], amount: int, taken: Mapping[str, int]
    ) -> str | None:
        unknown = [seller for seller in explicit if seller not in self.shares]
        over = [
            s
            for s in explicit
            if s in self.shares and explicit[s] > self.shares[s]["amount"] - taken[s]
        ]
        if any(part < 0 for part in explicit.values()):
            return "its allocation names a negative amount"
        odd = [s for s, size in self._steps().items() if explicit.get(s, 0) % size]
        if odd:
            currency = self.share_currency(odd[0])
            return (
                f"its allocation takes {explicit[odd[0]]} from {odd[0]!r}, and Stripe moves "
                f"{currency} in steps of {step(currency)}"
            )
        if unknown:
            return f"its allocation names {unknown[0]!r}, who has no share in the order"
        if over:
            return f"its allocation takes more from {over[0]!r} than is left of that share"
        if sum(explicit[s] for s in explicit if self.share_currency(s) == self.currency) > amount:
            return "its allocation adds up to more than the refund"
        return None
