"""What can be paused, by people, by the ledger itself (when Stripe refuses its key) and by Stripe's events about an account:
everything, a kind of work, one seller, one kind of work for one seller.

Each is a switch with a stream of its own, so that the audit trail tells who stopped the money, when and why. One more switch
is no pause: `unverified` forbids to send what was not looked up before, after a restore from a backup.
"""

from datetime import datetime

from domain.fact import Fact, Opening, Stream, opened
from domain.identity import pause_stream

TOPIC = "ledger.switch"

EVERYTHING = "everything"
"""Nothing is sent to Stripe, and no refund to the PSP. Webhooks and calls are taken in and handled all the same: nothing waits
outside."""
LOOK_UP_FIRST = "unseen"
"""Sending what was not looked up in Stripe's books before."""
LEDGER = "ledger"
"""The actor when the ledger itself stops."""
STRIPE = "stripe:"
"""How the actor begins when an event of Stripe stops or resumes work: `stripe:<event id>`."""
KINDS = ("transferring", "reversing", "refunding")


def scope_of_work(kind: str) -> str:
    """The scope of one kind of work: `transferring`, `reversing` or `refunding`."""
    return f"work:{kind}"


def scope_of_seller(seller_id: str, kind: str | None = None) -> str:
    """The scope of all work for one seller, or of one kind of it."""
    return f"{kind or 'seller'}:{seller_id}"


def scopes_within(scope: str) -> list[str]:
    """It, and what ends with it when a person resumes it: of a seller, also what Stripe's events have stopped."""
    whose = scope.removeprefix("seller:")
    return [scope] if whose == scope else [scope, *(scope_of_seller(whose, kind) for kind in ("transferring", "reversing"))]


class Installed(Opening):
    """There is a switch for this scope; it is on."""

    TOPIC = "ledger.switch.installed"
    scope: str

    def apply(self, aggregate: "Pause") -> None:
        aggregate.scope = self.scope


class Paused(Fact):
    """`actor` has paused the scope. `lost_since`: for `unverified`, from when on Stripe may hold what our facts do not tell."""

    TOPIC = "ledger.switch.paused"
    scope: str
    actor: str
    reason: str
    lost_since: datetime | None = None

    def apply(self, aggregate: "Pause") -> None:
        aggregate.paused, aggregate.lost_since = True, self.lost_since
        aggregate.actor, aggregate.reason = self.actor, self.reason


class Resumed(Fact):
    """`actor` has ended the pause: what is due now goes on."""

    TOPIC = "ledger.switch.resumed"
    scope: str
    actor: str
    reason: str

    def apply(self, aggregate: "Pause") -> None:
        aggregate.paused = False


class Pause(Stream, topic=TOPIC, opening=Installed):
    """One thing that can be paused."""

    def __init__(self) -> None:
        self.scope = ""
        self.paused = False
        self.actor = self.reason = ""
        """Who paused it last, and why."""
        self.lost_since: datetime | None = None

    @classmethod
    def install(cls, scope: str, now: datetime) -> "Pause":
        """A switch that is on."""
        return opened(cls, Installed(**cls.first(pause_stream(scope), now), scope=scope))

    def pause(self, actor: str, reason: str, now: datetime, lost_since: datetime | None = None) -> bool:
        """Answers whether that is news. A second restore is: what was looked up after the first counts no more, and what was
        lost since the first may still be missing. So is a person who takes a pause of Stripe's over: no event ends it then; and
        Stripe's other reason for a pause of its own."""
        taken_over = self.paused_by_stripe and (not actor.startswith(STRIPE) or reason != self.reason)
        if self.paused and lost_since is None and not taken_over:
            return False
        lost = min(filter(None, (lost_since, self.lost_since if self.paused else None)), default=None)
        self.record(Paused(**self.next(now), scope=self.scope, actor=actor, reason=reason, lost_since=lost))
        return True

    @property
    def paused_by_stripe(self) -> bool:
        """Whether an event of Stripe has paused it, which another one may end."""
        return self.paused and self.actor.startswith(STRIPE)

    def resume(self, actor: str, reason: str, now: datetime) -> bool:
        """Answers whether that is news."""
        if not self.paused:
            return False
        self.record(Resumed(**self.next(now), scope=self.scope, actor=actor, reason=reason))
        return True


AnyPauseFact = Installed | Paused | Resumed
