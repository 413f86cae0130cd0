"""What Stripe's webhooks say of buyers' payments: refunds and disputes, of orders whose payment Stripe took."""

from collections.abc import Awaitable, Callable, Sequence

from application.commands.disputes import DisputeReport
from application.commands.orders import TransferLedger, subject_of_order, subject_of_payment
from application.commands.refunds import RefundReport
from application.ports import Directory
from application.webhooks.handler import DONE, Disposition, Ignored, Parked, Reaction, StoredEvent, marked, source
from application.webhooks.stripe.events import DISPUTE, REFUND, Dispute, Payment, Refund
from application.webhooks.stripe.objects import StripesObjects
from domain.dispute import RANK, DisputePolicy, DisputeStatus
from domain.errors import BadMoney, ContentDiffers, Contradiction, NotTheAuthority, UnknownId
from domain.money import currency
from domain.order.authority import STRIPE

_D = DisputeStatus
MEANS = {
    "needs_response": _D.OPENED,
    "warning_needs_response": _D.OPENED,
    "under_review": _D.CHALLENGED,
    "warning_under_review": _D.CHALLENGED,
    "warning_closed": _D.CLOSED,
    "prevented": _D.CLOSED,
    "lost": _D.LOST,
    "won": _D.WON,
}
"""What the statuses of Stripe's disputes say has happened. An inquiry (`warning_…`) moves no money."""
FUNDS = {"charge.dispute.funds_withdrawn": _D.WITHDRAWN, "charge.dispute.funds_reinstated": _D.REINSTATED}
"""What some events say whatever the status."""


class StripePayments:
    """Finds out what an event means for an order, and has the ledger do it."""

    def __init__(self, ledger: TransferLedger, directory: Directory, objects: StripesObjects, policy: DisputePolicy) -> None:
        self._ledger, self._directory, self._objects, self._policy = ledger, directory, objects, policy

    def by_type(self) -> dict[str, Reaction]:
        """The reactions by event type."""
        refunds = dict.fromkeys(("refund.created", "refund.updated", "refund.failed", "charge.refund.updated"), self._refund)
        disputes = dict.fromkeys(
            (*FUNDS, *(f"charge.dispute.{name}" for name in ("created", "updated", "closed"))), self._dispute
        )
        return {**refunds, **disputes, "charge.refunded": self._charge_refunded}

    async def _charge_refunded(self, event: StoredEvent) -> Disposition:
        return Ignored("a hint only: it gives a sum, and each refund is told by refund.created, .updated and .failed")

    async def _refund(self, event: StoredEvent) -> Disposition:
        refund = await self._objects.subject(event, REFUND)
        record = {
            "succeeded": self._ledger.refund_succeeded,
            "failed": self._ledger.refund_failed,
            "canceled": self._ledger.refund_failed,
        }.get(refund.status or "")
        if record is None:
            return Ignored(f"a refund that is {refund.status!r} takes nothing yet")

        async def tell(order_id: str) -> Disposition:
            try:
                await record(_report(event, refund, order_id), marked(event))
            except Contradiction:  # Stripe's refunds may fail after success, and never the other way round
                return Ignored("an old story: the refund has failed since")
            return DONE

        return await self._of_order(refund, tell)

    async def _dispute(self, event: StoredEvent) -> Disposition:
        dispute = await self._objects.subject(event, DISPUTE)
        told = _told(event.event_type.removeprefix("v1."), dispute)
        if not told:
            return Ignored(f"a dispute that is {dispute.status!r}: nobody knows what that means")
        if _D.REINSTATED in told and dispute.still_withdrawn > 0:
            reason = (
                f"{dispute.still_withdrawn} of dispute {dispute.id} stay withdrawn: a person decides what the sellers get back"
            )
            return Parked(f"dispute:{dispute.id}", reason, "dispute_reinstated_in_part")

        async def tell(order_id: str) -> Disposition:
            report = DisputeReport(
                dispute_id=dispute.id,
                provider=STRIPE,
                order_id=order_id,
                amount=dispute.amount,
                currency=currency(dispute.currency),
                told=told,
                source=source(event),
                reason=dispute.reason,
            )
            await self._ledger.dispute(report, self._policy, marked(event))
            return DONE

        return await self._of_order(dispute, tell)

    async def _of_order(self, about: Payment, tell: Callable[[str], Awaitable[Disposition]]) -> Disposition:
        """Have the order told, if it is known, paid, and Stripe's to speak about."""
        order_id = await self._order_of(about)
        if order_id is None:
            return _unknown(about)
        if not await self._ledger.is_paid(order_id):
            return Parked(subject_of_order(order_id), f"order {order_id!r} is not paid yet, so nobody knows whose word counts")
        try:
            return await tell(order_id)
        except NotTheAuthority as refused:
            return Ignored(str(refused))
        except (ContentDiffers, Contradiction, BadMoney) as refused:
            kind = "refund_disagrees" if isinstance(about, Refund) else "dispute_disagrees"
            return Parked(subject_of_order(order_id), str(refused), kind)
        except UnknownId:
            return _unknown(about)

    async def _order_of(self, about: Payment) -> str | None:
        for name in _orders_named(about):
            if await self._directory.knows_order(name):
                return name
        found = await self._directory.orders_of_charge([*_payments_named(about), *_orders_named(about)])
        return found[0] if len(found) == 1 else None


def _told(event_type: str, dispute: Dispute) -> list[DisputeStatus]:
    """The earliest first: funds are withdrawn before a dispute is lost, and come back after it was."""
    by_type, by_status = FUNDS.get(event_type), MEANS.get(dispute.status or "")
    return sorted({status for status in (by_type, by_status) if status is not None}, key=RANK.__getitem__)


def _orders_named(about: Payment) -> list[str]:
    return [name for name in (about.metadata.get("order_id"), about.transfer_group) if name]


def _payments_named(about: Payment) -> Sequence[str]:
    return [name for name in (about.charge, about.payment_intent) if name]


def _report(event: StoredEvent, refund: Refund, order_id: str) -> RefundReport:
    return RefundReport(
        name=refund.id,
        order_id=order_id,
        amount=refund.amount,
        currency=currency(refund.currency),
        source=source(event),
        detail=refund.failure_reason,
        provider=STRIPE,
    )


def _unknown(about: Payment) -> Parked:
    """It may be about an order that comes yet, or about something that is no order of ours at all."""
    named, payments = _orders_named(about), _payments_named(about)
    subject = subject_of_order(named[0]) if named else subject_of_payment(payments[0] if payments else about.id)
    return Parked(subject, f"there is no {subject} yet", passing=True)
