"""The life cycle of a seller transfer: one table decides what may follow what.

SQL CHECKs, docs/lifecycle.md, the aggregate and the tests are compared with this module; it is the authority.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class TransferStatus(StrEnum):
    """Where the money of one transfer is."""

    PENDING = "pending"
    """The seller is to be paid; nothing is at Stripe yet, as far as we know."""
    COMPLETED = "completed"
    """Stripe holds a transfer: the seller has been paid."""
    FAILED = "failed"
    """Stripe refused for now; it will be tried again, or is waiting for something named."""
    REVERSAL_PENDING = "reversal_pending"
    """Money is being taken back; one reversal is on its way."""
    REVERSED = "reversed"
    """All of it is back."""
    PERMANENTLY_FAILED = "permanently_failed"
    """A person is needed. `amount_reversed` says what is back all the same."""
    PARTIALLY_REVERSED = "partially_reversed"
    """Some of it is back (possibly 0, after a withdrawn reversal) and nothing more is due now."""
    CANCELLED = "cancelled"
    """Never sent: refunds made it unnecessary."""


_S = TransferStatus

ALLOWED_TRANSITIONS: Mapping[TransferStatus, frozenset[TransferStatus]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED}),
        _S.FAILED: frozenset({_S.COMPLETED, _S.PERMANENTLY_FAILED, _S.CANCELLED}),
        _S.COMPLETED: frozenset({_S.REVERSAL_PENDING}),
        _S.REVERSAL_PENDING: frozenset({_S.REVERSED, _S.PERMANENTLY_FAILED, _S.PARTIALLY_REVERSED}),
        _S.PARTIALLY_REVERSED: frozenset({_S.REVERSAL_PENDING}),
        _S.REVERSED: frozenset(),
        _S.PERMANENTLY_FAILED: frozenset(),
        _S.CANCELLED: frozenset(),
    }
)
"""What may follow by itself, without the diagonal. Finals map to the empty set."""

OPERATOR_TRANSITIONS: Mapping[TransferStatus, frozenset[TransferStatus]] = MappingProxyType(
    {_S.PERMANENTLY_FAILED: frozenset({_S.FAILED, _S.REVERSAL_PENDING})}
)
"""What only a named actor with a reason may do (or Stripe's own object, as `stripe:<id>`): reopening."""

FINAL = frozenset(status for status, after in ALLOWED_TRANSITIONS.items() if not after)


def can_transition(from_: str, to: str) -> bool:
    """Whether `from_` may become `to` by itself. The same status again is always allowed, an unknown `from_` never."""
    known = {str(status): after for status, after in ALLOWED_TRANSITIONS.items()}.get(str(from_))
    return known is not None and (str(from_) == str(to) or str(to) in known)


def operator_may(from_: str, to: str) -> bool:
    """Whether a named actor may take `from_` to `to`, beyond what happens by itself."""
    return any(str(to) in after for status, after in OPERATOR_TRANSITIONS.items() if str(status) == str(from_))
