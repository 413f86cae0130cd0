"""State of an order: its fields, and the amounts that follow from them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, NotRequired, TypedDict
from uuid import UUID

from domain.allocation import Portion, cumulative_targets, targets
from domain.fact import Stream
from domain.identity import dispute_cause, transfer_stream
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
        self.doubt: str | None = None
        """Why the payment is doubted. If set, transfers of the order that are not sent yet are held
        back, later ones too."""

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

    @property
    def refunded(self) -> int:
        """Sum of the effective refunds."""
        return sum(refund.amount for refund in self.refunds.values() if refund.effective)

    @property
    def refundable(self) -> int:
        """Amount that a new refund may ask for: neither refunded nor reserved."""
        return max(
            0,
            self.amount - self.refunded - sum(portion.amount for portion in self.reserved.values()),
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
        return self._targets(self.portions(refunds, disputes))

    def parts_by_cause(self) -> dict[str, dict[str, int]]:
        """Return the part of each seller in each effective refund and dispute, in the order of
        their allocation.

        The part is the amount that the refund or dispute adds to the seller's target.
        """
        portions = self.portions(self.refunds, self.disputes)
        cumulative = cumulative_targets(self._amounts(), self.amount, portions, self._summed())
        return {
            cause_id: {seller: target - before[seller] for seller, target in after.items()}
            for cause_id, (before, after) in zip(self.causes, pairwise(cumulative), strict=True)
        }

    def portions(
        self, refunds: Mapping[str, AllocatedRefund], disputes: Mapping[str, CountedDispute]
    ) -> list[Portion]:
        """Return the amounts to divide among the sellers: the effective refunds, then disputes up
        to the amount left."""
        portions = [
            Portion(refund.amount, refund.explicit)
            for refund in refunds.values()
            if refund.effective
        ]
        left = self.amount - sum(portion.amount for portion in portions)
        for dispute in disputes.values():
            if dispute.effective:
                portions.append(Portion(min(dispute.amount, left)))
                left -= portions[-1].amount
        return portions

    def _targets(self, portions: Sequence[Portion]) -> dict[str, int]:
        return targets(self._amounts(), self.amount, portions, self._summed())

    def _amounts(self) -> dict[str, int]:
        return {seller: share["amount"] for seller, share in self.shares.items()}

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
        left = self.amount - self.refunded
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
            explicit, amount, self._targets([*effective, *self.reserved.values()])
        )

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
        if unknown:
            return f"its allocation names {unknown[0]!r}, who has no share in the order"
        if over:
            return f"its allocation takes more from {over[0]!r} than is left of that share"
        if sum(explicit[s] for s in explicit if self.share_currency(s) == self.currency) > amount:
            return "its allocation adds up to more than the refund"
        return None
