"""Facts of persons who have seen an alarm that has no end of its own.

Most alarms end with their cause. These tell something that stays true, such as a refund that failed
after its success: they end when a person says that it is dealt with. The fact is in the stream that
raised the alarm, so the same alarm is open again as soon as a later fact raises it.
"""

from collections.abc import Mapping
from datetime import datetime

from domain.fact import Fact, Stream
from domain.lifecycle import TransferStatus


class AlarmAcknowledged(Fact):
    """`actor` has dealt with the alarm of this `kind`. Nothing else changes."""

    kind: str
    actor: str
    reason: str

    def apply(self, aggregate: Stream) -> None:
        """Leave the state as it is: alarms are a read model."""


class TransferAlarmAcknowledged(AlarmAcknowledged):
    """An alarm about a transfer is dealt with."""

    TOPIC = "ledger.seller_transfer.alarm_acknowledged"

    @property
    def leads_to(self) -> TransferStatus | None:
        """Return None, as other facts of a transfer do that leave its status."""
        return None


class OrderAlarmAcknowledged(AlarmAcknowledged):
    """An alarm about an order is dealt with."""

    TOPIC = "ledger.order.alarm_acknowledged"


class RefundAlarmAcknowledged(AlarmAcknowledged):
    """An alarm about a refund is dealt with."""

    TOPIC = "ledger.refund.alarm_acknowledged"


ACKNOWLEDGED: Mapping[str, type[AlarmAcknowledged]] = {
    "drift": TransferAlarmAcknowledged,
    "evidence_held": TransferAlarmAcknowledged,
    "payment_failed_after_paid": OrderAlarmAcknowledged,
    "refund_failed_after_success": RefundAlarmAcknowledged,
}
"""By kind of alarm, the fact that ends it. Alarms of all other kinds end with their cause."""


def acknowledge(stream: Stream, kind: str, actor: str, reason: str, now: datetime) -> None:
    """Record that a person has dealt with an alarm of the stream. `kind`: one of `ACKNOWLEDGED`."""
    fact = ACKNOWLEDGED[kind](**stream.next(now), kind=kind, actor=actor, reason=reason)
    stream.record(fact)
