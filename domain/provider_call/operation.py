"""State of one operation at a provider: a transfer, a reversal or a refund. Plain values, no
decisions about money."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.provider_call.reasons import DeferralReason, FailureReason
from domain.provider_call.retry_policy import LATEST_CALL, Policy

TRANSFER = "transfer"
"""The operation that pays the seller. An operation that reverses is named by the id of its
reversal."""


BY_ANOTHER_PROCESS = (
    DeferralReason.LOOK_UP_LATER,
    DeferralReason.LOOK_UP_FAILED,
    DeferralReason.ABSENT,
)
"""Deferrals that follow a look-up: the process that began the call has not reported an outcome."""

BY_ABSENCE = (DeferralReason.ABSENT.value, FailureReason.EXHAUSTED.value)
"""Ends of a call that rest on a look-up which has not found its object."""


class LookFirst(NamedTuple):
    """A restore from a backup: Stripe may hold objects that the facts of this ledger do not
    mention."""

    begun_at: datetime
    """Look-ups before this instant do not count."""
    lost_since: datetime
    """The instant of the last restored fact. Objects that Stripe made later may be unknown here."""


class Deferral(NamedTuple):
    """A decision to go on later; `domain.provider_call.deferral` makes it. The fields are those of
    `AttemptDeferred`."""

    why: str
    """A value of `DeferralReason`."""
    detail: str
    next_retry_at: datetime
    retry_count: int
    epoch: int
    """The epoch of the next call."""
    open: bool = False
    """True if money may have moved."""
    exhausted: bool = False
    """No attempt is left: the next step is a look-up, and nothing is sent."""
    look_first: bool = False
    """The next step is a look-up."""
    hindered: int = 0
    hindered_since: datetime | None = None
    lost: int = 0
    waiting_for: str | None = None
    """A value of `WaitingFor`."""
    awaiting_since: datetime | None = None
    undecided_since: datetime | None = None
    """Begin of a refund that the PSP has not decided for too long."""
    given_back: int | None = None
    """The attempt that an outage had consumed and that does not count."""
    request_id: str | None = None


class Operation(NamedTuple):
    """State of one operation. `open` means that money may have moved without a record here."""

    what: str
    epoch: int = 1
    attempt: int = 0
    """Number of calls begun, over all epochs."""
    retry_count: int = 0
    epoch_began: datetime | None = None
    """Instant from which the age of the idempotency key counts: of the first `CallStarted` of this
    epoch, or before it, see `key_may_be_used_since`."""
    epoch_key: str | None = None
    """The key of that call."""
    first_began: datetime | None = None
    last_began: datetime | None = None
    begins_by: datetime | None = None
    """The latest instant at which the last call may have begun or may still begin."""
    in_call: bool = False
    unknown: bool = False
    """True if an attempt of this epoch ended `Unknown`; stays true within the epoch."""
    lost: int = 0
    """Number of calls in a row that have no outcome, since their callers vanished."""
    hindered: int = 0
    """Number of calls in a row that the provider did not begin to execute."""
    exhausted: bool = False
    look_first: bool = False
    awaiting_since: datetime | None = None
    hindered_since: datetime | None = None
    looked_at: datetime | None = None
    """When the provider's records were last read and did not contain the operation."""
    forgiven: int = 0
    """The last attempt that was given back because an outage had consumed it."""
    reopened: bool = False
    """True from the decision of a person, or from a payment hold, until the next look-up that shows
    absence: that look-up says nothing about the key."""
    vanished_in: int = 0
    """The last epoch of which a call may still leave: its process never reported an outcome, or a
    restore may have lost the call."""
    pending: bool = False
    """True while Stripe holds the object and has not decided about it: it is only looked up."""
    doubtful: bool = False
    """True once a call of unknown outcome, or one that a restore may have lost, was not found at
    the provider: after an answer 500 the provider may make the object later than any look-up."""

    @property
    def open(self) -> bool:
        """Return whether money may have moved: then epoch, body and amount must not change, and
        nothing is given up."""
        return self.in_call or self.unknown

    @property
    def may_arrive_late(self) -> bool:
        """Return whether a call under the present key may still leave: a process can be frozen
        right before its request leaves, for longer than a look-up waits.

        Under the same key and body, the provider recognises such a request. So neither changes
        before success, a stored answer, or the end of the key's lifetime.
        """
        return self.epoch_began is not None and self.vanished_in == self.epoch

    @property
    def key_may_be_used_since(self) -> datetime | None:
        """Return the earliest instant at which the provider may have seen the present key: of its
        first call, or of the look-up after a restore that may have lost a call."""
        return self.epoch_began or (self.looked_at if self.vanished_in == self.epoch else None)

    @property
    def may_move_money(self) -> bool:
        """Return whether a call that was begun may have moved money, or still may."""
        return self.open or self.may_arrive_late

    def key(self, transfer_id: UUID, ledger_id: str | None = None) -> str:
        """Return the idempotency key. It depends on operation, epoch and ledger, never on the
        amount or on the transfer alone.

        Two ledgers on one Stripe account can have equal ids of orders, and so of transfers. Within
        an epoch the key stays as it was first used.
        """
        if self.epoch_key is not None and self.epoch_began is not None:
            return self.epoch_key
        name = f"transfer:{transfer_id}" if self.what == TRANSFER else f"reversal:{self.what}"
        ledger = f":{ledger_id}" if ledger_id else ""
        return f"{name}:e{self.epoch}{ledger}"

    def awaits(self, what: str, attempt: int) -> bool:
        """Return whether this call is the last one and has no outcome yet."""
        return self.in_call and (self.what, self.attempt) == (what, attempt)

    def under_way_until(self, now: datetime, policy: Policy) -> datetime | None:
        """Return the instant until which the last call may be under way, so that absence proves
        nothing; None if it has ended."""
        if self.begins_by is None or self.pending:
            return None
        ends_by = self.begins_by + policy.call_timeout
        return ends_by if now < ends_by else None

    def must_look_up(
        self, now: datetime, policy: Policy, look_first: LookFirst | None = None
    ) -> bool:
        """Return whether the provider's records have to be read before the next call."""
        unverified = look_first is not None and (
            self.looked_at is None or self.looked_at < look_first.begun_at
        )
        return self.look_first or self.exhausted or self._is_aged(now, policy) or unverified

    def is_spent(self, now: datetime, policy: Policy) -> bool:
        """Return whether the key was used and cannot lead to success any more: it is too old, or it
        repeats a stored error."""
        repeats = self.epoch_began is not None and self.look_first and not self.reopened
        return repeats or self._is_aged(now, policy)

    def _is_aged(self, now: datetime, policy: Policy) -> bool:
        since = self.key_may_be_used_since
        return since is not None and now - since >= policy.key_lifetime

    def started(
        self, at: datetime, attempt: int, epoch: int, key: str | None = None
    ) -> "Operation":
        """Return the operation after `CallStarted`. A call that was still running is lost, so its
        outcome is unknown."""
        used = self.key_may_be_used_since if epoch == self.epoch else None
        return self._replace(
            attempt=attempt,
            epoch=epoch,
            epoch_began=used or at,
            epoch_key=key,
            first_began=self.first_began or at,
            last_began=at,
            begins_by=at + LATEST_CALL,
            lost=self.lost + self.in_call,
            vanished_in=epoch if self.in_call else self.vanished_in,
            unknown=self.open,
            in_call=True,
            pending=False,
        )

    def again(self, epoch: int) -> "Operation":
        """Return the same operation under another key. Attempts are numbered on, so that a late
        outcome matches none of them."""
        fresh = Operation(self.what, epoch=epoch)
        return fresh._replace(
            attempt=self.attempt,
            first_began=self.first_began,
            last_began=self.last_began,
            begins_by=self.begins_by,
            looked_at=self.looked_at,
        )

    def deferred(self, deferral: Deferral, at: datetime) -> "Operation":
        """Return the operation after an outcome that does not end it, recorded at `at`. From then
        on the last call does not begin: either it has ended, or its process has lost the lease."""
        absent = deferral.why == DeferralReason.ABSENT
        same_key = deferral.epoch == self.epoch
        unreported = self.in_call and deferral.why in BY_ANOTHER_PROCESS
        # without another reason, only a restore asks for a look-up that keeps the key
        restored = absent and same_key and not self.look_first
        unproven = restored or (self.open and deferral.why in BY_ABSENCE)
        undecided = deferral.why == DeferralReason.PENDING
        return self._replace(
            epoch=deferral.epoch,
            epoch_began=self.epoch_began if same_key else None,
            in_call=False,
            begins_by=min(self.begins_by, at) if self.begins_by is not None else None,
            unknown=deferral.open,
            retry_count=deferral.retry_count,
            hindered=deferral.hindered,
            exhausted=deferral.exhausted,
            look_first=deferral.look_first or (self.look_first and same_key and not absent),
            reopened=self.reopened and same_key and not absent,
            awaiting_since=deferral.awaiting_since,
            hindered_since=deferral.hindered_since,
            lost=deferral.lost,
            vanished_in=self.epoch if unreported or restored else self.vanished_in,
            looked_at=at if absent else self.looked_at,
            forgiven=self.forgiven if deferral.given_back is None else deferral.given_back,
            pending=undecided and (deferral.look_first or self.pending),
            doubtful=self.doubtful or unproven,
        )
