"""Alarms: none is open without its cause."""

from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.glance import Glance
from infrastructure.simulation.faults.invariants.promises import ENDED
from infrastructure.simulation.faults.invariants.statuses import UNSETTLED
from infrastructure.simulation.faults.invariants.told import Told
from infrastructure.simulation.faults.invariants.world import World, payments_of

Json = Mapping[str, Any]
OF_PASSING_TROUBLE = ("hindered", "stripe_refuses_the_key", "stripe_answer_not_understood")
OF_REFUNDS = (
    "psp_refuses_the_key", "refund_not_understood", "refund_hindered", "refund_undecided",
)  # fmt: skip
HEALED = ("stripe_outage", "webhooks_unchecked", "work_overdue")
"""Alarms about troubles that the healing has ended."""


def without_cause(books: Glance, told: Told, world: World) -> Iterator[str]:
    """Yield the alarms that are open after the healing and have no cause."""
    for alarm in books.rows("alarms"):
        if alarm.get("cleared_at") is None and not _is_true(alarm, books, told, world):
            yield broken(
                "no_alarm_without_cause",
                f"alarm {alarm['kind']} of {alarm['subject']} is open without a cause: "
                f"{alarm['detail']}",
            )


def _is_true(alarm: Json, books: Glance, told: Told, world: World) -> bool:
    kind, subject = str(alarm["kind"]), str(alarm["subject"])
    if subject in told.transfers:
        return _of_transfer(kind, subject, books, told)
    if subject in told.refunds:
        return _of_refund(kind, subject, books, told, world)
    if subject in told.disputes:
        return _of_dispute(kind, subject, books, told)
    if kind == "payment_failed_after_paid":
        order = next((one for one in told.orders.values() if one.stream == subject), None)
        theirs = payments_of(books, order) if order is not None else []
        return any(one.id in world.failed_payments for one in theirs)
    webhook = next((row for row in books.rows("webhook_inbox")
                    if f"{row['provider']}:{row['event_id']}" == subject), None)  # fmt: skip
    if webhook is not None:
        return webhook["status"] not in ENDED
    if kind in ("paused", "sending_stopped"):
        return any(row["paused"] for row in books.rows("pauses")
                   if str(row["stream_id"]) == subject)  # fmt: skip
    return kind not in HEALED


def _of_transfer(kind: str, subject: str, books: Glance, told: Told) -> bool:
    rows = books.rows("seller_transfers")
    row = next((one for one in rows if str(one["transfer_id"]) == subject), None)
    if row is None:
        return False
    unsettled = row["status"] in UNSETTLED
    match kind:
        case "permanently_failed":
            queued = [one for one in books.rows("transfer_reversals")
                      if str(one["transfer_id"]) == subject
                      and one["waiting_for"] == "operator"]  # fmt: skip
            return row["status"] == "permanently_failed" or bool(queued)
        case "awaiting_funds":
            return unsettled and row["waiting_for"] == "funds"
        case "on_hold":
            return unsettled and row["waiting_for"] == "account"
        case "held_back":
            return unsettled and row["waiting_for"] == "payment"
        case _ if kind in OF_PASSING_TROUBLE:
            return unsettled
        case "refund_missing":
            return books.era > 0
        case _:
            return True


def _of_refund(kind: str, subject: str, books: Glance, told: Told, world: World) -> bool:
    names = told.refunds[subject].names
    theirs = [one for one in books.refunds if one.id in names]
    if kind == "refund_failed_after_success":
        return any(one.status == "failed" and world.succeeded.get(one.id) for one in theirs)
    if kind in OF_REFUNDS:
        return all(one.status not in ("succeeded", "failed") for one in theirs)
    return True


def _of_dispute(kind: str, subject: str, books: Glance, told: Told) -> bool:
    dispute = told.disputes[subject]
    status = next((one.status for one in books.disputes if one.id == dispute.dispute_id), None)
    return kind != "dispute_open" or status in ("opened", "challenged", "accepted", "expired")
