"""Authority over an order: the provider that took its payment. Only its reports of refunds and
disputes count.

The other provider may report the same refund under another id, and the sellers would pay for it
twice. If the payment does not determine the provider, the first provider that reports money given
back or taken has the authority from then on.
"""

from datetime import datetime

from domain.order.aggregate import Order
from domain.order.facts import AuthorityFound

STRIPE, HYPERSWITCH = "stripe", "hyperswitch"
"""Providers, as in the sources of webhooks: `stripe:<event id>`."""
STRIPES_NAMES = ("pi_", "ch_", "py_")
"""Prefixes of payment ids that Stripe assigns."""
STRIPES_REFUNDS = ("re_", "pyr_")
"""Prefixes of refund ids that Stripe assigns. The PSP accepts any id, so such an id proves nothing
once there is an authority."""


def authority_of(order: Order) -> str | None:
    """Return the provider with the authority; None before the payment, or if the API reported a
    payment without its provider."""
    if order.authority is not None:
        return order.authority
    if order.paid_by.startswith(f"{HYPERSWITCH}:") or order.connector_payment is not None:
        return HYPERSWITCH  # only the PSP names its connector's payment
    if order.paid and order.payment_body is not None:
        # the ledger asked the PSP for the payment, under an id of its own, which may look like
        # Stripe's
        return HYPERSWITCH
    if order.payment_id is None or not order.paid:
        return None  # a charge proves nothing: the PSP may have made it through a Stripe connector
    if order.payment_id.startswith(STRIPES_NAMES):
        return STRIPE
    return HYPERSWITCH if order.source_transaction is None else None


def claim_authority(order: Order, provider: str, source: str, now: datetime) -> str:
    """Return the provider with the authority, which becomes `provider` if there was none."""
    known = authority_of(order)
    if known is not None:
        return known
    order.record(AuthorityFound(**order.next(now), provider=provider, source=source))
    return provider
