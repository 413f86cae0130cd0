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
