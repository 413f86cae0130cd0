"""State of an order: its fields, and the amounts that follow from them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, NotRequired, TypedDict
from uuid import UUID

from domain.allocation import Portion, targets
from domain.fact import Stream
from domain.identity import dispute_cause, transfer_stream
from domain.provider_call.request_body import PaymentBody


class Disputed(NamedTuple):
    """One dispute as the order knows it. `effective` is False after the money came back."""

    amount: int
    effective: bool


class Share(TypedDict):
    """What one seller is paid of an order. `currency` only where it is not the order's."""

    seller_id: str
    destination: str
    amount: int
    currency: NotRequired[str]


class Admitted(NamedTuple):
    """One refund as the order knows it. `effective` is False after it failed."""

    amount: int
    explicit: dict[str, int] | None
    effective: bool
    rounds: int = 1
    """How often it became effective."""


class OrderState(Stream):
    """State of one order. Amounts in minor units of `currency`, except shares with a currency of their own."""

    def __init__(self) -> None:
        self.order_id = self.currency = ""
        self.amount = 0
        self.shares: dict[str, Share] = {}
        self.paid = False
        self.paid_by = ""
        """Who said so: the source of `Paid`."""
        self.payment_id: str | None = None
        self.source_transaction: str | None = None
        self.authority: str | None = None
        """Whose word about refunds and disputes counts, where the payment does not tell."""
        self.refunds: dict[str, Admitted] = {}
        self.disputes: dict[str, Disputed] = {}
        self.set_aside: dict[str, int] = {}
        self.reserved: dict[str, Portion] = {}
        """Refunds that the PSP was asked for and has not decided."""
        self.payment_body: PaymentBody | None = None
        self.compensations: list[UUID] = []
        self.unverified = False
        """See `SellerTransfer.unverified`."""
        self.doubt: str | None = None
        """What is said against its payment: what is unsent of it, now or later, is held back."""

    def share_currency(self, seller_id: str) -> str:
        """The currency in which a seller is paid."""
        return self.shares[seller_id].get("currency", self.currency)

    def transfer_ids(self) -> list[UUID]:
        """The ids of all its transfers that exist."""
        sales = [transfer_stream(self.order_id, seller_id) for seller_id in self.shares] if self.paid else []
        return sales + self.compensations

    @property
    def refunded(self) -> int:
        """The sum of the effective refunds."""
        return sum(refund.amount for refund in self.refunds.values() if refund.effective)

    @property
    def causes(self) -> list[str]:
        """What takes from the sellers now, in the order in which it is divided: refunds first, then disputes."""
        refunds = [refund_id for refund_id, refund in self.refunds.items() if refund.effective]
        return refunds + [dispute_cause(name) for name, dispute in self.disputes.items() if dispute.effective]

    def targets(self) -> dict[str, int]:
        """What must have come back from each seller, given the refunds and disputes that are effective now."""
        return self.goals(self.refunds, self.disputes)

    def targets_through(self, cause_id: str) -> dict[str, int]:
        """What must have come back after the effective refunds and disputes up to and with this one."""
        return self._after(self.causes.index(cause_id) + 1)

    def steps_of(self, cause_id: str) -> dict[str, int]:
        """What this effective refund or dispute adds to each seller's target."""
        earlier = self._after(self.causes.index(cause_id))
        return {seller: goal - earlier[seller] for seller, goal in self.targets_through(cause_id).items()}

    def _after(self, count: int) -> dict[str, int]:
        return self._targets(self.portions(self.refunds, self.disputes)[:count])

    def goals(self, refunds: Mapping[str, Admitted], disputes: Mapping[str, Disputed]) -> dict[str, int]:
        """What must have come back from each seller, if these were the order's refunds and disputes."""
        return self._targets(self.portions(refunds, disputes))

    def portions(self, refunds: Mapping[str, Admitted], disputes: Mapping[str, Disputed]) -> list[Portion]:
        """What is divided among the sellers: the effective refunds, then of disputes as much as those leave."""
        portions = [Portion(refund.amount, refund.explicit) for refund in refunds.values() if refund.effective]
        left = self.amount - sum(portion.amount for portion in portions)
        for dispute in disputes.values():
            if dispute.effective:
                portions.append(Portion(min(dispute.amount, left)))
                left -= portions[-1].amount
        return portions

    @property
    def left(self) -> int:
        """What a new refund may ask for: neither refunded nor reserved."""
        return max(0, self.amount - self.refunded - sum(portion.amount for portion in self.reserved.values()))

    def objection_to_asking(self, explicit: Mapping[str, int] | None, amount: int) -> str | None:
        """Why an allocation could not be taken from the sellers once everything that is reserved has been."""
        effective = [Portion(r.amount, r.explicit) for r in self.refunds.values() if r.effective]
        taken = self._targets([*effective, *self.reserved.values()])  # disputes leave to refunds what these take
        return self._objection_to(explicit, amount, taken) if explicit is not None else None

    def _targets(self, portions: Sequence[Portion]) -> dict[str, int]:
        shares = {seller: share["amount"] for seller, share in self.shares.items()}
        summed = frozenset(seller for seller in shares if self.share_currency(seller) == self.currency)
        return targets(shares, self.amount, portions, summed)

    def objection(self, amount: int, currency: str, explicit: Mapping[str, int] | None = None) -> str | None:
        """Why a refund cannot be divided among the sellers; None when it can."""
        left = self.amount - self.refunded
        if currency != self.currency:
            return f"it is in {currency}, the order in {self.currency}"
        if amount < 1:
            return f"it is {amount}, which is no amount to divide"
        if amount > left:
            return f"it is {amount}, but only {left} of the order is not refunded yet"
        return self._objection_to(explicit, amount, self.goals(self.refunds, {})) if explicit is not None else None

    def _objection_to(self, explicit: Mapping[str, int], amount: int, taken: Mapping[str, int]) -> str | None:
        strangers = [seller for seller in explicit if seller not in self.shares]
        over = [s for s in explicit if s in self.shares and explicit[s] > self.shares[s]["amount"] - taken[s]]
        if any(part < 0 for part in explicit.values()):
            return "its allocation names a negative amount"
        if strangers:
            return f"its allocation names {strangers[0]!r}, who has no share in the order"
        if over:
            return f"its allocation takes more from {over[0]!r} than is left of that share"
        if sum(explicit[s] for s in explicit if self.share_currency(s) == self.currency) > amount:
            return "its allocation adds up to more than the refund"
        return None
