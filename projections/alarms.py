"""Which facts a person has to look at. Alarms are rows, raised and cleared in the transaction of the facts that mean them."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from domain import dispute, pause
from domain.fact import Fact
from domain.order import facts as order_facts
from domain.provider_call.operation import TRANSFER
from domain.provider_call.reasons import KEY_REFUSED, DeferralReason, FailureReason, WaitingFor
from domain.refund import facts as refund_facts
from domain.seller_transfer import facts as transfer_facts

HINDERED_TOO_LONG = timedelta(hours=1)
"""For so long Stripe may refuse to begin (limits, locks, a key in use) before somebody should know."""
NOT_UNDERSTOOD = ("idempotency_error:", "disagrees:", "bug:")
UNCLEAR, HELD_BACK = "imported_unclear", "held_back"
PASSING = (
    "awaiting_funds", "on_hold", HELD_BACK, "hindered", "stripe_refuses_the_key", "stripe_answer_not_understood", UNCLEAR,
)  # fmt: skip
"""Kinds that are over as soon as the operation has an end, good or bad; what is held back, when a person retries it as well."""
OF_REFUNDS = ("psp_refuses_the_key", "refund_not_understood", "refund_hindered")
"""Kinds that are over as soon as the PSP has taken the refund in, or decided."""
BY_PEOPLE, BY_LEDGER = "paused", "sending_stopped"
DISPUTE_OPEN = "dispute_open"


class AlarmRow(NamedTuple):
    """A row of `alarms`: one per thing, however often it is noticed."""

    kind: str
    subject: str
    detail: str
    raised_at: datetime
    cleared_at: datetime | None


RAISED_BY_FACTS = frozenset({
    *PASSING, *OF_REFUNDS, BY_PEOPLE, BY_LEDGER, DISPUTE_OPEN, "permanently_failed", "evidence_held", "drift",
    "refund_set_aside", "dispute_set_aside", "refund_failed_after_success", "payment_failed_after_paid",
})  # fmt: skip
"""The kinds that facts raise; rows of any other kind are raised by something that is no fact."""

_CONCERNED = frozenset({
    transfer_facts.PermanentlyFailed, transfer_facts.EvidenceHeld, transfer_facts.Reopened, transfer_facts.Resolved,
    transfer_facts.PartiallyReversed, transfer_facts.Reversed, transfer_facts.AttemptDeferred, transfer_facts.Failed,
    transfer_facts.Completed, transfer_facts.Cancelled, transfer_facts.AmountReduced, transfer_facts.ReversalQueued,
    transfer_facts.Imported, transfer_facts.HeldBack, transfer_facts.RetryRequested, order_facts.PaymentDoubted,
    order_facts.RefundSetAside, refund_facts.Submitted, refund_facts.Succeeded, refund_facts.Failed, refund_facts.UnderReview,
    refund_facts.AttemptDeferred,
    order_facts.DisputeSetAside, dispute.Opened, dispute.Closed, dispute.Lost, dispute.FundsReinstated, dispute.Won,
    pause.Paused, pause.Resumed,
})  # fmt: skip


def alarms(facts: Iterable[Fact], *, troubled: bool) -> Iterator[AlarmRow]:
    """The alarms that facts of one stream raise and clear, in their order; a cleared one has `cleared_at`.

    `troubled`: whether a passing alarm may be open before them; where none is, nothing has to be cleared.
    """
    for fact in facts:
        if type(fact) not in _CONCERNED:
            continue  # most facts, and a rebuild asks a million times
        if (raised := _raises(fact)) is not None:
            yield raised
        for kind in _ends(fact, troubled):
            yield _cleared(kind, fact)
        troubled = still_troubled(troubled, fact)


def still_troubled(before: bool, fact: Fact) -> bool:
    """Whether a passing alarm may be open after this fact."""
    if type(fact) not in _CONCERNED:
        return before
    if (raised := _raises(fact)) is not None and raised.kind in (*PASSING, *OF_REFUNDS):
        return True
    return before and _ends(fact, True) not in (PASSING, OF_REFUNDS)


def _raises(fact: Fact) -> AlarmRow | None:
    match fact:
        case transfer_facts.Imported() if fact.uncleared:
            detail = f"It was imported as {fact.status}, and the older system may have paid it: `retry` looks, `resolve` ends it."
            return _raised(UNCLEAR, fact, detail)
        case transfer_facts.PermanentlyFailed():
            return _raised("permanently_failed", fact, f"{fact.reason}: {fact.detail}")
        case transfer_facts.EvidenceHeld():
            return _raised("evidence_held", fact, fact.detail)
        case transfer_facts.PartiallyReversed() | transfer_facts.Reversed() if fact.drift:
            return _raised("drift", fact, f"{fact.drift:+d} minor units against what was asked. {fact.note or ''}".rstrip())
        case transfer_facts.ReversalQueued(waiting_for=WaitingFor.OPERATOR):
            detail = f"Refund {fact.refund_id} is owed {fact.amount} of it, and waits for an operator."
            return _raised("permanently_failed", fact, detail)
        case transfer_facts.AttemptDeferred():
            return _hampered(fact)
        case transfer_facts.Failed() if fact.reason in (FailureReason.AWAITING_FUNDS, FailureReason.ON_HOLD):
            return _raised(fact.reason, fact, fact.detail)
        case transfer_facts.HeldBack():
            return _raised(HELD_BACK, fact, f"{fact.why}. Nothing of it is sent before it is retried or resolved.")
        case order_facts.PaymentDoubted():
            detail = f"{fact.detail}. Transfers held back: {fact.held}; paid already: {fact.sent}."
            return _raised("payment_failed_after_paid", fact, detail)
        case order_facts.RefundSetAside():
            return _raised("refund_set_aside", fact, f"Refund {fact.refund_id!r} cannot be divided: {fact.why}.")
        case refund_facts.AttemptDeferred():
            return _refund_hampered(fact)
        case order_facts.DisputeSetAside():
            return _raised("dispute_set_aside", fact, f"Dispute {fact.dispute_id!r} cannot be divided: {fact.why}.")
        case dispute.Opened():
            detail = (
                f"Dispute {fact.dispute_id!r} of order {fact.order_id!r} over {fact.amount} {fact.currency} has to be answered."
            )
            return _raised(DISPUTE_OPEN, fact, detail)
        case refund_facts.Failed() if fact.after_success:
            return _raised("refund_failed_after_success", fact, fact.detail or "The payment provider took its word back.")
        case pause.Paused():
            kind = BY_LEDGER if fact.actor == pause.LEDGER else BY_PEOPLE
            return _raised(kind, fact, f"{fact.scope}, by {fact.actor}: {fact.reason}")
        case _:
            return None


def _hampered(fact: transfer_facts.AttemptDeferred) -> AlarmRow | None:
    if fact.why in KEY_REFUSED:
        return _raised("stripe_refuses_the_key", fact, fact.detail)
    if fact.detail.startswith(NOT_UNDERSTOOD):
        return _raised("stripe_answer_not_understood", fact, fact.detail)
    if fact.why == DeferralReason.AWAITING_FUNDS:
        return _raised("awaiting_funds", fact, fact.detail)
    if fact.hindered_since is not None and fact.timestamp - fact.hindered_since >= HINDERED_TOO_LONG:
        return _raised(
            "hindered", fact, f"Stripe has not begun to execute it since {fact.hindered_since:%H:%M} UTC ({fact.why})."
        )
    return None


def _refund_hampered(fact: refund_facts.AttemptDeferred) -> AlarmRow | None:
    if fact.why in KEY_REFUSED:
        return _raised("psp_refuses_the_key", fact, fact.detail)
    if fact.why in (DeferralReason.UNKNOWN_THERE, DeferralReason.HELD) or fact.detail.startswith(NOT_UNDERSTOOD):
        return _raised("refund_not_understood", fact, fact.detail)
    if fact.hindered_since is not None and fact.timestamp - fact.hindered_since >= HINDERED_TOO_LONG:
        since = f"{fact.hindered_since:%H:%M} UTC ({fact.why})"
        return _raised("refund_hindered", fact, f"The payment provider has not begun it since {since}.")
    return None


def _ends(fact: Fact, troubled: bool) -> tuple[str, ...]:
    match fact:
        case transfer_facts.Completed() | transfer_facts.PartiallyReversed() | transfer_facts.Reversed():
            return PASSING if troubled else ()
        case transfer_facts.PermanentlyFailed() | transfer_facts.Cancelled():
            return PASSING if troubled else ()
        case transfer_facts.AttemptDeferred() if (fact.why, fact.what) == (DeferralReason.ABSENT, TRANSFER):
            return ("evidence_held",)  # what was held for it belongs to another transfer
        case transfer_facts.RetryRequested():
            return (UNCLEAR, HELD_BACK) if troubled else ()
        case transfer_facts.Resolved() if fact.evidence.startswith("tr_"):
            return ("permanently_failed", "evidence_held")  # what was held is taken in, or something better is
        case transfer_facts.Reopened() | transfer_facts.Resolved():
            return ("permanently_failed",)
        case transfer_facts.AmountReduced(amount=0):
            return ("permanently_failed",)  # else it would be cancelled: it was given up, and now nothing is due
        case refund_facts.Submitted() | refund_facts.Succeeded() | refund_facts.Failed() | refund_facts.UnderReview():
            return OF_REFUNDS if troubled else ()
        case dispute.Closed() | dispute.Lost() | dispute.FundsReinstated() | dispute.Won():
            return (DISPUTE_OPEN,)
        case pause.Resumed():
            return (BY_PEOPLE, BY_LEDGER)
        case _:
            return ()


def _raised(kind: str, fact: Fact, detail: str) -> AlarmRow:
    assert kind in RAISED_BY_FACTS, f"add {kind!r} to RAISED_BY_FACTS, or verify will not miss such alarms"
    return AlarmRow(kind, str(fact.originator_id), detail, fact.timestamp, None)


def _cleared(kind: str, fact: Fact) -> AlarmRow:
    return AlarmRow(kind, str(fact.originator_id), "", fact.timestamp, fact.timestamp)
