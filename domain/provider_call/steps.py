"""The next step of a claimed operation: send, look up, or rest."""

from datetime import datetime
from typing import NamedTuple

from domain.provider_call.operation import Operation
from domain.provider_call.request_body import RefundBody, ReversalBody, TransferBody

LOST_IN_A_ROW = 3
"""From this many vanished callers in a row on, a vanished caller counts as a failed attempt."""


class Send(NamedTuple):
    """`CallStarted` is recorded: append it, then make exactly this call."""

    what: str
    attempt: int
    key: str
    body: TransferBody | ReversalBody | RefundBody


class LookUp(NamedTuple):
    """Read Stripe's books; nothing is recorded before, since reading moves no money."""

    what: str
    since: datetime
    attempt: int = 0
    """How many calls had begun by then."""


class Rest(NamedTuple):
    """Nothing to do at Stripe now; facts that say so may be pending."""

    why: str


Step = Send | LookUp | Rest


def proves_absence(look: LookUp | None, operation: Operation) -> bool:
    """Whether what a look did not find is not there: a call that began after the look may have put it there since."""
    return look is None or (look.what, look.attempt) == (operation.what, operation.attempt)
