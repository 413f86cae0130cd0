"""Ids of the ledger: uuid5 over a JSON array of the callers' ids, so that a repeated command
conflicts instead of paying twice.

Joined strings would collide (order `a:b` with seller `c`, order `a` with seller `b:c`); a JSON
array cannot.
"""

import json
from typing import NamedTuple
from uuid import UUID, uuid5

_LEDGER = UUID("8b9c6a52-4a4e-5d53-9f0b-0f6f5a0c7c11")

SALE = "sale"
"""The cause of the transfer that pays a seller for an order."""


def _named(kind: str, *names: str | int) -> UUID:
    return uuid5(_LEDGER, json.dumps([kind, *names], separators=(",", ":")))


def order_stream(order_id: str) -> UUID:
    """Return the stream of an order."""
    return _named("order", order_id)


def refund_stream(refund_id: str) -> UUID:
    """Return the stream of a refund, by the first id under which it became known."""
    return _named("refund", refund_id)


def transfer_stream(order_id: str, seller_id: str, cause: str = SALE) -> UUID:
    """Return the stream, and public `transfer_id`, of the transfer to one seller for one cause."""
    return _named("transfer", order_id, seller_id, cause)


def reversal_name(transfer_id: UUID, cause_id: str, round_: int = 1) -> UUID:
    """Return the id of the reversal of one transfer for one cause. A later round follows a
    withdrawn reversal."""
    return _named("reversal", str(transfer_id), cause_id, round_)


def external_reversal(transfer_id: UUID, stripe_reversal_id: str) -> UUID:
    """Return the id of a reversal that others made at Stripe, in a namespace of its own since
    refund ids are arbitrary."""
    return _named("external_reversal", str(transfer_id), stripe_reversal_id)


def pause_stream(scope: str) -> UUID:
    """Return the stream of the pauses of a scope."""
    return _named("switch", scope)


def dispute_stream(provider: str, dispute_id: str) -> UUID:
    """Return the stream of a dispute, by its id at the provider that took the payment."""
    return _named("dispute", provider, dispute_id)


def payout_stream(account: str, payout_id: str) -> UUID:
    """Return the stream of a payout from a Stripe account to a seller's bank."""
    return _named("payout", account, payout_id)


def webhook_stream(provider: str, event_id: str) -> UUID:
    """Return the stream of the decisions about one stored webhook."""
    return _named("webhook", provider, event_id)


def seller_account_stream(seller_id: str) -> UUID:
    """Return the stream of a seller's moves to other accounts."""
    return _named("seller_account", seller_id)


DISPUTE = "dispute "
"""Prefix of causes that are disputes. A refund id cannot begin with it, because ids given by
callers have no spaces."""


def dispute_cause(dispute_id: str) -> str:
    """Return the cause that an order and its transfers record for a dispute, where a refund's cause
    is its id."""
    return DISPUTE + dispute_id


def streams_of_cause(cause_id: str) -> list[UUID]:
    """Return the streams that may record the refund or dispute behind a cause."""
    dispute_id = cause_id.removeprefix(DISPUTE)
    if dispute_id == cause_id:
        return [refund_stream(cause_id)]
    return [dispute_stream(provider, dispute_id) for provider in ("hyperswitch", "stripe")]


def finding_stream(finding_id: str) -> UUID:
    """Return the stream of the decisions about one reconciliation finding."""
    return _named("finding", finding_id)


def may_be_ours(name: str | None) -> bool:
    """Return whether an id that Stripe shows in its metadata has the form of an id of the
    ledger."""
    try:
        return name is not None and str(UUID(name)) == name
    except ValueError:
        return False


class Compensated(NamedTuple):
    """The transfer that a compensation gives an amount of back, and the refund or dispute that took
    it."""

    transfer_id: str
    cause_id: str


def compensated(cause: str) -> Compensated | None:
    """Return the parts of the cause of a compensating transfer; None for another cause."""
    try:
        match json.loads(cause):
            case ["compensation", str(transfer_id), str(cause_id), int()]:
                return Compensated(transfer_id, cause_id)
    except ValueError:
        pass
    return None


def compensation(transfer_id: UUID, cause_id: str, round_: int = 1) -> str:
    """Return the cause of a transfer that gives back the amount that a revoked refund or dispute
    took from `transfer_id`."""
    return json.dumps(["compensation", str(transfer_id), cause_id, round_], separators=(",", ":"))
