"""Refunds and disputes of a surplus payment: a buyer paid an order twice, and one of the payments
comes back. The sellers were paid from the other one, so nothing is taken from them, and a person is
told."""

from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundReport
from application.commands.subjects import subject_of_order
from application.webhooks.handler import Ignored, Parked, StoredEvent, WebhookAlarm
from domain.currency import in_major_units
from domain.dispute import DisputeStatus
from domain.errors import OtherPayment

_OVER = frozenset({DisputeStatus.CLOSED, DisputeStatus.WON, DisputeStatus.REINSTATED})


def refund_of_surplus(
    event: StoredEvent, report: RefundReport, other: OtherPayment, *, succeeded: bool
) -> Ignored | Parked:
    """Return the result of a refund of another payment than the order's. Only one that has
    succeeded concerns a person."""
    if not succeeded:
        return Ignored(str(other))
    told = f"Refund {report.name!r} of {in_major_units(report.amount, report.currency)}"
    return Parked(
        subject_of_order(report.order_id),
        _sentence(event, told, other),
        WebhookAlarm.REFUND_OF_SURPLUS_PAYMENT,
    )


def dispute_of_surplus(
    event: StoredEvent, report: DisputeReport, other: OtherPayment
) -> Ignored | Parked:
    """Return the result of a dispute of another payment than the order's. One that is over for the
    platform concerns no person."""
    if not _OVER.isdisjoint(report.reported):
        return Ignored(str(other))
    told = (
        f"Dispute {report.dispute_id!r} of {in_major_units(report.amount, report.currency)}, to be "
        "answered at the provider,"
    )
    return Parked(
        subject_of_order(report.order_id),
        _sentence(event, told, other),
        WebhookAlarm.DISPUTE_OF_SURPLUS_PAYMENT,
    )


def _sentence(event: StoredEvent, told: str, other: OtherPayment) -> str:
    return (
        f"{told} is about payment {other.told}, but order {other.order_id!r} was paid by payment "
        f"{other.paid_by}: nothing is taken from its sellers. If the buyer paid twice, close this "
        f"with `inbox discard {event.inbox_id}`; if the order names the wrong payment, settle the "
        "sellers' parts by hand"
    )
