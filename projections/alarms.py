"""Which facts a person has to look at. Alarms are rows, raised and cleared in the transaction of the facts that mean them."""

from datetime import datetime
from typing import NamedTuple

from domain import order, refund, transfer_facts
from domain.fact import Fact


class AlarmRow(NamedTuple):
    """A row of `alarms`: one per thing, however often it is noticed."""

    kind: str
    subject: str
    detail: str
    raised_at: datetime
    cleared_at: datetime | None


RAISED_BY_FACTS = frozenset({
    "permanently_failed", "evidence_held", "drift", "stripe_refuses_the_key", "stripe_answer_not_understood",
    "awaiting_funds", "on_hold", "refund_set_aside", "refund_failed_after_success",
})  # fmt: skip
"""The kinds that `alarm` knows; rows of any other kind are raised by something that is no fact."""


_MAY_ALARM = frozenset({
    transfer_facts.PermanentlyFailed, transfer_facts.EvidenceHeld, transfer_facts.Reopened, transfer_facts.PartiallyReversed,
    transfer_facts.Reversed, transfer_facts.AttemptDeferred, transfer_facts.Failed, order.RefundSetAside, refund.Failed,
})  # fmt: skip


def alarm(fact: Fact) -> AlarmRow | None:
    """The alarm that a fact raises or clears."""
    if type(fact) not in _MAY_ALARM:
        return None  # most facts, and a rebuild asks a million times
    match fact:
        case transfer_facts.PermanentlyFailed():
            return _raised("permanently_failed", fact, f"{fact.reason}: {fact.detail}")
        case transfer_facts.EvidenceHeld():
            return _raised("evidence_held", fact, fact.detail)
        case transfer_facts.Reopened():
            return _raised("permanently_failed", fact, f"reopened by {fact.actor}")._replace(cleared_at=fact.timestamp)
        case transfer_facts.PartiallyReversed() | transfer_facts.Reversed() if fact.drift:
            return _raised("drift", fact, f"{fact.drift:+d} minor units against what was asked. {fact.note or ''}".rstrip())
        case transfer_facts.AttemptDeferred() if fact.why in ("unauthorized", "forbidden"):
            return _raised("stripe_refuses_the_key", fact, fact.detail)
        case transfer_facts.AttemptDeferred() if fact.detail.startswith(("idempotency_error:", "disagrees:", "bug:")):
            return _raised("stripe_answer_not_understood", fact, fact.detail)
        case transfer_facts.AttemptDeferred() if fact.why == "awaiting_funds":
            return _raised("awaiting_funds", fact, fact.detail)
        case transfer_facts.Failed() if fact.reason in ("awaiting_funds", "on_hold"):
            return _raised(fact.reason, fact, fact.detail)
        case order.RefundSetAside():
            return _raised("refund_set_aside", fact, f"Refund {fact.refund_id!r} cannot be divided: {fact.why}.")
        case refund.Failed() if fact.after_success:
            return _raised("refund_failed_after_success", fact, fact.detail or "The payment provider took its word back.")
        case _:
            return None


def _raised(kind: str, fact: Fact, detail: str) -> AlarmRow:
    assert kind in RAISED_BY_FACTS, f"add {kind!r} to RAISED_BY_FACTS, or verify will not miss such alarms"
    return AlarmRow(kind, str(fact.originator_id), detail, fact.timestamp, None)
