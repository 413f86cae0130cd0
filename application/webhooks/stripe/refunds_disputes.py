"""Stripe's webhooks about refunds and disputes."""

from collections.abc import Mapping, Sequence

from application.commands import Commands
from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundReport
from application.commands.subjects import (
    subject_of_dispute,
    subject_of_order,
    subject_of_payment,
)
from application.ports import Directory, OrderMatches
from application.webhooks.handler import (
    DONE,
    REFUSALS,
    EventHandler,
    Ignored,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookResult,
    parked_for,
    result_of,
)
from application.webhooks.names import is_possible
from application.webhooks.stripe.event_object import StripeObjects
from application.webhooks.stripe.events import DISPUTE, REFUND, THIN, DisputeObject, RefundOrDispute
from domain.dispute import RANK, DisputePolicy, DisputeStatus
from domain.errors import Contradiction
from domain.identity import refund_stream
from domain.money import currency
from domain.order.authority import STRIPE

_D = DisputeStatus
STATUSES: Mapping[str, DisputeStatus] = {
    "needs_response": _D.OPENED,
    "warning_needs_response": _D.OPENED,
    "under_review": _D.CHALLENGED,
    "warning_under_review": _D.CHALLENGED,
    "warning_closed": _D.CLOSED,
    "prevented": _D.CLOSED,
    "lost": _D.LOST,
    "won": _D.WON,
}
"""Stripe's dispute statuses. An inquiry (`warning_…`) moves no money."""
FUNDS: Mapping[str, DisputeStatus] = {
    "charge.dispute.funds_withdrawn": _D.WITHDRAWN,
    "charge.dispute.funds_reinstated": _D.REINSTATED,
}
"""Event types that report a movement of funds in addition to the dispute's status."""


class StripeRefundsDisputes:
    """Handlers of refund and dispute events."""

    def __init__(
        self,
        commands: Commands,
        directory: Directory,
        objects: StripeObjects,
        policy: DisputePolicy,
    ) -> None:
        self._commands, self._directory, self._objects, self._policy = (
            commands,
            directory,
            objects,
            policy,
        )

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return the handlers by event type."""
        refunds = dict.fromkeys(
            ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated"),
            self._refund,
        )
        disputes = dict.fromkeys(
            (*FUNDS, *(f"charge.dispute.{name}" for name in ("created", "updated", "closed"))),
            self._dispute,
        )
        return {**refunds, **disputes, "charge.refunded": self._charge_refunded}

    async def _charge_refunded(self, event: StoredEvent) -> WebhookResult:
        return Ignored(
            "a hint only: it gives a sum, and refund.created, .updated and .failed report each "
            "refund"
        )

    async def _refund(self, event: StoredEvent) -> WebhookResult:
        refund = await self._objects.subject(event, REFUND)
        if refund.status not in ("succeeded", "failed", "canceled"):
            return Ignored(f"a refund that is {refund.status!r} takes nothing yet")
        matches = await self._find(refund, refund_id=refund.id)
        order_id = _paid_order(refund, matches)
        if isinstance(order_id, Parked):
            return order_id
        refunds = self._commands.refunds
        record = refunds.succeeded if refund.status == "succeeded" else refunds.failed
        try:
            report = RefundReport(
                name=refund.id,
                order_id=order_id,
                amount=refund.amount,
                currency=currency(refund.currency),
                source=event.source,
                detail=refund.failure_reason,
                provider=STRIPE,
                stream=matches.refund or refund_stream(refund.id),
            )
            await record(report, event.done)
        except (
            Contradiction
        ):  # a refund at Stripe may fail after its success, and never the other way round
            return Ignored("an old report: the refund has failed since")
        except REFUSALS as refused:
            return result_of(refused, order_id, WebhookAlarm.REFUND_DISAGREES, maybe_foreign=True)
        return DONE

    async def _dispute(self, event: StoredEvent) -> WebhookResult:
        dispute = await self._objects.subject(event, DISPUTE)
        reported = _statuses(event.event_type.removeprefix(THIN), dispute)
        if not reported:
            return Ignored(
                f"a dispute that is {dispute.status!r}: the ledger does not know this status"
            )
        order_id = _paid_order(dispute, await self._find(dispute))
        if isinstance(order_id, Parked):
            return order_id
        try:
            report = DisputeReport(
                dispute_id=dispute.id,
                provider=STRIPE,
                order_id=order_id,
                amount=dispute.amount,
                currency=currency(dispute.currency),
                reported=reported,
                source=event.source,
                reason=dispute.reason,
            )
            if _D.REINSTATED in reported and dispute.still_withdrawn:
                return await self._reinstated_in_part(report, dispute.still_withdrawn)
            await self._commands.disputes.record(report, self._policy, event.done)
        except REFUSALS as refused:
            return result_of(refused, order_id, WebhookAlarm.DISPUTE_DISAGREES, maybe_foreign=True)
        return DONE

    async def _reinstated_in_part(
        self, report: DisputeReport, still_withdrawn: Mapping[str, int]
    ) -> WebhookResult:
        """Let the event wait for the decision of a person about the rest of the money."""
        if not await self._commands.disputes.record_part(report, still_withdrawn):
            return Ignored("a person decided how much of the order the dispute takes")
        kept = ", ".join(f"{amount} {code}" for code, amount in still_withdrawn.items())
        reason = (
            f"{kept} (minor units) of dispute {report.dispute_id} over {report.amount} "
            f"{report.currency} of order {report.order_id!r} stay withdrawn: a person decides how "
            "much of the order the dispute takes"
        )
        subject = subject_of_dispute(report.dispute_id)
        return Parked(subject, reason, WebhookAlarm.DISPUTE_REINSTATED_IN_PART)

    async def _find(self, about: RefundOrDispute, refund_id: str | None = None) -> OrderMatches:
        named = _orders_named(about)
        payments = [*_payments_named(about), *named]
        return await self._directory.find_order(
            refund_id=refund_id, order_ids=named, payment_ids=payments, source_transactions=payments
        )


def _statuses(event_type: str, dispute: DisputeObject) -> list[DisputeStatus]:
    """Return the reported statuses, the earliest first.

    Funds are withdrawn before a dispute is lost, and come back after it was won.
    """
    by_type, by_status = FUNDS.get(event_type), STATUSES.get(dispute.status or "")
    return sorted(
        {status for status in (by_type, by_status) if status is not None}, key=RANK.__getitem__
    )


def _paid_order(about: RefundOrDispute, matches: OrderMatches) -> str | Parked:
    """Return the order of a refund or dispute once it is paid: before that, its authority is not
    known.

    The event may be about an order that is not registered yet, or about a payment that is no order
    of ours.
    """
    order_id = matches.by_id[0] if matches.by_id else matches.sole_by_payment
    if order_id is None:
        named, payments = _orders_named(about), _payments_named(about)
        subject = (
            subject_of_order(named[0])
            if named
            else subject_of_payment(payments[0] if payments else about.id)
        )
        return parked_for(subject, maybe_foreign=True)
    if order_id not in matches.paid:
        reason = (
            f"order {order_id!r} is not paid yet, so it is not known which provider reports on it"
        )
        return Parked(subject_of_order(order_id), reason)
    return order_id


def _orders_named(about: RefundOrDispute) -> list[str]:
    named = (about.metadata.get("order_id"), about.transfer_group)
    return [name for name in named if name and is_possible(name)]


def _payments_named(about: RefundOrDispute) -> Sequence[str]:
    return [name for name in (about.charge, about.payment_intent) if name]
