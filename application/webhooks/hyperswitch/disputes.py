"""Hyperswitch's webhooks about disputes. They report no funds: a lost dispute has withdrawn them, a
won one returns them."""

from collections.abc import Mapping, Sequence

from application.commands import Commands
from application.commands.disputes import DisputeReport
from application.commands.subjects import subject_of_payment
from application.gateways import PaymentGateway
from application.ports import Directory
from application.webhooks.deadlines import psp_deadline
from application.webhooks.handler import (
    DONE,
    REFUSALS,
    EventHandler,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookResult,
    result_of,
)
from application.webhooks.hyperswitch.events import DISPUTE_EVENT, DisputeContent, content_of
from application.webhooks.order_of_event import order_named_by_payment, order_of
from application.webhooks.surplus_payments import dispute_of_surplus
from domain.dispute import DisputePolicy, DisputeStatus
from domain.errors import OtherPayment
from domain.money import currency
from domain.order.authority import HYPERSWITCH
from domain.order.payment_match import psp_payment

_D = DisputeStatus
STATUSES: Mapping[str, Sequence[DisputeStatus]] = {
    "dispute_opened": (_D.OPENED,),
    "dispute_challenged": (_D.CHALLENGED,),
    # given up by the platform, or not answered in time: as good as lost, and Hyperswitch reports
    # the loss itself
    "dispute_accepted": (_D.OPENED,),
    "dispute_expired": (_D.OPENED,),
    "dispute_cancelled": (_D.CLOSED,),
    "dispute_lost": (_D.WITHDRAWN, _D.LOST),
    "dispute_won": (_D.REINSTATED, _D.WON),
}
"""Statuses that a dispute has reached, by event type."""


class HyperswitchDisputes:
    """Handlers of dispute events."""

    def __init__(
        self,
        commands: Commands,
        directory: Directory,
        policy: DisputePolicy,
        psp: PaymentGateway | None = None,
    ) -> None:
        """Take the PSP that is asked which order an unknown payment names."""
        self._commands, self._directory, self._policy = commands, directory, policy
        self._psp = psp

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return the handlers by event type."""
        return dict.fromkeys(STATUSES, self._dispute)

    async def _dispute(self, event: StoredEvent) -> WebhookResult:
        dispute = content_of(event.body, DISPUTE_EVENT)
        order_id = await self._order_of(dispute)
        if isinstance(order_id, Parked):
            return order_id
        try:
            report = DisputeReport(
                dispute_id=dispute.dispute_id,
                provider=HYPERSWITCH,
                order_id=order_id,
                amount=dispute.amount,
                currency=currency(dispute.currency),
                reported=STATUSES[event.event_type],
                source=event.source,
                reason=dispute.connector_reason,
                payment=psp_payment(dispute.payment_id),
                evidence_due_by=psp_deadline(dispute.challenge_required_by),
            )
            await self._commands.disputes.record(report, self._policy, event.done)
        except OtherPayment as other:
            return dispute_of_surplus(event, report, other)
        except REFUSALS as refused:
            return result_of(refused, order_id, WebhookAlarm.DISPUTE_DISAGREES)
        return DONE

    async def _order_of(self, dispute: DisputeContent) -> str | Parked:
        named = dispute.metadata.order_id if dispute.metadata is not None else None
        matches = await self._directory.find_order(
            order_ids=[named] if named else [], payment_ids=[dispute.payment_id]
        )
        order_id = order_of(matches)
        if order_id is None and not matches.by_payment:
            named = await order_named_by_payment(self._psp, dispute.payment_id)
            if named is not None:
                order_id = order_of(await self._directory.find_order(order_ids=[named]))
        if order_id is None:
            subject = subject_of_payment(dispute.payment_id)
            known = len(matches.by_payment)
            return Parked(subject, f"{known} orders are known of {subject}, expected one")
        return order_id
