"""The bodies of the two POSTs to Stripe, as they are frozen in `CallStarted` before anything is sent."""

from typing import NotRequired, TypedDict


class TransferBody(TypedDict):
    """`POST /v1/transfers`. `amount` in minor units; `currency` as Stripe wants it, in lower case."""

    amount: int
    currency: str
    destination: str
    transfer_group: str
    metadata: dict[str, str]
    source_transaction: NotRequired[str]


class ReversalBody(TypedDict):
    """`POST /v1/transfers/{stripe_transfer_id}/reversals`. `amount` in minor units of the transfer's currency."""

    stripe_transfer_id: str
    amount: int
    reason: str
    metadata: dict[str, str]


class PaymentBody(TypedDict):
    """`POST /payments`. `payment_id` comes from `name_at_psp(order_id)`."""

    payment_id: str
    amount: int
    currency: str
    metadata: dict[str, str]
    merchant_order_reference_id: NotRequired[str]
    capture_method: NotRequired[str]
    customer_id: NotRequired[str]
    description: NotRequired[str]
    profile_id: NotRequired[str]
    return_url: NotRequired[str]


class RefundBody(TypedDict):
    """`POST /refunds`. `refund_id` comes from `name_at_psp(refund_id)`; the PSP refuses members that it does not know."""

    refund_id: str
    payment_id: str
    amount: int
    metadata: NotRequired[dict[str, str]]
    reason: NotRequired[str]
    """Behind a Stripe connector only `duplicate`, `fraudulent` and `requested_by_customer` are taken."""
