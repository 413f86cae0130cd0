"""Where one operation at Stripe stands: the transfer itself, or one reversal of it. Plain values, no decisions about money."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.provider_call.retry_policy import Policy

TRANSFER = "transfer"
"""The operation that pays the seller; every other operation is named by its reversal's id."""


class LookFirst(NamedTuple):
    """The ledger was restored from a backup: Stripe may hold what our facts do not tell."""

    begun_at: datetime
    """What was looked up before counts for nothing."""
    lost_since: datetime
    """The instant of the last fact that was restored: what Stripe made later may be unknown here."""


class Operation(NamedTuple):
    """The state of one operation. `open` means that money may have moved without our knowing."""

    what: str
    epoch: int = 1
    attempt: int = 0
    """Calls begun, over all epochs."""
    retry_count: int = 0
    epoch_began: datetime | None = None
    """The first `CallStarted` of this epoch: the age of the idempotency key."""
    first_began: datetime | None = None
    last_began: datetime | None = None
    in_call: bool = False
    unknown: bool = False
    """Sticky: some attempt of this epoch ended Unknown."""
    lost: int = 0
    """Calls in a row whose caller vanished before recording an outcome."""
    hindered: int = 0
    """Calls in a row that Stripe did not begin to execute."""
    exhausted: bool = False
    look_first: bool = False
    awaiting_since: datetime | None = None
    hindered_since: datetime | None = None
    looked_at: datetime | None = None
    """When Stripe's books were last read for it, and did not show it."""
    forgiven: int = 0
    """The last attempt that was given back because an outage had spent it."""

    @property
    def open(self) -> bool:
        """While open: no new epoch, no changed body, no reducing, no cancelling, no giving up."""
        return self.in_call or self.unknown

    def key(self, transfer_id: UUID) -> str:
        """The idempotency key: by operation and epoch, never by amount, never by the transfer alone."""
        return f"transfer:{transfer_id}:e{self.epoch}" if self.what == TRANSFER else f"reversal:{self.what}:e{self.epoch}"

    def must_look_up(self, now: datetime, policy: Policy, look_first: LookFirst | None = None) -> bool:
        """Whether Stripe's books have to be read before anything may be sent (again)."""
        aged = self.epoch_began is not None and now - self.epoch_began >= policy.key_lifetime
        unverified = look_first is not None and (self.looked_at is None or self.looked_at < look_first.begun_at)
        return self.look_first or self.exhausted or aged or unverified

    def started(self, at: datetime, attempt: int, epoch: int) -> "Operation":
        """After `CallStarted`. A call that was still running is lost: it stays part of the unknown."""
        return self._replace(
            attempt=attempt,
            epoch=epoch,
            epoch_began=self.epoch_began if epoch == self.epoch and self.epoch_began else at,
            first_began=self.first_began or at,
            last_began=at,
            lost=self.lost + self.in_call,
            unknown=self.open,
            in_call=True,
        )

    def again(self, epoch: int) -> "Operation":
        """The same operation asked anew, under another key; its attempts are numbered on, so that a late outcome fits none."""
        fresh = Operation(self.what, epoch=epoch)
        return fresh._replace(
            attempt=self.attempt, first_began=self.first_began, last_began=self.last_began, looked_at=self.looked_at
        )

    def paused(
        self,
        *,
        epoch: int,
        open_: bool,
        retry_count: int,
        hindered: int = 0,
        exhausted: bool = False,
        look_first: bool = False,
        awaiting_since: datetime | None = None,
        hindered_since: datetime | None = None,
        lost: int = 0,
        looked_at: datetime | None = None,
        forgiven: int | None = None,
    ) -> "Operation":
        """After an outcome that leaves the operation to be tried again."""
        return self._replace(
            epoch=epoch,
            epoch_began=self.epoch_began if epoch == self.epoch else None,
            in_call=False,
            unknown=open_,
            retry_count=retry_count,
            hindered=hindered,
            exhausted=exhausted,
            look_first=look_first or (self.look_first and epoch == self.epoch and looked_at is None),
            awaiting_since=awaiting_since,
            hindered_since=hindered_since,
            lost=lost,
            looked_at=looked_at or self.looked_at,
            forgiven=self.forgiven if forgiven is None else forgiven,
        )
