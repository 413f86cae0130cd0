"""Aggregate of a pause. Its scope is everything, a kind of work, one seller, or one kind of work
for one seller.

A pause is made by a person, by the ledger itself (when Stripe refuses its API key) or by Stripe's
events about an account. Each scope has a stream of its own, so that the audit trail shows each
actor, time and reason. The scope `unseen` does not stop work: after a restore from a backup, it
requires a look-up at Stripe before each send.
"""

from collections.abc import Mapping
from datetime import datetime

from domain.fact import Fact, Opening, Stream, opened
from domain.identity import pause_stream

TOPIC = "ledger.switch"

EVERYTHING = "everything"
"""Scope of a pause of all calls to Stripe and all refunds to the PSP. Webhooks and API requests are
still handled."""
LOOK_UP_FIRST = "unseen"
"""Scope of the rule that each send needs a look-up at Stripe first."""
LEDGER = "ledger"
"""Actor of a pause that the ledger makes itself."""
STRIPE = "stripe:"
"""Prefix of the actor when a Stripe event pauses or resumes work: `stripe:<event id>`."""
KINDS = ("transferring", "reversing", "refunding", "funding")


def scope_of_work(kind: str) -> str:
    """Return the scope of one kind of work: `transferring`, `reversing`, `refunding` or
    `funding`."""
    return f"work:{kind}"


def scope_of_seller(seller_id: str, kind: str | None = None) -> str:
    """Return the scope of all work for one seller, or of one kind of work."""
    return f"{kind or 'seller'}:{seller_id}"


def scopes_within(scope: str) -> list[str]:
    """Return the scopes that `resume(scope)` ends. For a seller this includes pauses set by Stripe
    account events."""
    seller_id = scope.removeprefix("seller:")
    kinds = () if seller_id == scope else ("transferring", "reversing")
    return [scope, *(scope_of_seller(seller_id, kind) for kind in kinds)]


class Installed(Opening):
    """A scope can be paused from now on; it is not paused yet."""

    TOPIC = "ledger.switch.installed"
    scope: str

    def apply(self, aggregate: "Pause") -> None:
        aggregate.scope = self.scope


class Paused(Fact):
    """`actor` has paused the scope. `lost_since`, for `unseen`: since when Stripe may hold objects
    that the ledger has lost."""

    TOPIC = "ledger.switch.paused"
    scope: str
    actor: str
    reason: str
    lost_since: datetime | None = None

    def apply(self, aggregate: "Pause") -> None:
        aggregate.paused, aggregate.lost_since = True, self.lost_since
        aggregate.actor, aggregate.reason = self.actor, self.reason


class Resumed(Fact):
    """`actor` has ended the pause. Due work continues."""

    TOPIC = "ledger.switch.resumed"
    scope: str
    actor: str
    reason: str

    def apply(self, aggregate: "Pause") -> None:
        aggregate.paused = False


class CapabilitiesTold(Fact):
    """Stripe's events have told which capabilities of the seller's account are active, and our key
    may not read the account. They are kept, because most events tell one capability only."""

    TOPIC = "ledger.switch.capabilities_told"
    scope: str
    account: str
    capabilities: dict[str, str]
    """State of each capability that has been told."""
    source: str

    def apply(self, aggregate: "Pause") -> None:
        aggregate.capabilities[self.account] = self.capabilities


class Pause(Stream, topic=TOPIC, opening=Installed):
    """One scope that can be paused."""

    def __init__(self) -> None:
        self.scope = ""
        self.paused = False
        self.actor = self.reason = ""
        """Actor and reason of the last pause."""
        self.lost_since: datetime | None = None
        self.capabilities: dict[str, dict[str, str]] = {}
        """Capabilities of accounts that our key may not read, as events told them."""

    @classmethod
    def install(cls, scope: str, now: datetime) -> "Pause":
        """Open the stream of a scope that is not paused."""
        return opened(cls, Installed(**cls.first(pause_stream(scope), now), scope=scope))

    def pause(
        self, actor: str, reason: str, now: datetime, lost_since: datetime | None = None
    ) -> bool:
        """Pause the scope. Returns whether a fact was recorded.

        A repeated pause is recorded in three cases. After a second restore (`lost_since`), earlier
        look-ups do not count any more, and objects lost since the first restore may still be
        missing. A person may take over a pause made by Stripe, and then no event ends it. Stripe
        may give another reason for its pause.
        """
        taken_over = self.paused_by_stripe and (
            not actor.startswith(STRIPE) or reason != self.reason
        )
        if self.paused and lost_since is None and not taken_over:
            return False
        lost = min(
            filter(None, (lost_since, self.lost_since if self.paused else None)), default=None
        )
        self.record(
            Paused(**self.next(now), scope=self.scope, actor=actor, reason=reason, lost_since=lost)
        )
        return True

    def tell(
        self, account: str, capabilities: Mapping[str, str], source: str, now: datetime
    ) -> None:
        """Keep the capabilities of an account that our key may not read. Does nothing if they are
        kept already."""
        if self.capabilities.get(account) != dict(capabilities):
            self.record(
                CapabilitiesTold(
                    **self.next(now),
                    scope=self.scope,
                    account=account,
                    capabilities=dict(capabilities),
                    source=source,
                )
            )

    @property
    def paused_by_stripe(self) -> bool:
        """Return whether a Stripe event has paused the scope, so that another event may resume
        it."""
        return self.paused and self.actor.startswith(STRIPE)

    def resume(self, actor: str, reason: str, now: datetime) -> bool:
        """Resume the scope. Returns whether it was paused."""
        if not self.paused:
            return False
        self.record(Resumed(**self.next(now), scope=self.scope, actor=actor, reason=reason))
        return True


AnyPauseFact = Installed | Paused | Resumed | CapabilitiesTold
