"""Payments, refunds and disputes of the simulated Hyperswitch, with their rules and events.

A Refusal leaves the state unchanged.
"""

from collections.abc import Iterator
from typing import TypeVar

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.ids import IdSequence
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.hyperswitch.config import HyperswitchConfig
from infrastructure.simulators.hyperswitch.render import (
    dispute_json,
    envelope,
    payment_json,
    refund_json,
)
from infrastructure.simulators.hyperswitch.requests import (
    LARGEST_PAGE,
    CreateRefundRequest,
    DisputeListRequest,
    PaymentRequest,
    RefundListRequest,
)
from infrastructure.simulators.hyperswitch.rows import (
    Json,
    PaymentRow,
    PspDisputeRow,
    PspEventRow,
    PspRefundRow,
)

CONFIRMABLE = ("requires_payment_method", "requires_confirmation")
CANCELLABLE = (*CONFIRMABLE, "requires_capture")
REFUNDABLE = ("succeeded", "partially_captured")
CHARGED = ("succeeded", "partially_captured")
PAYMENT_EVENTS = {
    "processing": "payment_processing",
    "requires_capture": "payment_authorized",
    "succeeded": "payment_succeeded",
    "partially_captured": "payment_captured",
    "partially_captured_and_capturable": "payment_captured",
    "partially_authorized_and_requires_capture": "payment_partially_authorized",
    "failed": "payment_failed",
    "cancelled": "payment_cancelled",
    "cancelled_post_capture": "payment_cancelled_post_capture",
    "expired": "payment_expired",
}
REFUND_EVENTS = {
    "succeeded": "refund_succeeded",
    "failed": "refund_failed",
    "review": "refund_review",
}
"""There is none for `pending`."""

Row = TypeVar("Row", PaymentRow, PspRefundRow, PspDisputeRow)


