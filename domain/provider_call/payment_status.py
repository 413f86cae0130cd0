"""Statuses and events of payments at Hyperswitch, and how much each says was collected. The one
table for webhooks and poller.

The names are Hyperswitch's `IntentStatus` and `EventType` (v1 API, 2026-09). A status that is not
listed is not final.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Collected(StrEnum):
    """Meaning of a payment's status for the money of its order."""

    NOTHING_YET = "nothing_yet"
    """The buyer, the merchant or the bank has to act first."""
    RECEIVED = "received"
    """`amount_received` was collected, which may be less or more than was asked."""
    UNCLEAR = "unclear"
    """Only a part may be collected, or the amounts of PSP and connector differ: it pays nothing."""
    ENDED = "ended"
    """The payment ended without money."""
    VOIDED = "voided"
    """Cancelled after its capture: the buyer has the whole money back, without a refund."""


_C = Collected

STATUSES: Mapping[str, Collected] = MappingProxyType(
    {
        "requires_payment_method": _C.NOTHING_YET,
        "requires_confirmation": _C.NOTHING_YET,
        "requires_customer_action": _C.NOTHING_YET,
        "requires_merchant_action": _C.NOTHING_YET,
        "requires_capture": _C.NOTHING_YET,
        "processing": _C.NOTHING_YET,
        "succeeded": _C.RECEIVED,
        "partially_captured": _C.RECEIVED,
        "partially_captured_and_capturable": _C.RECEIVED,
        "partially_captured_and_processing": _C.RECEIVED,
        "partially_authorized_and_requires_capture": _C.UNCLEAR,
        "conflicted": _C.UNCLEAR,
        "failed": _C.ENDED,
        "cancelled": _C.ENDED,
        "expired": _C.ENDED,
        "cancelled_post_capture": _C.VOIDED,
    }
)
"""Every `IntentStatus`."""

EVENTS: Mapping[str, Collected] = MappingProxyType(
    {
        "payment_succeeded": _C.RECEIVED,
        "payment_captured": _C.RECEIVED,
        "payment_partially_authorized": _C.UNCLEAR,
        "payment_failed": _C.ENDED,
        "payment_cancelled": _C.ENDED,
        "payment_expired": _C.ENDED,
        "payment_cancelled_post_capture": _C.VOIDED,
    }
)
"""Events whose type says how much was collected. Of any other payment event, the status says."""

HARMLESS = frozenset(
    {
        "payment_processing", "payment_authorized", "action_required",
        "mandate_active", "mandate_revoked",
        "payout_success", "payout_failed", "payout_initiated", "payout_processing",
        "payout_cancelled", "payout_expired", "payout_reversed", "payout_not_permitted",
        "invoice_paid",
    }
)  # fmt: skip
"""Events that are known to change nothing that was collected for an order. Only these are ignored
for their type."""

VOIDED = frozenset(status for status, meaning in STATUSES.items() if meaning is _C.VOIDED)

POLLED: Mapping[str, str] = MappingProxyType(
    {
        "succeeded": "payment_succeeded",
        "partially_captured": "payment_captured",
        "partially_captured_and_capturable": "payment_captured",
        "partially_captured_and_processing": "payment_captured",
        "partially_authorized_and_requires_capture": "payment_partially_authorized",
        "conflicted": "payment_conflicted",
        "cancelled_post_capture": "payment_cancelled_post_capture",
    }
)
"""Event type under which the poller tells a payment of this status that no webhook has told.
Hyperswitch has no event for `conflicted`."""
