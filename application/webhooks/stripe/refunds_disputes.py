"""Stripe's webhooks about refunds and disputes."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import TypeAdapter

from application.commands import Commands
from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundReport
from application.commands.subjects import (
    subject_of_dispute,
    subject_of_order,
    subject_of_payment,
)
from application.ports import Directory, OrderMatches
from application.webhooks.deadlines import stripe_deadline
from application.webhooks.entitlement import THIN
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
from application.webhooks.order_of_event import order_of
from application.webhooks.stripe.event_object import StripeObjects
from application.webhooks.stripe.events import (
    DISPUTE,
    NAMED,
    REFUND,
    DisputeObject,
    NamedObject,
)
from application.webhooks.stripe.unconfirmed_refunds import UNCONFIRMED, UnconfirmedRefunds
from application.webhooks.surplus_payments import dispute_of_surplus, refund_of_surplus
from domain.currency import from_stripe, in_major_units
from domain.dispute import RANK, DisputePolicy, DisputeStatus
from domain.errors import Contradiction, NotTheAuthority, OtherPayment
from domain.identity import refund_stream
from domain.money import currency
from domain.order.authority import STRIPE
from domain.order.payment_match import stripe_payment

_D = DisputeStatus
T = TypeVar("T")
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
        unconfirmed: UnconfirmedRefunds | None = None,
    ) -> None:
        self._commands, self._directory, self._objects, self._policy = (
            commands,
            directory,
            objects,
            policy,
        )
        self._unconfirmed = unconfirmed

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
        other = {"charge.refunded": self._charge_refunded, UNCONFIRMED: self._unconfirmed_refund}
        return {**refunds, **disputes, **other}

    async def _charge_refunded(self, event: StoredEvent) -> WebhookResult:
        return Ignored(
            "a hint only: it gives a sum, and refund.created, .updated and .failed report each "
            "refund"
        )

    async def _unconfirmed_refund(self, event: StoredEvent) -> WebhookResult:
        """Look whether the PSP has reported the refund by now."""
        refund = await self._objects.subject(event, REFUND)
        named = NAMED.validate_python(await self._objects.members(event))
        order_id = _paid_order(named, await self._find(named, refund_id=refund.id))
        if isinstance(order_id, Parked) or self._unconfirmed is None:
            return Ignored("its order is not known")
        return await self._unconfirmed.look(refund, order_id)

    async def _refund(self, event: StoredEvent) -> WebhookResult:
        members = await self._objects.members(event)
        named = NAMED.validate_python(members)
        if named.status not in ("succeeded", "failed", "canceled"):
            return Ignored(f"a refund that is {named.status!r} takes nothing yet")
        matches = await self._find(named, refund_id=named.id)
        order_id = _paid_order(named, matches)
        if isinstance(order_id, Parked):
            return _waiting(order_id, named, REFUND, members)
        refund = REFUND.validate_python(members)
        refunds = self._commands.refunds
        record = refunds.succeeded if refund.status == "succeeded" else refunds.failed
        try:
            report = RefundReport(
                name=refund.id,
                order_id=order_id,
                amount=from_stripe(refund.currency, refund.amount),
                currency=currency(refund.currency),
                source=event.source,
                detail=refund.failure_reason,
                provider=STRIPE,
                stream=matches.refund or refund_stream(refund.id),
                payment=stripe_payment(named.payment_intent, named.charge),
            )
            await record(report, event.done)
        except (
            Contradiction
        ):  # a refund at Stripe may fail after its success, and never the other way round
            return Ignored("an old report: the refund has failed since")
        except NotTheAuthority as refused:
            if refund.status == "succeeded" and self._unconfirmed is not None:
                return await self._unconfirmed.expect(event, refund, report, refused)
            return Ignored(str(refused))
        except OtherPayment as other:
            return refund_of_surplus(event, report, other, succeeded=refund.status == "succeeded")
        except REFUSALS as refused:
            return result_of(refused, order_id, WebhookAlarm.REFUND_DISAGREES, maybe_foreign=True)
        return DONE

    async def _dispute(self, event: StoredEvent) -> WebhookResult:
        members = await self._objects.members(event)
        named = NAMED.validate_python(members)
        # our order first: the disputes of strangers concern neither the ledger nor a person
        order_id = _paid_order(named, await self._find(named))
        if isinstance(order_id, Parked):
            return _waiting(order_id, named, DISPUTE, members)
        dispute = DISPUTE.validate_python(members)
        reported = _statuses(event.event_type.removeprefix(THIN), dispute)
        if not reported:
            return Ignored(
                f"a dispute that is {dispute.status!r}: the ledger does not know this status"
            )
        try:
            report = DisputeReport(
                dispute_id=dispute.id,
                provider=STRIPE,
                order_id=order_id,
                amount=from_stripe(dispute.currency, dispute.amount),
                currency=currency(dispute.currency),
                reported=reported,
                source=event.source,
                reason=dispute.reason,
                payment=stripe_payment(named.payment_intent, named.charge),
                evidence_due_by=stripe_deadline(dispute.evidence_details),
            )
            if _D.REINSTATED in reported and dispute.still_withdrawn:
                return await self._reinstated_in_part(report, dispute.still_withdrawn)
            await self._commands.disputes.record(report, self._policy, event.done)
        except OtherPayment as other:
            return dispute_of_surplus(event, report, other)
        except REFUSALS as refused:
            return result_of(refused, order_id, WebhookAlarm.DISPUTE_DISAGREES, maybe_foreign=True)
        return DONE

    async def _reinstated_in_part(
        self, report: DisputeReport, still_withdrawn: Mapping[str, int]
    ) -> WebhookResult:
        """Let the event wait for the decision of a person about the rest of the money."""
        if not await self._commands.disputes.record_part(report, still_withdrawn):
            return Ignored("a person decided how much of the order the dispute takes")
        kept = ", ".join(in_major_units(amount, code) for code, amount in still_withdrawn.items())
        reason = (
            f"{kept} of dispute {report.dispute_id} over "
            f"{in_major_units(report.amount, report.currency)} of order "
            f"{report.order_id!r} stay withdrawn: a person decides how much of the order the "
            "dispute takes"
        )
        subject = subject_of_dispute(report.dispute_id)
        return Parked(subject, reason, WebhookAlarm.DISPUTE_REINSTATED_IN_PART)

    async def _find(self, about: NamedObject, refund_id: str | None = None) -> OrderMatches:
        """Find the order: by the refund and the payment, else by the names in the metadata. The
        PSP writes its payment's id there."""
        named, payments = about.orders, about.payments
        found = await self._directory.find_order(
            refund_id=refund_id, order_ids=named, payment_ids=payments, source_transactions=payments
        )
        if found.by_refund is not None or found.by_payment or found.by_id or not named:
            return found
        return await self._directory.find_order(payment_ids=named, source_transactions=named)


