"""The PSP's payments and refunds: the bodies we send, the names we give, and what its books show. A leaf module.

Amounts are integers in minor units, currencies ISO codes in upper case.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime

LONGEST_NAME = 30
"""Characters. The PSP documents 30 for its ids; its code takes shorter ones too."""
_FITTING = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_NAME}}}")
_DERIVED = re.compile(r"tl_[a-z2-7]{27}")


@dataclass(frozen=True, slots=True)
class PaymentAtPsp:
    """A payment as the PSP shows it now."""

    payment_id: str
    amount: int
    currency: str
    status: str
    """`succeeded`, `failed`, `processing`, `requires_…`, `cancelled`, `partially_captured` and others; any that is unknown
    is not final."""
    amount_received: int | None = None
    connector_transaction_id: str | None = None
    order_id: str | None = None
    """Our own id out of its metadata."""
    error_code: str | None = None
    error_message: str | None = None
    updated_at: datetime | None = field(default=None, compare=False)
    """When its status last changed; None where the PSP does not say."""
    client_secret: str | None = field(default=None, repr=False)
    """With it the buyer's browser confirms the payment; for nobody else's eyes."""


@dataclass(frozen=True, slots=True)
class RefundAtPsp:
    """A refund as the PSP shows it now."""

    refund_id: str
    payment_id: str
    amount: int
    currency: str
    status: str
    """`pending`, `succeeded`, `failed` or `review`; any that is unknown is not final."""
    order_id: str | None = None
    """Our own id out of its metadata."""
    error_code: str | None = None
    error_message: str | None = None
    updated_at: datetime | None = field(default=None, compare=False)
    """When its status last changed; None where the PSP does not say."""


def name_at_psp(our_id: str) -> str:
    """The name under which the PSP knows what we call `our_id`: the id itself where it fits, else 30 characters made of it.

    The same for ever, and another one for every other id. An id that looks like a made name is not taken over
    as it is, since it could be the name of somebody else.
    """
    if _FITTING.fullmatch(our_id) and not _DERIVED.fullmatch(our_id):
        return our_id
    digest = hashlib.sha256(our_id.encode()).digest()
    return "tl_" + base64.b32encode(digest).decode().lower()[:27]