class SimulatedPspBooks:
    def __init__(self, config: HyperswitchConfig, clock: SimClock, ids: IdSequence) -> None:
        self._config = config
        self._clock = clock
        self._ids = ids
        self.payments: dict[str, PaymentRow] = {}
        self.refunds: dict[str, PspRefundRow] = {}
        self.disputes: dict[str, PspDisputeRow] = {}
        self.events: dict[str, PspEventRow] = {}
        self.announced: list[PspEventRow] = []
        """Events since the last commit."""
        self._announced_types: set[tuple[str, str]] = set()

    def clear(self) -> None:
        for rows in (
            self.payments,
            self.refunds,
            self.disputes,
            self.events,
            self.announced,
            self._announced_types,
        ):
            rows.clear()

    # --- payments ---------------------------------------------------------------------------------

    def payment(self, payment_id: str) -> PaymentRow:
        return _found(self.payments, payment_id, "no_such_payment")

    def create_payment(self, request: PaymentRequest) -> PaymentRow:
        if request.amount is None or request.currency is None:
            raise Refusal(
                "parameter_missing", param="amount" if request.amount is None else "currency"
            )
        payment_id = request.payment_id or self._ids.next("pay")
        if payment_id in self.payments:
            raise Refusal("duplicate_payment")
        now = self._clock.now()
        fields = request.model_dump(exclude={"payment_id", "confirm"})
        payment = PaymentRow(
            payment_id, status="requires_confirmation", created=now, updated=now, **fields
        )
        self.payments[payment_id] = payment
        return payment

    def confirm(self, payment: PaymentRow) -> None:
        _expect(payment, "confirmed", CONFIRMABLE)
        self.settle_payment(
            payment, "requires_capture" if payment.capture_method == "manual" else "processing"
        )

    def capture(self, payment: PaymentRow, amount: int | None) -> None:
        _expect(payment, "captured", ("requires_capture",))
        taken = payment.amount if amount is None else amount
        if taken > payment.amount:
            raise Refusal("request_invalid", problem="amount_to_capture is greater than amount")
        self.settle_payment(
            payment, "succeeded" if taken == payment.amount else "partially_captured", taken
        )

    def cancel(self, payment: PaymentRow) -> None:
        _expect(payment, "cancelled", CANCELLABLE)
        self.settle_payment(payment, "cancelled")

    def settle_payment(
        self,
        payment: PaymentRow,
        status: str,
        amount_received: int | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        announce: bool = True,
    ) -> None:
        """Set the status that the connector reports: any status, in any order."""
        payment.status, payment.updated = status, self._clock.now()
        payment.error_code, payment.error_message = error_code, error_message
        self._use_connector(payment, status, amount_received)
        if amount_received is not None or status == "succeeded":
            payment.amount_received = payment.amount if amount_received is None else amount_received
        if announce and status in PAYMENT_EVENTS:
            shown = payment_json(payment, self._config)
            self.announce(PAYMENT_EVENTS[status], "payment_details", shown, payment.payment_id)

    def _use_connector(self, payment: PaymentRow, status: str, amount_received: int | None) -> None:
        connector, known = self._config.connector, payment.connector_transaction_id
        if connector is None:
            payment.connector_transaction_id = known or self._ids.next("pi")
        elif status in CHARGED and known is None:
            names = {"payment_id": payment.payment_id, **(payment.metadata or {})}
            payment.connector_transaction_id = connector.charge(
                payment.amount if amount_received is None else amount_received,
                payment.currency,
                {name: str(value) for name, value in names.items()},
            )
        elif status == "failed" and known is not None:
            connector.fail(known)

    # --- refunds ----------------------------------------------------------------------------------

    def refund(self, refund_id: str) -> PspRefundRow:
        return _found(self.refunds, refund_id, "no_such_refund")

    def create_refund(self, request: CreateRefundRequest) -> PspRefundRow:
        """Create a refund. As in Hyperswitch, the check of the refundable amount comes before the
        check of the duplicate."""
        payment = self.payment(request.payment_id)
        _expect(payment, "refund", REFUNDABLE)
        amount = payment.amount if request.amount is None else request.amount
        if amount > payment.amount_received - self._refunded(payment):
            raise Refusal("refund_too_large")
        refund_id = request.refund_id or self._ids.next("ref")
        if refund_id in self.refunds:
            raise Refusal("duplicate_refund")
        now = self._clock.now()
        refund = PspRefundRow(
            refund_id=refund_id,
            payment_id=payment.payment_id,
            amount=amount,
            currency=payment.currency,
            status="pending",
            created=now,
            updated=now,
            reason=request.reason,
            metadata=request.metadata,
            split_refunds=request.split_refunds,
        )
        self.refunds[refund_id] = refund
        return refund

    def settle_refund(
        self,
        refund: PspRefundRow,
        status: str,
        error_code: str | None = None,
        error_message: str | None = None,
        announce: bool = True,
    ) -> None:
        """Set the status that the connector reports. A bank can refuse a refund days after its
        success."""
        refund.status, refund.updated = status, self._clock.now()
        refund.error_code, refund.error_message = error_code, error_message
        if announce and status in REFUND_EVENTS:
            self.announce(
                REFUND_EVENTS[status],
                "refund_details",
                refund_json(refund, self._config),
                refund.refund_id,
            )

    def page(self, query: RefundListRequest) -> tuple[list[PspRefundRow], int]:
        """Return one page, newest first, and the number of all matches."""
        if not 1 <= query.limit <= LARGEST_PAGE:
            raise Refusal("request_invalid", problem="limit should be in between 1 and 100")
        found = [refund for refund in reversed(self.refunds.values()) if _matches(refund, query)]
        return found[query.offset : query.offset + query.limit], len(found)

    def _refunded(self, payment: PaymentRow) -> int:
        mine = (
            refund for refund in self.refunds.values() if refund.payment_id == payment.payment_id
        )
        return sum(refund.amount for refund in mine if refund.status != "failed")

    # --- disputes and events ----------------------------------------------------------------------

    def open_dispute(self, payment: PaymentRow, amount: int | None) -> PspDisputeRow:
        now = self._clock.now()
        taken = payment.amount if amount is None else amount
        dispute = PspDisputeRow(
            self._ids.next("dp"), payment.payment_id, taken, payment.currency, "", now, now
        )
        self.disputes[dispute.dispute_id] = dispute
        self.settle_dispute(dispute, "opened")
        return dispute

    def dispute(self, dispute_id: str) -> PspDisputeRow:
        return _found(self.disputes, dispute_id, "no_such_dispute")

    def page_of_disputes(self, query: DisputeListRequest) -> list[PspDisputeRow]:
        """Return one page, newest first."""
        if not 1 <= query.limit <= LARGEST_PAGE:
            raise Refusal("request_invalid", problem="limit should be in between 1 and 100")
        since, until = query.start_time, query.end_time
        found = [
            dispute
            for dispute in reversed(self.disputes.values())
            if dispute.created >= since.timestamp()
            and (until is None or dispute.created <= until.timestamp())
        ]
        return found[query.offset : query.offset + query.limit]

    def settle_dispute(self, dispute: PspDisputeRow, status: str, announce: bool = True) -> None:
        dispute.status, dispute.updated = status, self._clock.now()
        if announce:
            self.announce(
                f"dispute_{status}", "dispute_details", dispute_json(dispute), dispute.dispute_id
            )

    def announce(
        self, event_type: str, kind: str, shown: Json, object_id: str
    ) -> PspEventRow | None:
        """Add an event, or return None for the second of its type: Hyperswitch sends each type once
        for each object."""
        if (object_id, event_type) in self._announced_types:
            return None
        self._announced_types.add((object_id, event_type))
        event_id = self._ids.next("evt")
        body = envelope(self._config, event_id, event_type, kind, shown, self._clock.now())
        event = PspEventRow(event_id, event_type, object_id, body)
        self.events[event_id] = event
        self.announced.append(event)
        return event

    def violations(self) -> Iterator[str]:
        """Yield broken laws: none, unless the simulator is wrong or a test has set an impossible
        status."""
        for payment in self.payments.values():
            if self._refunded(payment) > payment.amount_received:
                yield (
                    f"{payment.payment_id}: {self._refunded(payment)} of "
                    f"{payment.amount_received} are refunded"
                )


def _found(rows: dict[str, Row], id_: str, absent: str) -> Row:
    row = rows.get(id_)
    if row is None:
        raise Refusal(absent)
    return row


def _expect(payment: PaymentRow, flow: str, statuses: tuple[str, ...]) -> None:
    if payment.status not in statuses:
        raise Refusal(
            "unexpected_state", flow=flow, status=payment.status, expected=", ".join(statuses)
        )


def _matches(refund: PspRefundRow, query: RefundListRequest) -> bool:
    return (
        query.payment_id in (None, refund.payment_id)
        and query.refund_id in (None, refund.refund_id)
        and refund.created >= query.start_time.timestamp()
        and (query.end_time is None or refund.created <= query.end_time.timestamp())
        and (query.currency is None or refund.currency in query.currency)
        and (query.refund_status is None or refund.status in query.refund_status)
    )
