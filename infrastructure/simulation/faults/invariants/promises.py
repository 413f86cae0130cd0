"""Promises to the outside: each acknowledged command and webhook has its effect or its alarm."""

from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure.simulation.faults.books import Acknowledged
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.glance import Glance
from infrastructure.simulation.faults.invariants.told import Told

Json = Mapping[str, Any]
ENDED = ("done", "handled", "ignored", "discarded")


class Promises:
    """Acknowledgements; each is looked at when it is given, when its webhook is closed, and again
    at the end."""

    def __init__(self) -> None:
        self._seen = 0
        self._closed = set[str]()
        self._bodies: dict[str, Json] = {}

    def broken(self, books: Glance, told: Told) -> Iterator[str]:
        """Yield the new acknowledgements without a stored trace."""
        new = books.acknowledged[self._seen :]
        self._seen = len(books.acknowledged)
        self._bodies |= {one.subject: one.details for one in new if one.kind == "webhook"}
        yield from _without_trace([one for one in new if not one.lost], books, told)
        closed = {f"{row['provider']}:{row['event_id']}": row for row in books.rows("webhook_inbox")
                  if row["status"] in ENDED}  # fmt: skip
        for name in sorted(closed.keys() - self._closed):
            yield from _without_effect(name, closed[name], self._bodies.get(name, {}), told)
        self._closed = set(closed)

    def broken_at_end(self, books: Glance, told: Told) -> Iterator[str]:
        """Yield the acknowledgements that were lost, and the webhooks without an end or alarm."""
        yield from _without_trace([one for one in books.acknowledged if not one.lost], books, told)
        alarms = {str(row["subject"]) for row in books.rows("alarms")
                  if row.get("cleared_at") is None}  # fmt: skip
        for row in books.rows("webhook_inbox"):
            name = f"{row['provider']}:{row['event_id']}"
            if row["status"] not in ENDED and name not in alarms:
                yield broken(
                    "every_webhook_ends",
                    f"webhook {name} ({row['event_type']}) is {row['status']} without an alarm: "
                    f"{row['reason']}",
                )


def _without_effect(name: str, row: Json, details: Json, told: Told) -> Iterator[str]:
    """Check that a webhook of the PSP has its effect at the moment at which it is closed."""
    object_ = details.get("body", {}).get("content", {}).get("object", {})
    if not object_ or row["provider"] != "hyperswitch":
        return
    payment = object_.get("payment_id")
    order = next((one for one in told.orders.values() if one.payment_id == payment), None)
    if order is None:
        return  # the report is about no order of the ledger
    refunds = [one for one in told.refunds.values() if object_.get("refund_id") in one.names]
    has_effect = {
        "payment_succeeded": order.paid,
        "refund_succeeded": any(one.status in ("succeeded", "failed", "review") for one in refunds),
        "refund_failed": any(one.status in ("succeeded", "failed") for one in refunds),
        "dispute_lost": object_.get("dispute_id") in order.disputes,
    }.get(str(row["event_type"]), True)
    if not has_effect:
        yield broken(
            "webhooks_close_with_their_effect",
            f"webhook {name} ({row['event_type']} of order {order.order_id}) is {row['status']}, "
            f"and no fact tells of it: {row['reason']}",
        )


def _without_trace(given: list[Acknowledged], books: Glance, told: Told) -> Iterator[str]:
    if not given:
        return
    inbox = {f"{row['provider']}:{row['event_id']}" for row in books.rows("webhook_inbox")}
    for one in given:
        if one.kind == "webhook" and one.subject not in inbox:
            yield broken(
                "no_acknowledged_webhook_is_lost",
                f"webhook {one.subject} was acknowledged, and the inbox does not hold it",
            )
        elif one.kind == "register":
            yield from _registered(one, told)
        elif one.kind == "refund" and not any(
            one.subject in refund.names for refund in told.refunds.values()
        ):
            yield broken(
                "no_acknowledged_call_is_lost",
                f"refund {one.subject} was accepted, and no fact tells of it",
            )


def _registered(one: Acknowledged, told: Told) -> Iterator[str]:
    order = told.orders.get(one.subject)
    if order is None:
        yield broken(
            "no_acknowledged_call_is_lost",
            f"order {one.subject} was registered, and no fact tells of it",
        )
        return
    amount = one.details.get("amount", order.amount)
    if amount != order.amount:
        yield broken(
            "no_acknowledged_call_is_lost",
            f"order {one.subject} was registered over {amount}, and is recorded over "
            f"{order.amount}",
        )
