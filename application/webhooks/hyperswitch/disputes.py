"""What Hyperswitch's webhooks say of disputes. They tell of no funds: they are gone when it is lost, and back when it is won."""

from collections.abc import Mapping, Sequence

from application.commands.disputes import DisputeReport
from application.commands.orders import TransferLedger, subject_of_order, subject_of_payment
from application.ports import Directory
from application.webhooks.handler import DONE, Disposition, Ignored, Parked, Reaction, StoredEvent, marked, source
from application.webhooks.hyperswitch.events import DISPUTE_EVENT
from domain.dispute import DisputePolicy, DisputeStatus
from domain.errors import BadMoney, ContentDiffers, Contradiction, NotTheAuthority, UnknownId
from domain.money import currency
from domain.order.authority import HYPERSWITCH

_D = DisputeStatus
MEANS: Mapping[str, Sequence[DisputeStatus]] = {
    "dispute_opened": (_D.OPENED,),
    "dispute_challenged": (_D.CHALLENGED,),
    # given up by the platform, or not answered in time: it is as good as lost, and Hyperswitch says when it is
    "dispute_accepted": (_D.OPENED,),
    "dispute_expired": (_D.OPENED,),
    "dispute_cancelled": (_D.CLOSED,),
    "dispute_lost": (_D.WITHDRAWN, _D.LOST),
    "dispute_won": (_D.REINSTATED, _D.WON),
}


class HyperswitchDisputes:
    """Finds the order of a dispute, and has the ledger take it in."""

    def __init__(self, ledger: TransferLedger, directory: Directory, policy: DisputePolicy) -> None:
        self._ledger, self._directory, self._policy = ledger, directory, policy

    def by_type(self) -> dict[str, Reaction]:
        """The reactions by event type."""
        return dict.fromkeys(MEANS, self._dispute)

    async def _dispute(self, event: StoredEvent) -> Disposition:
        dispute = DISPUTE_EVENT.validate_json(event.body).content.object
        orders = await self._directory.orders_paid_by(dispute.payment_id)
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
                told=MEANS[event.event_type],
                source=source(event),
                reason=dispute.connector_reason,
            )
            await self._ledger.dispute(report, self._policy, marked(event))
        except NotTheAuthority as refused:
            return Ignored(str(refused))
        except (ContentDiffers, Contradiction, BadMoney) as refused:
            return Parked(subject_of_order(order_id), str(refused), "dispute_disagrees")
        except UnknownId:
            return Parked(subject_of_order(order_id), f"there is no order {order_id!r} yet")
        return DONE
