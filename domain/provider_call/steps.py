"""Steps of a claimed operation: send, look up, or rest."""

from datetime import datetime
from typing import NamedTuple

from domain.provider_call.operation import Operation
from domain.provider_call.request_body import RefundBody, ReversalBody, TransferBody
from domain.provider_call.retry_policy import Policy

LOST_IN_A_ROW = 3
"""From this many vanished callers in a row on, a vanished caller counts as a failed attempt."""


class Send(NamedTuple):
    """A call with a recorded intent, `CallStarted`: append that, then make exactly this call."""

    what: str
    attempt: int
    key: str
    body: TransferBody | ReversalBody | RefundBody


class LookUp(NamedTuple):
    """A look-up in the provider's records. Nothing is recorded before, since reading moves no
    money."""

    what: str
    since: datetime
    attempt: int = 0
    """Number of calls begun when the look-up began."""
    restored: bool = False
    """True after a restore, which may have lost the identity of the ledger."""
    begun_at: datetime | None = None
    """The instant of which it tells, however late it is recorded; None: that of the record."""


class Rest(NamedTuple):
    """No step at the provider now. Facts that record the reason may be pending."""

    why: str


Step = Send | LookUp | Rest


def proves_absence(
    look: LookUp | None, operation: Operation, now: datetime, policy: Policy
) -> bool:
    """Return whether an object that a look-up did not find is absent. A call that began later may
    have made it since, and so may a frozen call if the look-up began long ago."""
    if look is None:
        return True
    fresh = look.begun_at is None or now - look.begun_at < policy.look_up_lifetime
    return fresh and (look.what, look.attempt) == (operation.what, operation.attempt)
