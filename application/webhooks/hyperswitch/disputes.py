"""Hyperswitch's webhooks about disputes. They report no funds: a lost dispute has withdrawn them, a
won one returns them."""

from collections.abc import Mapping, Sequence

from application.commands import Commands
from application.commands.disputes import DisputeReport
from application.commands.subjects import subject_of_payment
from application.ports import Directory
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
from application.webhooks.hyperswitch.events import DISPUTE_EVENT, content_of
from domain.dispute import DisputePolicy, DisputeStatus
from domain.money import currency
from domain.order.authority import HYPERSWITCH

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

    def __init__(self, commands: Commands, directory: Directory, policy: DisputePolicy) -> None:
        self._commands, self._directory, self._policy = commands, directory, policy

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return the handlers by event type."""
        return dict.fromkeys(STATUSES, self._dispute)

    async def _dispute(self, event: StoredEvent) -> WebhookResult:
        dispute = content_of(event.body, DISPUTE_EVENT)
        orders = (await self._directory.find_order(payment_ids=[dispute.payment_id])).by_payment
        if len(orders) != 1:
            subject = subject_of_payment(dispute.payment_id)
            return Parked(subject, f"{len(orders)} orders are known of {subject}, expected one")
        (order_id,) = orders
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
            )
            await self._commands.disputes.record(report, self._policy, event.done)
        except REFUSALS as refused:
            return result_of(refused, order_id, WebhookAlarm.DISPUTE_DISAGREES)
        return DONE
