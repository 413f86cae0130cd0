"""Memory of the oracle about the world: which payments, refunds and disputes were ever effective,
and which idempotency keys had an intent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infrastructure.simulation.faults.books import HeldPayment, StoredFactView
from infrastructure.simulation.faults.invariants.arithmetic import Claim
from infrastructure.simulation.faults.invariants.glance import Glance
from infrastructure.simulation.faults.invariants.told import Told, ToldOrder

Json = Mapping[str, Any]
CAPTURED = ("succeeded", "partially_captured")
DISPUTE = "dispute "
"""Prefix of the cause that the ledger records for a dispute."""


@dataclass
class World:
    """History of the providers' books, seen step by step."""

    paid: set[str] = field(default_factory=set)
    """Orders whose payment has ever collected at least the order."""
    succeeded: dict[str, int] = field(default_factory=dict)
    """Number of times that each refund at the PSP has become succeeded."""
    lost: set[str] = field(default_factory=set)
    """Disputes that were ever lost."""
    failed_payments: set[str] = field(default_factory=set)
    intents: dict[str, list[Json]] = field(default_factory=dict)
    """Bodies of the intents of each idempotency key; restores forget nothing."""
    _refunds: dict[str, str] = field(default_factory=dict)
    _heard: int = 0

    def see(self, books: Glance, told: Told) -> None:
        """Remember what has become true at the providers."""
        for payment in books.payments:
            self._see_payment(payment, told)
        for refund in books.refunds:
            before = self._refunds.get(refund.id)
            if refund.status == "succeeded" and before != "succeeded":
                self.succeeded[refund.id] = self.succeeded.get(refund.id, 0) + 1
            self._refunds[refund.id] = refund.status
        self.lost |= {dispute.id for dispute in books.disputes if dispute.status == "lost"}
        for told_by in books.acknowledged[self._heard :]:
            self._hear(told_by.details)
        self._heard = len(books.acknowledged)

    def _hear(self, webhook: Json) -> None:
        """Learn from a signed webhook: a refund can succeed and fail between two steps."""
        object_ = webhook.get("body", {}).get("content", {}).get("object", {})
        if webhook.get("event_type") == "refund_succeeded":
            self.succeeded.setdefault(object_.get("refund_id"), 1)

    def _see_payment(self, payment: HeldPayment, told: Told) -> None:
        if payment.status in ("failed", "cancelled", "cancelled_post_capture"):
            self.failed_payments.add(payment.id)
        for order in _orders_of(payment, told):
            enough = payment.amount_received >= order.amount
            if payment.status in CAPTURED and enough and payment.currency == order.currency:
                self.paid.add(order.order_id)

    def intent(self, one: StoredFactView) -> None:
        """Remember the intent of a call to Stripe."""
        if one.topic == "ledger.seller_transfer.call_started":
            self.intents.setdefault(one.fact["key"], []).append(one.fact["body"])

    def ever(self, told: Told, cause: str) -> int:
        """Return how often a refund or dispute has become effective."""
        if cause.startswith(DISPUTE):
            return int(cause.removeprefix(DISPUTE) in self.lost)
        return max((self.succeeded.get(name, 0) for name in told.names_of(cause)), default=0)


def payments_of(books: Glance, order: ToldOrder) -> list[HeldPayment]:
    """Return the payments of an order at the PSP."""
    return [one for one in books.payments if order.order_id == one.order_id
            or order.payment_id == one.id]  # fmt: skip


def claims(
    books: Glance, told: Told, order: ToldOrder, *, ever: World | None = None
) -> list[Claim]:
    """Return the refunds and disputes that are effective at the PSP now; with `ever`, those that
    were ever effective."""
    return [*_refunds(books, told, order, ever), *_disputes(books, order, ever)]


def _refunds(books: Glance, told: Told, order: ToldOrder, ever: World | None) -> Iterator[Claim]:
    """Yield refunds, in the order in which the ledger learnt of them: it counts only for explicit
    allocations."""
    theirs = {payment.id for payment in payments_of(books, order)}
    known = list(order.refunds)
    found = []
    for refund in books.refunds:
        effective = refund.status == "succeeded" if ever is None else refund.id in ever.succeeded
        if refund.payment_id not in theirs or not effective:
            continue
        names = told.names_of(refund.id)
        explicit = next((one.explicit for one in told.refunds.values() if refund.id in one.names),
                        None)  # fmt: skip
        name = next((cause for cause in known if cause in names), refund.id)
        place = known.index(name) if name in known else len(known)
        found.append((place, Claim(name, refund.amount, explicit)))
    yield from (_decided(claim, order) for _, claim in sorted(found, key=lambda pair: pair[0]))


def _decided(claim: Claim, order: ToldOrder) -> Claim:
    if claim.cause not in order.decided:
        return claim
    decision = order.decided[claim.cause]
    return claim._replace(explicit=decision) if decision else claim._replace(amount=0)


def _disputes(books: Glance, order: ToldOrder, ever: World | None) -> Iterator[Claim]:
    theirs = {payment.id for payment in payments_of(books, order)}
    for dispute in books.disputes:
        lost = dispute.status == "lost" if ever is None else dispute.id in ever.lost
        if dispute.payment_id in theirs and lost:
            cause = DISPUTE + dispute.id
            yield _decided(Claim(cause, dispute.amount, None, dispute=True), order)


def _orders_of(payment: HeldPayment, told: Told) -> Iterator[ToldOrder]:
    for order in told.orders.values():
        if payment.id == order.payment_id or payment.order_id == order.order_id:
            yield order
