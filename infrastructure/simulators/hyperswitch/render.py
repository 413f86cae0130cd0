"""JSON of payments, refunds, disputes and events in Hyperswitch's shape."""

from dataclasses import asdict
from datetime import UTC, datetime

from infrastructure.simulators.hyperswitch.config import HyperswitchConfig
from infrastructure.simulators.hyperswitch.rows import Json, PaymentRow, PspDisputeRow, PspRefundRow

CONNECTOR, ACCOUNT = "stripe", "mca_sim"
PAYMENT_METHOD = {"payment_method": "card", "payment_method_type": "credit"}
"""Every simulated buyer pays with a credit card."""


def instant(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def payment_json(payment: PaymentRow, config: HyperswitchConfig) -> Json:
    return {
        **asdict(payment),
        **PAYMENT_METHOD,
        "merchant_id": config.merchant_id,
        "net_amount": payment.amount,
        "amount_capturable": payment.amount if payment.status == "requires_capture" else 0,
        "amount_received": payment.amount_received or None,
        "connector": CONNECTOR if payment.connector_transaction_id else None,
        "reference_id": payment.connector_transaction_id,
        "merchant_connector_id": ACCOUNT,
        "profile_id": config.profile_id,
        "client_secret": f"{payment.payment_id}_secret_simulated",
        "attempt_count": 1,
        "unified_code": None,
        "unified_message": None,
        "created": instant(payment.created),
        "updated": instant(payment.updated),
    }


def refund_json(refund: PspRefundRow, config: HyperswitchConfig) -> Json:
    fields = asdict(refund)
    return {
        "created_at": instant(fields.pop("created")),
        "updated_at": instant(fields.pop("updated")),
        **fields,
        "unified_code": None,
        "unified_message": None,
        "connector": CONNECTOR,
        "profile_id": config.profile_id,
        "merchant_connector_id": ACCOUNT,
        "issuer_error_code": None,
        "issuer_error_message": None,
    }


def dispute_json(dispute: PspDisputeRow) -> Json:
    """Return the dispute's JSON, with the members of the PSP's published source."""
    return {
        "dispute_id": dispute.dispute_id,
        "payment_id": dispute.payment_id,
        "attempt_id": f"{dispute.payment_id}_1",
        "amount": str(dispute.amount),
        "currency": dispute.currency,
        "dispute_stage": "dispute",
        "dispute_status": f"dispute_{dispute.status}",
        "connector": CONNECTOR,
        "connector_status": dispute.status,
        "connector_dispute_id": f"dp_{dispute.dispute_id}",
        "connector_reason": None,
        "connector_reason_code": None,
        "challenge_required_by": None,
        "connector_created_at": None,
        "connector_updated_at": instant(dispute.updated),
        "created_at": instant(dispute.created),
        "profile_id": None,
        "merchant_connector_id": None,
        "is_already_refunded": False,
    }


def envelope(
    config: HyperswitchConfig, event_id: str, event_type: str, kind: str, shown: Json, at: float
) -> Json:
    """Return the JSON of an event. `kind` is the content's type, such as `refund_details`."""
    return {
        "merchant_id": config.merchant_id,
        "event_id": event_id,
        "event_type": event_type,
        "content": {"type": kind, "object": shown},
        "timestamp": instant(at),
        "processor_merchant_id": config.merchant_id,
    }
