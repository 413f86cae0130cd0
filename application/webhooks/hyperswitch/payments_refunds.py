"""Hyperswitch's webhooks about payments and refunds."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from pydantic import ValidationError

from application.commands import Commands
from application.commands.refunds import ASKED, RefundReport, report_of
from application.commands.subjects import subject_of_order, subject_of_payment
from application.gateways import PaymentGateway
from application.ports import Directory, OrderMatches
from application.webhooks.handler import (
    DONE,
    REFUSALS,
    EventHandler,
    Ignored,
    Later,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookResult,
    parked_for,
    result_of,
)
from application.webhooks.hyperswitch.events import (
    PAYMENT_EVENT,
    REFUND_EVENT,
    PaymentContent,
    RefundContent,
    content_of,
)
from application.webhooks.hyperswitch.payment_reports import PaymentReports, paid_by_another
from application.webhooks.order_of_event import (
    READ_WITHIN,
    order_named_by_payment,
    order_of,
    order_to_pay,
    payment_at_psp,
)
from application.webhooks.surplus_payments import refund_of_surplus
from domain.currency import in_major_units
from domain.errors import (
    BadMoney,
    CollectedDiffers,
    ContentDiffers,
    Contradiction,
    OtherPayment,
    OutdatedAnswer,
    Refused,
)
from domain.identity import refund_stream
from domain.money import currency
from domain.order.authority import HYPERSWITCH
from domain.order.payment_match import psp_payment
from domain.provider_call.outcome import Failure, Unknown
from domain.provider_call.payment_status import EVENTS, HARMLESS, STATUSES, Collected
from domain.provider_call.psp_objects import ConnectorPayment, PaymentAtPsp, RefundAtPsp

ANY_PAYMENT = "payment_*"
"""Key of the handler of payment events of all other types (see `WebhookHandler`)."""
MOVED = (Collected.RECEIVED, Collected.UNCLEAR, Collected.VOIDED)
ASK_AGAIN = timedelta(seconds=1)
"""Wait after an answer about a refund that has changed since the question began."""


class HyperswitchPaymentsRefunds:
    """Handlers of payment and refund events."""

    def __init__(
        self, commands: Commands, directory: Directory, psp: PaymentGateway | None = None
    ) -> None:
        """Take the PSP that is asked when an event contradicts a recorded final status.

        Without a PSP, a refund's failure after its success is recorded, a success after its failure
        is parked, and a failed payment of a paid order holds the unsent transfers back.
        """
        self._commands, self._directory, self._psp = commands, directory, psp
        self._reports = PaymentReports(commands, psp)

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return the handlers by event type."""
        return {
            **dict.fromkeys(EVENTS, self._payment),
            **dict.fromkeys(HARMLESS, self._harmless),
            ANY_PAYMENT: self._payment,
            "surcharge_payment_succeeded": self._surcharge_paid,
            "surcharge_refund_succeeded": self._surcharge_refunded,
            "refund_succeeded": self._refund_succeeded,
            "refund_failed": self._refund_failed,
            "refund_review": self._refund_review,
        }

    # --- payments ---------------------------------------------------------------------------------

    async def _payment(self, event: StoredEvent) -> WebhookResult:
        """Decide by the event's type, or, if that does not tell, by the status: no report that may
        change the collected amount of a known order is ignored."""
        payment = content_of(event.body, PAYMENT_EVENT)
        meaning = EVENTS.get(event.event_type) or STATUSES.get(payment.status)
        if meaning is Collected.RECEIVED:
            return await self._payment_succeeded(event)
        if meaning is Collected.ENDED:
            return await self._payment_failed(event)
        if meaning is Collected.NOTHING_YET or (meaning is None and not payment.amount_received):
            return Ignored(f"a payment that is {payment.status!r} has collected nothing yet")
        order_id = await self._order_of(payment)
        if order_id is None:
            named = next(iter(payment.named_orders), None)
            return replace(_unknown_order(named, payment.payment_id), maybe_foreign=True)
        if meaning is Collected.VOIDED:
            return await self._reports.voided(event, payment, order_id)
        return await self._reports.unclear(event, payment, order_id)

    async def _harmless(self, event: StoredEvent) -> WebhookResult:
        """Ignore an event of a harmless type, unless its object is a payment whose status says that
        a part of the money moved."""
        try:
            payment = content_of(event.body, PAYMENT_EVENT)
        except ValidationError:  # another object than a payment
            payment = None
        meaning = STATUSES.get(payment.status) if payment is not None else None
        if payment is None or payment.status == "succeeded" or meaning not in MOVED:
            return Ignored(f"hyperswitch {event.event_type} changes nothing that was collected")
        return await self._payment(event)

    async def _surcharge_paid(self, event: StoredEvent) -> WebhookResult:
        payment = content_of(event.body, PAYMENT_EVENT)
        order_id = await self._order_of(payment)
        if order_id is None:
            return Ignored("a surcharge of no order of this ledger")
        return await self._reports.surcharge(payment, order_id)

    async def _surcharge_refunded(self, event: StoredEvent) -> WebhookResult:
        report = await self._refund_report(event)
        if isinstance(report, Parked):
            return Ignored("a surcharge of no order of this ledger")
        reason = (
            f"refund {report.name!r} of {in_major_units(report.amount, report.currency)} gives "
            f"back a surcharge of order {report.order_id!r}: a person decides whether "
            "sellers bear it"
        )
        return Parked(subject_of_order(report.order_id), reason, WebhookAlarm.REFUND_DISAGREES)

    async def _payment_succeeded(self, event: StoredEvent) -> WebhookResult:
        payment = content_of(event.body, PAYMENT_EVENT)
        order_id = await self._order_of(payment)
        if order_id is None:
            return _unknown_order(next(iter(payment.named_orders), None), payment.payment_id)
        received = payment.amount if payment.amount_received is None else payment.amount_received
        try:
            expected = received, currency(payment.currency)
            await self._commands.orders.record_payment(
                order_id,
                payment.payment_id,
                None,
                event.source,
                event.done,
                expected=expected,
                connector=ConnectorPayment(payment.connector, payment.connector_transaction_id),
            )
        except CollectedDiffers as refused:
            return await self._reports.differs(event, payment, order_id, refused)
        except (ContentDiffers, BadMoney) as refused:
            return result_of(refused, order_id, WebhookAlarm.PAYMENT_DISAGREES)
        return DONE

    async def _payment_failed(self, event: StoredEvent) -> WebhookResult:
        """Hold back the transfers of a paid order whose payment ended without money, unless the PSP
        shows it as succeeded: then the event is old."""
        payment = content_of(event.body, PAYMENT_EVENT)
        order_id = await self._order_of(payment)
        order = await self._commands.orders.order(order_id) if order_id is not None else None
        if order is None or not order.paid:
            return Ignored("a failed payment pays no order")
        if order.payment_id not in (None, payment.payment_id):
            return paid_by_another(order)
        seen = await payment_at_psp(self._psp, payment.payment_id)
        if isinstance(seen, PaymentAtPsp) and seen.status == "succeeded":
            return Ignored(
                f"the payment provider was asked, and payment {payment.payment_id!r} has succeeded"
            )
        status = event.event_type.removeprefix("payment_")
        detail = (
            f"The payment {payment.payment_id!r} of order {order.order_id!r} was recorded as "
            f"succeeded, and is now reported as {status}; the payment provider {_shown(seen)}"
        )
        await self._commands.orders.record_payment_failure(
            order.order_id, payment.payment_id, detail, event.source, event.done, status=status
        )
        return DONE

    async def _order_of(self, payment: PaymentContent) -> str | None:
        matches = await self._directory.find_order(
            order_ids=payment.named_orders, payment_ids=[payment.payment_id]
        )
        return order_to_pay(matches)

    # --- refunds ----------------------------------------------------------------------------------

    async def _refund_succeeded(self, event: StoredEvent) -> WebhookResult:
        report = await self._refund_report(event)
        if isinstance(report, Parked):
            return report
        try:
            await self._commands.refunds.succeeded(report, event.done)
        except Contradiction as contradiction:
            return await self._success_after_failure(event, report, contradiction)
        except OtherPayment as other:
            return refund_of_surplus(event, report, other, succeeded=True)
        except REFUSALS as refused:
            return _refused(report, refused)
        return DONE

    async def _refund_failed(self, event: StoredEvent) -> WebhookResult:
        report = await self._refund_report(event)
        if isinstance(report, Parked):
            return report
        try:
            await self._commands.refunds.failed(report, event.done)
        except Contradiction as contradiction:
            return await self._failure_after_success(event, report, contradiction)
        except REFUSALS as refused:
            return _refused(report, refused)
        return DONE

    async def _refund_review(self, event: StoredEvent) -> WebhookResult:
        report = await self._refund_report(event)
        if isinstance(report, Parked):
            return report
        try:
            await self._commands.refunds.under_review(report, event.done)
        except REFUSALS as refused:
            return _refused(report, refused)
        return DONE

    async def _success_after_failure(
        self, event: StoredEvent, report: RefundReport, contradiction: Contradiction
    ) -> WebhookResult:
        """Record the status that the PSP shows. The event is parked while the PSP cannot be asked
        or has not decided."""
        seen = await self._refund_at_psp(report.name)
        if not isinstance(seen, RefundAtPsp) or seen.status not in ("succeeded", "failed"):
            return _refused(report, contradiction)
        return await self._record_seen(event, report, seen, contradiction.version)

    async def _failure_after_success(
        self, event: StoredEvent, report: RefundReport, contradiction: Contradiction
    ) -> WebhookResult:
        """Record the failure, unless the PSP shows the refund as succeeded.

        Banks do refuse days later; but an old event that arrives late must not undo a later
        correction. The event is parked while the PSP cannot be asked or has not decided, since
        money that is given back to a seller is gone.
        """
        seen = await self._refund_at_psp(report.name)
        if isinstance(seen, RefundAtPsp) and seen.status == "succeeded":
            return await self._record_seen(event, report, seen, contradiction.version)
        if seen is not None and not (isinstance(seen, RefundAtPsp) and seen.status == "failed"):
            return _refused(report, contradiction)
        try:
            await self._commands.refunds.failed(report, event.done, asked=contradiction.version)
        except OutdatedAnswer as outdated:
            return Later(str(outdated), ASK_AGAIN)
        except REFUSALS as refused:
            return _refused(report, refused)
        return DONE

    async def _record_seen(
        self, event: StoredEvent, report: RefundReport, seen: RefundAtPsp, asked: int | None
    ) -> WebhookResult:
        refunds = self._commands.refunds
        record = refunds.failed if seen.status == "failed" else refunds.succeeded
        try:
            await record(report_of(seen, report.order_id, ASKED), event.done, asked=asked)
        except OutdatedAnswer as outdated:
            return Later(str(outdated), ASK_AGAIN)
        except REFUSALS as refused:
            return _refused(report, refused)
        return DONE

    async def _refund_at_psp(self, refund_id: str) -> RefundAtPsp | Failure | None:
        try:
            async with asyncio.timeout(READ_WITHIN):
                return await self._psp.refund(refund_id) if self._psp is not None else None
        except TimeoutError:
            return Unknown(
                "timeout", f"The payment provider did not answer within {READ_WITHIN:.0f} s."
            )
        except ValueError:  # an id that the PSP cannot have
            return None

    async def _refund_report(self, event: StoredEvent) -> RefundReport | Parked:
        refund = content_of(event.body, REFUND_EVENT)
        matches = await self._matches(refund, refund.named_order)
        order_id = order_of(matches)
        if order_id is None and refund.named_order is None:
            named = await order_named_by_payment(self._psp, refund.payment_id)
            matches = await self._matches(refund, named) if named is not None else matches
            order_id = order_of(matches)
        if order_id is None:
            return _unknown_order(refund.named_order, refund.payment_id)
        try:
            return RefundReport(
                name=refund.refund_id,
                order_id=order_id,
                amount=refund.amount,
                currency=currency(refund.currency),
                source=event.source,
                detail=refund.error_message,
                provider=HYPERSWITCH,
                stream=matches.refund or refund_stream(refund.refund_id),
                payment=psp_payment(refund.payment_id),
            )
        except BadMoney as refused:
            return Parked(subject_of_order(order_id), str(refused), WebhookAlarm.REFUND_DISAGREES)

    async def _matches(self, refund: RefundContent, named: str | None) -> OrderMatches:
        return await self._directory.find_order(
            refund_id=refund.refund_id,
            order_ids=[named] if named is not None else [],
            payment_ids=[refund.payment_id],
        )


def _shown(seen: PaymentAtPsp | Failure | None) -> str:
    return f"shows it as {seen.status!r}" if isinstance(seen, PaymentAtPsp) else "could not tell"


def _refused(report: RefundReport, refused: Refused) -> WebhookResult:
    if isinstance(refused, OtherPayment):  # it has taken nothing, and nothing is given back
        return Ignored(str(refused))
    return result_of(refused, report.order_id, WebhookAlarm.REFUND_DISAGREES)


def _unknown_order(order_id: str | None, payment_id: str) -> Parked:
    return parked_for(subject_of_order(order_id) if order_id else subject_of_payment(payment_id))
