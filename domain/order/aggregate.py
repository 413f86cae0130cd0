"""An order: its shares per seller, its payment, and the allocation of its refunds and disputes.

The order is the boundary that allocates, because only it knows the cumulative amounts. Its facts live beside it.
Refunds and disputes share one cap, and refunds come first, however late they come: a dispute takes at most what refunds
leave of the order now. So the end does not depend on which of them was heard of first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, NotRequired, TypedDict
from uuid import UUID

from domain.allocation import Portion, targets
from domain.errors import ContentDiffers, ExceedsOrder, Refused
from domain.fact import Fact, Opening, Stream, opened
from domain.identity import dispute_cause, order_stream, transfer_stream
from domain.order.authority import AuthorityFound
from domain.order.disputes import DisputeCounted, Disputed, DisputeRevoked, DisputeSetAside
from domain.order.facts import PaymentRequested, RefundReleased, RefundReserved
from domain.provider_call.psp_objects import PaymentBody, name_at_psp
from domain.seller_transfer.payment_hold import PaymentDoubted

TOPIC = "ledger.order"


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


class Registered(Opening):
    """An order with its shares (minor units)."""

    TOPIC = "ledger.order.registered"
    order_id: str
    currency: str
    amount: int
    shares: list[Share]
    payment_id: str | None = None
    source_transaction: str | None = None

    def apply(self, aggregate: "Order") -> None:
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

    def apply(self, aggregate: "Order") -> None:
        aggregate.paid, aggregate.paid_by = True, self.source
        aggregate.payment_id, aggregate.source_transaction = self.payment_id, self.source_transaction


class PaymentNamed(Fact):
    """The order was paid already, and now it is known by which payment: what is told of that payment finds the order."""

    TOPIC = "ledger.order.payment_named"
    payment_id: str
    source: str

    def apply(self, aggregate: "Order") -> None:
        aggregate.payment_id = self.payment_id


class RefundAllocated(Fact):
    """A refund is effective; `refunded` is the total of the order after it, `targets` what each seller owes in all."""

    TOPIC = "ledger.order.refund_allocated"
    refund_id: str
    amount: int
    explicit: dict[str, int] | None
    refunded: int
    targets: dict[str, int]

    def apply(self, aggregate: "Order") -> None:
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

    def apply(self, aggregate: "Order") -> None:
        aggregate.refunds[self.refund_id] = aggregate.refunds[self.refund_id]._replace(effective=False)


class RefundSetAside(Fact):
    """A refund that cannot be divided: another currency, or more than is left. An operator decides."""

    TOPIC = "ledger.order.refund_set_aside"
    refund_id: str
    amount: int
    currency: str
    why: str

    def apply(self, aggregate: "Order") -> None:
        aggregate.set_aside[self.refund_id] = self.amount


class CompensationOwed(Fact):
    """What a refund took in vain goes back to the seller by a transfer of its own; the order keeps count of those."""

    TOPIC = "ledger.order.compensation_owed"
    transfer_id: str
    seller_id: str
    amount: int
    cause_id: str

    def apply(self, aggregate: "Order") -> None:
        aggregate.compensations.append(UUID(self.transfer_id))


class Resettled(Fact):
    """Its transfers were settled anew after a call whose cause had vanished: a refund decided meanwhile decides again."""

    TOPIC = "ledger.order.resettled"
    cause_id: str


class Order(Stream):
    """One order. Amounts in minor units of `currency`, except shares with a currency of their own."""

    TOPIC = TOPIC
    Event = Fact  # type: ignore[assignment]  # see `Stream`
    Created = Registered  # type: ignore[assignment]  # see `Stream`

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
        self.unseen = False
        """See `SellerTransfer.unseen`."""
        self.doubt: str | None = None
        """What is said against its payment: what is unsent of it, now or later, is held back."""

    @classmethod
    def register(
        cls,
        *,
        order_id: str,
        currency: str,
        amount: int,
        shares: Sequence[Share],
        now: datetime,
        payment_id: str | None = None,
        source_transaction: str | None = None,
    ) -> "Order":
        """A new order. Raises ExceedsOrder when its shares claim more than it, Refused when a seller comes twice."""
        claimed = sum(share["amount"] for share in shares if share.get("currency", currency) == currency)
        if claimed > amount:
            raise ExceedsOrder(f"The sum of the shares of order {order_id!r}", claimed, amount, currency)
        if len({share["seller_id"] for share in shares}) != len(shares):
            raise Refused(f"A seller comes twice in order {order_id!r}; expected one share per seller.")
        fact = Registered(
            originator_id=order_stream(order_id),
            originator_version=1,
            originator_topic=TOPIC,
            timestamp=now,
            order_id=order_id,
            currency=currency,
            amount=amount,
            shares=list(shares),
            payment_id=payment_id,
            source_transaction=source_transaction,
        )
        return opened(cls, fact)

    def agree(
        self, currency: str, amount: int, shares: Sequence[Share], payment_id: str | None, source_transaction: str | None
    ) -> None:
        """Check that a repeated registration says the same. Raises ContentDiffers, naming the members that differ."""
        same = {
            "currency": self.currency == currency,
            "amount": self.amount == amount,
            "shares": list(self.shares.values()) == list(shares),
            "payment_id": payment_id in (None, self.payment_id),
            "source_transaction": source_transaction in (None, self.source_transaction),
        }
        if not all(same.values()):
            raise ContentDiffers("order", self.order_id, [name for name, equal in same.items() if not equal])

    def share_currency(self, seller_id: str) -> str:
        """The currency in which a seller is paid."""
        return self.shares[seller_id].get("currency", self.currency)

    def pay(self, payment_id: str | None, source_transaction: str | None, source: str, now: datetime) -> bool:
        """The buyer has paid. Answers whether that is news; the name of a payment told without one is kept, and none.
        Raises ContentDiffers when another payment paid it."""
        known, given = self.payment_id, payment_id
        if known is not None and given is not None and known != given:
            raise ContentDiffers("order", self.order_id, ["payment_id"])
        if self.paid:
            if known is None and given is not None:
                self.record(PaymentNamed(**self.next(now), payment_id=given, source=source))
            return False
        paid_by, charge = given or known, source_transaction or self.source_transaction
        self.record(Paid(**self.next(now), payment_id=paid_by, source_transaction=charge, source=source))
        return True

    def transfer_ids(self) -> list[UUID]:
        """The ids of all its transfers that exist."""
        sales = [transfer_stream(self.order_id, seller_id) for seller_id in self.shares] if self.paid else []
        return sales + self.compensations

    def owe(self, transfer_id: UUID, seller_id: str, amount: int, cause_id: str, now: datetime) -> None:
        """Keep count of a compensating transfer: whoever settles this order next has to reckon with it."""
        self.record(
            CompensationOwed(
                **self.next(now), transfer_id=str(transfer_id), seller_id=seller_id, amount=amount, cause_id=cause_id
            )
        )

    def resettle(self, cause_id: str, now: datetime) -> None:
        """Fence off whoever settles this order at the same time without knowing what was changed."""
        self.record(Resettled(**self.next(now), cause_id=cause_id))

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

    def reserve(self, refund_id: str, amount: int, explicit: dict[str, int] | None, now: datetime) -> None:
        """This part of the order is asked for."""
        self.record(RefundReserved(**self.next(now), refund_id=refund_id, amount=amount, explicit=explicit))

    def release(self, refund_id: str, now: datetime) -> None:
        """It came to nothing. Twice is as good as once."""
        portion = self.reserved.get(refund_id)
        if portion is not None:
            self.record(RefundReleased(**self.next(now), refund_id=refund_id, amount=portion.amount))

    def request_payment(self, now: datetime) -> PaymentBody:
        """The body under which the PSP is asked for the payment, for ever the same. Raises Refused."""
        name = name_at_psp(self.order_id)
        if self.payment_id not in (None, name) or (self.paid and self.payment_id is None):
            paid_by = f"names payment {self.payment_id!r}" if self.payment_id else "is paid already"
            raise Refused(f"Order {self.order_id!r} {paid_by}, so no other payment is created for it.")
        if self.payment_body is not None:
            return self.payment_body
        body = PaymentBody(
            payment_id=name,
            amount=self.amount,
            currency=self.currency,
            metadata={"order_id": self.order_id},
            merchant_order_reference_id=self.order_id,
        )
        self.record(PaymentRequested(**self.next(now), payment_id=name, key=self.order_id, body=body))
        return body

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

    def admit(self, refund_id: str, amount: int, currency: str, explicit: dict[str, int] | None, now: datetime) -> str | None:
        """A refund succeeded: it is effective, or set aside; answers why it was set aside. Twice is as good as once."""
        known = self.refunds.get(refund_id)
        if known is not None and known.effective:
            return None
        why = self.objection(amount, currency, explicit)
        if why is not None:
            if refund_id not in self.set_aside:
                fact = RefundSetAside(**self.next(now), refund_id=refund_id, amount=amount, currency=currency, why=why)
                self.record(fact)
            return why
        others = {name: refund for name, refund in self.refunds.items() if name != refund_id}
        self.record(
            RefundAllocated(
                **self.next(now),
                refund_id=refund_id,
                amount=amount,
                explicit=explicit,
                refunded=self.refunded + amount,
                targets=self.goals({**others, refund_id: Admitted(amount, explicit, True)}, self.disputes),
            )
        )
        return None

    def revoke(self, refund_id: str, now: datetime) -> bool:
        """A refund that was effective failed after all. Answers whether that is news."""
        known = self.refunds.get(refund_id)
        if known is None or not known.effective:
            return False
        rest = {name: refund for name, refund in self.refunds.items() if name != refund_id}
        self.record(
            RefundRevoked(
                **self.next(now),
                refund_id=refund_id,
                amount=known.amount,
                refunded=self.refunded - known.amount,
                targets=self.goals(rest, self.disputes),
            )
        )
        return True


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
