"""Payments, refunds and disputes as the PSP shows them, and their names at the PSP. A leaf module.

Amounts are in minor units, currencies are ISO codes in upper case.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

LONGEST_NAME = 30
"""Maximum number of characters. The PSP documents exactly 30 for its ids; its code also takes
shorter ones."""
_FITTING = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_NAME}}}")
_STRIPES = re.compile(r"(pi|ch|py)_[A-Za-z0-9_]{1,200}")
_DERIVED = re.compile(r"tl_[a-z2-7]{27}")


class ConnectorPayment(NamedTuple):
    """The connector of a payment at the PSP, and the name of the payment there."""

    connector: str | None = None
    """`stripe`, `adyen` and others; None if the PSP does not tell."""
    payment_id: str | None = None
    """The PSP's `connector_transaction_id`; behind Stripe the PaymentIntent, `pi_…`."""

    @property
    def at_stripe(self) -> str | None:
        """Return the name if it can be a PaymentIntent or a charge of Stripe's, else None."""
        elsewhere = self.connector is not None and not self.connector.lower().startswith("stripe")
        named = self.payment_id is not None and _STRIPES.fullmatch(self.payment_id)
        return self.payment_id if named and not elsewhere else None


@dataclass(frozen=True, slots=True)
class SplitPayment:
    """The split of a payment at the PSP, which Stripe carries out with the charge."""

    charge_type: str
    """`destination` (the charge makes the transfer to the seller), `direct` (the charge is on the
    seller's account), or a type that the ledger does not know."""
    account: str | None = None
    """The seller's account."""
    charge_id: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentAtPsp:
    """A payment as the PSP shows it."""

    payment_id: str
    amount: int
    currency: str
    status: str
    """`succeeded`, `failed`, `processing`, `requires_…`, `cancelled`, `partially_captured` and
    others; an unknown one is not final."""
    amount_received: int | None = None
    connector: str | None = None
    connector_transaction_id: str | None = None
    order_id: str | None = None
    """Our id in its metadata."""
    error_code: str | None = None
    error_message: str | None = None
    updated_at: datetime | None = field(default=None, compare=False)
    """When its status last changed; None if the PSP does not show it."""
    split: SplitPayment | None = None
    client_secret: str | None = field(default=None, repr=False)
    """Secret with which the buyer's browser confirms the payment; must not be shown to anyone
    else."""


@dataclass(frozen=True, slots=True)
class RefundAtPsp:
    """A refund as the PSP shows it."""

    refund_id: str
    payment_id: str
    amount: int
    currency: str
    status: str
    """`pending`, `succeeded`, `failed` or `review`; an unknown one is not final."""
    order_id: str | None = None
    """Our id in its metadata."""
    error_code: str | None = None
    error_message: str | None = None
    updated_at: datetime | None = field(default=None, compare=False)
    """When its status last changed; None if the PSP does not show it."""
    reverts_transfer: bool = False
    """True if the refund itself reverses the transfer that its payment has made."""


@dataclass(frozen=True, slots=True)
class DisputeAtPsp:
    """A dispute as the PSP shows it."""

    dispute_id: str
    payment_id: str
    amount: int
    currency: str
    status: str
    """`dispute_opened`, `dispute_challenged`, `dispute_lost` and others: the name of the event that
    reports this status."""
    reason: str | None = None
    updated_at: datetime | None = field(default=None, compare=False)
    """When its connector last changed it; None if the PSP does not show it."""


def name_at_psp(our_id: str) -> str:
    """Return the name of `our_id` at the PSP: the id itself if it fits, else 30 characters derived
    from it.

    The name never changes, and different ids have different names. An id that looks like a derived
    name is not used itself, since it could be the derived name of another id.
    """
    if _FITTING.fullmatch(our_id) and not _DERIVED.fullmatch(our_id):
        return our_id
    digest = hashlib.sha256(our_id.encode()).digest()
    return "tl_" + base64.b32encode(digest).decode().lower()[:27]
