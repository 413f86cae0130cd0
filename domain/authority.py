"""Whose word counts about an order's refunds and disputes: that of the provider that took its payment, and no other's.

The other one may report the same refund under a name of its own, and it would be taken twice from the sellers.
"""

from domain.order import Order

STRIPE, HYPERSWITCH = "stripe", "hyperswitch"
"""As webhooks name their senders."""
STRIPES_NAMES = ("pi_", "ch_", "py_")
"""How the names begin that Stripe gives to payments."""


def authority_of(order: Order) -> str | None:
    """None while the order is unpaid. What the API reports as paid elsewhere went through Stripe, unless its payment has a
    name that is not Stripe's and no charge at Stripe is given."""
    if not order.paid:
        return None
    if order.paid_by.startswith(f"{HYPERSWITCH}:"):
        return HYPERSWITCH
    named = order.source_transaction or order.payment_id
    return STRIPE if named is None or named.startswith(STRIPES_NAMES) else HYPERSWITCH
