"""Life cycle of a seller transfer: one table of the statuses that may follow each status.

Tests compare the SQL CHECKs, docs/lifecycle.md and the aggregate with this module.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class TransferStatus(StrEnum):
    """Status of one transfer."""

    PENDING = "pending"
    """The seller is to be paid. As far as the ledger knows, nothing is at Stripe yet."""
    COMPLETED = "completed"
    """Stripe holds a transfer: the seller has been paid."""
    FAILED = "failed"
    """Stripe refused. The transfer is tried again, or waits for the condition in `waiting_for`."""
    REVERSAL_PENDING = "reversal_pending"
    """One reversal is due or on its way."""
    REVERSED = "reversed"
    """The whole amount is reversed."""
    PERMANENTLY_FAILED = "permanently_failed"
    """A person has to act. `amount_reversed` is the amount that is reversed nevertheless."""
    PARTIALLY_REVERSED = "partially_reversed"
    """A part is reversed (possibly 0, after a withdrawn reversal), and nothing more is due now."""
    CANCELLED = "cancelled"
    """Never sent, because refunds made the transfer unnecessary."""


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
"""Statuses that may follow without a person's action, except the same status again. Final statuses
map to the empty set."""

OPERATOR_TRANSITIONS: Mapping[TransferStatus, frozenset[TransferStatus]] = MappingProxyType(
    {_S.PERMANENTLY_FAILED: frozenset({_S.FAILED, _S.REVERSAL_PENDING})}
)
"""Reopening: statuses that may follow only by a named actor with a reason (or by an object at
Stripe, as `stripe:<id>`)."""

FINAL = frozenset(status for status, after in ALLOWED_TRANSITIONS.items() if not after)


def can_transition(from_: str, to: str) -> bool:
    """Return whether `to` may follow `from_` without a person. The same status is always allowed,
    an unknown `from_` never."""
    known = {str(status): after for status, after in ALLOWED_TRANSITIONS.items()}.get(str(from_))
    return known is not None and (str(from_) == str(to) or str(to) in known)


def operator_may(from_: str, to: str) -> bool:
    """Return whether a named actor may change `from_` to `to`, in addition to `can_transition`."""
    return any(
        str(to) in after
        for status, after in OPERATOR_TRANSITIONS.items()
        if str(status) == str(from_)
    )