def _statuses(event_type: str, dispute: DisputeObject) -> list[DisputeStatus]:
    """Return the reported statuses, the earliest first.

    Funds are withdrawn before a dispute is lost, and come back after it was won.
    """
    by_type, by_status = FUNDS.get(event_type), STATUSES.get(dispute.status or "")
    return sorted(
        {status for status in (by_type, by_status) if status is not None}, key=RANK.__getitem__
    )


def _waiting(
    parked: Parked, about: NamedObject, kind: TypeAdapter[T], members: Mapping[str, object]
) -> Parked:
    """Return the result of an object that waits for its order. One that names neither order nor
    payment cannot be told from a stranger's, so it has to be readable. Raises ValidationError."""
    if not about.names:
        kind.validate_python(members)
    return parked


def _paid_order(about: NamedObject, matches: OrderMatches) -> str | Parked:
    """Return the order of a refund or dispute once it is paid: before that, its authority is not
    known.

    The event may be about an order that is not registered yet, or about a payment that is no order
    of ours.
    """
    order_id = order_of(matches)
    if order_id is None:
        named, payments = about.orders, about.payments
        subject = (
            subject_of_order(named[0])
            if named
            else subject_of_payment(payments[0] if payments else about.id or "unknown")
        )
        return parked_for(subject, maybe_foreign=True)
    if order_id not in matches.paid:
        reason = (
            f"order {order_id!r} is not paid yet, so it is not known which provider reports on it"
        )
        return Parked(subject_of_order(order_id), reason)
    return order_id
