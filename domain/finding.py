"""Aggregate of a reconciliation finding: a difference between Stripe's books and the ledger that a
person ignored or adopted.

Only decisions are facts: the next reconciliation finds an undecided difference again. Each finding
has a stream of its own, named by its id, so that the audit trail shows the actor and the reason.
The id covers the amount at risk: with another amount, the difference is another finding, without a
decision.
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
    """Kind of a difference between Stripe's books and the ledger."""

    MISSING_HERE = "missing_here"
    """Stripe holds an object of the ledger that is not recorded here."""
    MISSING_THERE = "missing_there"
    """An object is recorded here that Stripe does not hold."""
    AMOUNT = "amount"
    CURRENCY = "currency"
    DESTINATION = "destination"
    """The transfer went to another account than the seller's."""
    EXTERNAL_REVERSAL = "external_reversal"
    """A reversal that others made of a transfer of the ledger."""
    DUPLICATE = "duplicate"
    """A second transfer at Stripe for one transfer of the ledger."""
    UNCLAIMED = "unclaimed"
    """A transfer at Stripe that does not name the ledger: no fault."""


class Difference(NamedTuple):
    """One difference that a reconciliation finds. `at_risk` in minor units of `currency`."""

    kind: DifferenceKind
    stripe_id: str
    """The transfer or reversal at Stripe."""
    stripe_transfer_id: str
    transfer_id: UUID | None
    at_risk: int
    currency: str
    detail: str
    obstacle: str | None
    """Why the difference cannot be adopted; None if it can."""
    reversal_id: str | None = None
    awaits_others: bool = False
    """True for a compensation: it is adopted after the reversal that it gives back."""

    @property
    def id(self) -> str:
        """Id that is the same whenever the same amount between the same objects is found."""
        names = [
            self.kind,
            self.stripe_id,
            str(self.transfer_id),
            self.reversal_id,
            self.at_risk,
            self.currency,
        ]
        return f"{self.kind.value}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]}"


class DecidedBy(NamedTuple):
    """Actor and reason of a decision about a finding."""

    actor: str
    reason: str


class Noted(Opening):
    """A difference gets its first decision. `at_risk` in minor units."""

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
    """`actor` accepts the difference as long as the amount at risk stays the same."""

    TOPIC = "ledger.finding.ignored"
    finding_id: str
    actor: str
    reason: str

    def apply(self, aggregate: "Finding") -> None:
        aggregate.ignored = True


class Adopted(Fact):
    """`actor` had the ledger record the object at Stripe, by facts stored in the same
    transaction."""

    TOPIC = "ledger.finding.adopted"
    finding_id: str
    actor: str
    reason: str

    def apply(self, aggregate: "Finding") -> None:
        aggregate.ignored = False


class IgnoreTakenBack(Fact):
    """`actor` took the decision to ignore the difference back: it is reported again."""

    TOPIC = "ledger.finding.ignore_taken_back"
    finding_id: str
    actor: str
    reason: str

    def apply(self, aggregate: "Finding") -> None:
        aggregate.ignored = False


class Finding(Stream, topic=TOPIC, opening=Noted):
    """One difference about which a person has decided."""

    def __init__(self) -> None:
        self.finding_id = ""
        self.ignored = False

    @classmethod
    def note(cls, difference: Difference, now: datetime) -> "Finding":
        """Open the stream of a finding that has no decision yet."""
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
        """Ignore the finding. Returns whether that is new."""
        if self.ignored:
            return False
        self.record(
            Ignored(**self.next(now), finding_id=self.finding_id, actor=by.actor, reason=by.reason)
        )
        return True

    def unignore(self, by: DecidedBy, now: datetime) -> bool:
        """Report the finding again. Returns whether it was ignored."""
        if not self.ignored:
            return False
        self.record(
            IgnoreTakenBack(
                **self.next(now), finding_id=self.finding_id, actor=by.actor, reason=by.reason
            )
        )
        return True

    def adopt(self, by: DecidedBy, now: datetime) -> None:
        """Record the adoption. The caller records the object at Stripe in the same transaction."""
        self.record(
            Adopted(**self.next(now), finding_id=self.finding_id, actor=by.actor, reason=by.reason)
        )


AnyFindingFact = Noted | Ignored | Adopted | IgnoreTakenBack
