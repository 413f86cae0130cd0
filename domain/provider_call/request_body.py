"""Bodies of the requests to Stripe and to the PSP, as frozen in `CallStarted` before the call."""

from typing import NotRequired, TypedDict, final


@final
class TransferBody(TypedDict):
    """`POST /v1/transfers`. `amount` is in minor units as the ledger counts them, `currency` in
    lower case."""

    amount: int
    currency: str
    destination: str
    transfer_group: str
    metadata: dict[str, str]
    source_transaction: NotRequired[str]


@final
class ReversalBody(TypedDict):
    """`POST /v1/transfers/{stripe_transfer_id}/reversals`. `amount` is in minor units of the
    transfer's currency."""

    stripe_transfer_id: str
    amount: int
    reason: str
    metadata: dict[str, str]
    currency: NotRequired[str]
    """Not sent: by it, the gateway converts the amount to Stripe's units."""


class PaymentBody(TypedDict):
    """`POST /payments`. `payment_id` comes from `name_at_psp(order_id)`."""

    payment_id: str
    amount: int
    currency: str
    metadata: dict[str, str]
    merchant_order_reference_id: NotRequired[str]
    description: NotRequired[str]


@final
class RefundBody(TypedDict):
    """`POST /refunds`. `refund_id` comes from `name_at_psp(refund_id)`; the PSP refuses unknown
    members."""

    refund_id: str
    payment_id: str
    amount: int
    metadata: NotRequired[dict[str, str]]
    reason: NotRequired[str]
    """Behind a Stripe connector only `duplicate`, `fraudulent` and `requested_by_customer` are
    taken."""
