"""Whose word counts about an order's refunds and disputes: that of the provider that took its payment, and no other's.

The other one may report the same refund under a name of its own, and it would be taken twice from the sellers. Where nobody
has told which provider took the payment, the first one that tells of money given back or taken has it from then on.
"""

from datetime import datetime

from domain.order.aggregate import Order
from domain.order.facts import AuthorityFound

STRIPE, HYPERSWITCH = "stripe", "hyperswitch"
"""As webhooks name their senders."""
STRIPES_NAMES = ("pi_", "ch_", "py_")
"""How the names begin that Stripe gives to payments."""
STRIPES_REFUNDS = ("re_", "pyr_")
"""And to refunds. The PSP takes any name, so only where nobody has the word does such a name tell whose it is."""


def authority_of(order: Order) -> str | None:
    """None while nobody knows: before the payment, or when the API told of one without saying where it went through."""
    if order.authority is not None:
        return order.authority
    if order.paid_by.startswith(f"{HYPERSWITCH}:"):
        return HYPERSWITCH
    if order.paid and order.payment_body is not None:
        return HYPERSWITCH  # it was asked for the payment from here, under a name of ours, which may look like Stripe's
    if order.payment_id is None or not order.paid:
        return None  # a charge alone does not tell: the PSP may have made it, behind a connector
    if order.payment_id.startswith(STRIPES_NAMES):
        return STRIPE
    return HYPERSWITCH if order.source_transaction is None else None


def claim_authority(order: Order, provider: str, source: str, now: datetime) -> str:
    """Whose word counts, which is this provider's if nobody's did."""
    known = authority_of(order)
    if known is not None:
        return known
    order.record(AuthorityFound(**order.next(now), provider=provider, source=source))
    return provider
