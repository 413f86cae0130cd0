"""Our own ids: uuid5 over the JSON array of the callers' ids, so that doing something twice conflicts instead of doubling.

Joined strings would collide (order `a:b` with seller `c`, order `a` with seller `b:c`); a JSON array cannot.
"""

import json
from uuid import UUID, uuid5

_LEDGER = UUID("8b9c6a52-4a4e-5d53-9f0b-0f6f5a0c7c11")

SALE = "sale"
"""The cause of the transfer that pays a seller for an order."""


def _named(kind: str, *names: str | int) -> UUID:
    return uuid5(_LEDGER, json.dumps([kind, *names], separators=(",", ":")))


def order_stream(order_id: str) -> UUID:
    """The stream of an order."""
    return _named("order", order_id)


def refund_stream(refund_id: str) -> UUID:
    """The stream of a refund, under the first name it was known by."""
    return _named("refund", refund_id)


def transfer_stream(order_id: str, seller_id: str, cause: str = SALE) -> UUID:
    """The stream, and public `transfer_id`, of the money to one seller for one cause."""
    return _named("transfer", order_id, seller_id, cause)


def reversal_name(transfer_id: UUID, cause_id: str, round_: int = 1) -> UUID:
    """The id of what one refund or dispute takes from one transfer; a later round when an earlier one was withdrawn."""
    return _named("reversal", str(transfer_id), cause_id, round_)


def external_reversal(transfer_id: UUID, stripe_reversal_id: str) -> UUID:
    """The id of a reversal that somebody else made at Stripe; a kind of its own, since refunds may be named like anything."""
    return _named("external_reversal", str(transfer_id), stripe_reversal_id)


def pause_stream(scope: str) -> UUID:
    """The stream of what can be paused under this scope."""
    return _named("switch", scope)


def dispute_stream(provider: str, dispute_id: str) -> UUID:
    """The stream of a dispute, by the id it has at the provider that took the payment."""
    return _named("dispute", provider, dispute_id)


def payout_stream(account: str, payout_id: str) -> UUID:
    """The stream of a payout that Stripe makes to a seller's bank."""
    return _named("payout", account, payout_id)


DISPUTE = "dispute "
"""How causes that are disputes begin. Refunds cannot be named like that: the names that callers give have no spaces."""


def dispute_cause(dispute_id: str) -> str:
    """The name by which an order and its transfers know a dispute, where they know a refund by its id."""
    return DISPUTE + dispute_id


def finding_stream(finding_id: str) -> UUID:
    """The stream of what was decided about one finding of a reconciliation."""
    return _named("finding", finding_id)


def may_be_ours(name: str | None) -> bool:
    """Whether what Stripe shows in the place of an id of ours is one that we could have given."""
    try:
        return name is not None and str(UUID(name)) == name
    except ValueError:
        return False


def compensation(transfer_id: UUID, cause_id: str, round_: int = 1) -> str:
    """The cause of a transfer that gives back what a refund or dispute took from `transfer_id` in vain."""
    return json.dumps(["compensation", str(transfer_id), cause_id, round_], separators=(",", ":"))
