"""A difference between Stripe's books and ours, once a person has decided about it: let it stand, or have it taken in.

Only decisions have facts: a difference that nobody has decided about is found again by the next reconciliation. Each has a
stream of its own, named by the finding's id, so that the audit trail tells who let it stand, and why. The id covers the money:
when another amount hangs on it, it is another finding, about which nobody has decided.
"""

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from domain.fact import Fact, Opening, Stream, opened
from domain.identity import finding_stream

TOPIC = "ledger.finding"


class DifferenceKind(StrEnum):
    """How Stripe's books and ours can differ."""

    MISSING_HERE = "missing_here"
    """Stripe holds something of ours that is not recorded here."""
    MISSING_THERE = "missing_there"
    """Something is recorded here that Stripe does not hold."""
    AMOUNT = "amount"
    CURRENCY = "currency"
    DESTINATION = "destination"
    """What is to have paid a seller went to another account."""
    EXTERNAL_REVERSAL = "external_reversal"
    """Somebody else took money back from a transfer of ours."""
    DUPLICATE = "duplicate"
    """A second transfer at Stripe for one of ours."""
    UNCLAIMED = "unclaimed"
    """A transfer at Stripe without any trace of us: no fault."""


class Difference(NamedTuple):
    """One difference, as a reconciliation finds it. `at_risk` in minor units of `currency`."""

    kind: DifferenceKind
    stripe_id: str
    """The transfer or reversal at Stripe."""
    stripe_transfer_id: str
    transfer_id: UUID | None
    at_risk: int
    currency: str
    detail: str
    obstacle: str | None
    """Why it cannot be adopted; None if it can."""
    reversal_id: str | None = None

    @property
    def id(self) -> str:
        """The same for the same money between the same objects, however often it is found."""
        names = [self.kind, self.stripe_id, str(self.transfer_id), self.reversal_id, self.at_risk, self.currency]
        return f"{self.kind.value}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]}"


class DecidedBy(NamedTuple):
    """Who decided about a finding, and why."""

    actor: str
    reason: str


class Noted(Opening):
    """Somebody decides about a difference for the first time: what it is, and what hangs on it (minor units)."""

    TOPIC = "ledger.finding.noted"
    finding_id: str
    kind: str
    stripe_id: str
    stripe_transfer_id: str
    transfer_id: str | None
    reversal_id: str | None
    at_risk: int
    currency: str
    detail: str

    def apply(self, aggregate: "Finding") -> None:
        aggregate.finding_id = self.finding_id


class Ignored(Fact):
    """`actor` lets the difference stand, as long as just this money hangs on it."""

    TOPIC = "ledger.finding.ignored"
    finding_id: str
    actor: str
    reason: str

    def apply(self, aggregate: "Finding") -> None:
        aggregate.ignored = True


class Adopted(Fact):
    """`actor` had the ledger take in what Stripe shows; the facts of that are stored beside this one."""

    TOPIC = "ledger.finding.adopted"
    finding_id: str
    actor: str
    reason: str

    def apply(self, aggregate: "Finding") -> None:
        aggregate.ignored = False


class Finding(Stream, topic=TOPIC, opening=Noted):
    """One difference that a person has decided about."""

    def __init__(self) -> None:
        self.finding_id = ""
        self.ignored = False

    @classmethod
    def note(cls, difference: Difference, now: datetime) -> "Finding":
        """A finding that nobody has decided about before."""
        fact = Noted(
            **cls.first(finding_stream(difference.id), now),
            finding_id=difference.id,
            kind=difference.kind.value,
            stripe_id=difference.stripe_id,
            stripe_transfer_id=difference.stripe_transfer_id,
            transfer_id=str(difference.transfer_id) if difference.transfer_id is not None else None,
            reversal_id=difference.reversal_id,
            at_risk=difference.at_risk,
            currency=difference.currency,
            detail=difference.detail,
        )
        return opened(cls, fact)

    def ignore(self, by: DecidedBy, now: datetime) -> bool:
        """Let it stand; answers whether that is news."""
        if self.ignored:
            return False
        self.record(Ignored(**self.next(now), finding_id=self.finding_id, actor=by.actor, reason=by.reason))
        return True

    def adopt(self, by: DecidedBy, now: datetime) -> None:
        """What Stripe shows is taken in by the facts beside this one."""
        self.record(Adopted(**self.next(now), finding_id=self.finding_id, actor=by.actor, reason=by.reason))


AnyFindingFact = Noted | Ignored | Adopted
