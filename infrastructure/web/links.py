"""Links of the OpenAPI document: the answer of one operation names the subject of the next.

A client, or a tester that explores the API, finds its way by them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple


class Link(NamedTuple):
    """A way from an answer to an operation. Values are runtime expressions of OpenAPI."""

    to: str
    """The name of the operation's function."""
    parameters: Mapping[str, str] = {}
    body: Mapping[str, str] | None = None
    """The members that the answer knows; the caller adds the others."""


ORDER_ID, REFUND_ID = "$response.body#/order_id", "$response.body#/refund_id"
FIRST_TRANSFER = "$response.body#/transfers/0/transfer_id"
FIRST_LISTED = "$response.body#/data/0/transfer_id"
LISTED_ORDER, LISTED_SELLER = (
    f"$response.body#/data/0/{name}" for name in ("order_id", "seller_id")
)
SELLER = "$response.body#/shares/0/seller_id"

_OF_AN_ORDER: Final = (
    Link("show_order", {"order_id": ORDER_ID}),
    Link("tell_order_history", {"order_id": ORDER_ID}),
    Link("pay_order", {"order_id": ORDER_ID}),
    Link("create_payment", {"order_id": ORDER_ID}),
    Link("read_charge", {"order_id": ORDER_ID}),
    Link("record_refund", {}, {"order_id": ORDER_ID}),
    Link("list_transfers", {"order_id": ORDER_ID}),
    Link("show_balance", {"seller_id": SELLER}),
    Link("list_payouts", {"seller_id": SELLER}),
)
_OF_A_PAID_ORDER: Final = (
    *_OF_AN_ORDER,
    Link("show_transfer", {"transfer_id": FIRST_TRANSFER}),
    Link("tell_history", {"transfer_id": FIRST_TRANSFER}),
    Link("retry_transfer", {"transfer_id": FIRST_TRANSFER}),
)
_OF_A_REFUND: Final = (
    Link("show_refund", {"refund_id": REFUND_ID}),
    Link("show_order", {"order_id": ORDER_ID}),
    Link("decide_refund", {"refund_id": REFUND_ID}),
)

LINKS: Final[Mapping[str, Sequence[Link]]] = {
    "record_order": _OF_AN_ORDER,
    "pay_order": _OF_A_PAID_ORDER,
    "record_refund": _OF_A_REFUND,
    "list_transfers": (
        Link("list_transfers", {"cursor": "$response.body#/next_cursor"}),
        Link("show_transfer", {"transfer_id": FIRST_LISTED}),
        Link("tell_history", {"transfer_id": FIRST_LISTED}),
        Link("retry_transfer", {"transfer_id": FIRST_LISTED}),
        Link("show_order", {"order_id": LISTED_ORDER}),
        Link("tell_order_history", {"order_id": LISTED_ORDER}),
        Link("pay_order", {"order_id": LISTED_ORDER}),
        Link("record_refund", {}, {"order_id": LISTED_ORDER}),
        Link("show_balance", {"seller_id": LISTED_SELLER}),
        Link("show_statement", {"seller_id": LISTED_SELLER}),
        Link("list_payouts", {"seller_id": LISTED_SELLER}),
    ),
    "feed_facts": (Link("feed_facts", {"after": "$response.body#/next_after"}),),
    "list_orders": (
        Link("show_order", {"order_id": LISTED_ORDER}),
        Link("list_orders", {"cursor": "$response.body#/next_cursor"}),
    ),
    "list_refunds": (
        Link("show_refund", {"refund_id": "$response.body#/data/0/refund_id"}),
        Link("list_refunds", {"cursor": "$response.body#/next_cursor"}),
    ),
    "list_inbox": (
        Link("show_webhook", {"inbox_id": "$response.body#/data/0/inbox_id"}),
        Link("replay_webhook", {"inbox_id": "$response.body#/data/0/inbox_id"}),
        Link("discard_webhook", {"inbox_id": "$response.body#/data/0/inbox_id"}),
        Link("list_inbox", {"cursor": "$response.body#/next_cursor"}),
    ),
    "list_findings": (
        Link("show_finding", {"finding_id": "$response.body#/data/0/finding_id"}),
        Link("adopt_finding", {"finding_id": "$response.body#/data/0/finding_id"}),
        Link("ignore_finding", {"finding_id": "$response.body#/data/0/finding_id"}),
    ),
    "list_sellers": (
        Link("show_balance", {"seller_id": LISTED_SELLER}),
        Link("list_sellers", {"cursor": "$response.body#/next_cursor"}),
    ),
    "list_money": (
        Link("show_transfer", {"transfer_id": FIRST_LISTED}),
        Link("list_money", {"cursor": "$response.body#/next_cursor"}),
    ),
    "pause": (Link("resume", {}, {"seller_id": "$request.body#/seller_id"}),),
}
"""By the name of the function that answers."""


def links_of(operation: str) -> dict[str, Any]:
    """Return the links of an operation's successful answers, as the document writes them."""
    return {link.to: _written(link) for link in LINKS.get(operation, ())}


def _written(link: Link) -> dict[str, Any]:
    written: dict[str, Any] = {"operationId": link.to}
    if link.parameters:
        written["parameters"] = dict(link.parameters)
    if link.body is not None:
        written["requestBody"] = dict(link.body)
    return written
