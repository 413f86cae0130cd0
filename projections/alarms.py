"""The read model `alarms`: facts that need an operator's attention.

Alarms are rows, raised and cleared in the transaction of the facts that cause them.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain import dispute, pause
from domain.fact import Fact
from domain.order import facts as order_facts
from domain.provider_call.operation import TRANSFER
from domain.provider_call.reasons import KEY_REFUSED, DeferralReason, FailureReason, WaitingFor
from domain.refund import facts as refund_facts
from domain.seller_transfer import facts as transfer_facts
from projections.sentences.pause import named
from projections.sentences.text import cause, money

HINDERED_TOO_LONG = timedelta(hours=1)
"""Time for which Stripe or the PSP may refuse to begin a call (rate limits, locks, an idempotency
key in use) before an alarm."""
NOT_UNDERSTOOD = ("idempotency_error:", "disagrees:", "bug:")
"""Prefixes of the detail of an answer that the ledger cannot interpret."""


class AlarmKind(StrEnum):
    """Kind of an alarm that facts raise. Other code raises alarms of further kinds."""

    PERMANENTLY_FAILED = "permanently_failed"
    EVIDENCE_HELD = "evidence_held"
    """An object at Stripe does not match the operation that it names."""
    REFUND_MISSING = "refund_missing"
    """After a restore, Stripe shows an amount as taken for a refund that is not recorded here."""
    DRIFT = "drift"
    """A reversal took another amount than was requested."""
    AWAITING_FUNDS = "awaiting_funds"
    ON_HOLD = "on_hold"
    """The seller's account cannot receive transfers."""
    HELD_BACK = "held_back"
    """The payment of the order is reported as failed after it succeeded."""
    IMPORTED_UNCLEAR = "imported_unclear"
    HINDERED = "hindered"
    STRIPE_REFUSES_THE_KEY = "stripe_refuses_the_key"
    STRIPE_ANSWER_NOT_UNDERSTOOD = "stripe_answer_not_understood"
    PSP_REFUSES_THE_KEY = "psp_refuses_the_key"
    REFUND_NOT_UNDERSTOOD = "refund_not_understood"
    REFUND_HINDERED = "refund_hindered"
    REFUND_SET_ASIDE = "refund_set_aside"
    REFUND_FAILED_AFTER_SUCCESS = "refund_failed_after_success"
    DISPUTE_OPEN = "dispute_open"
    DISPUTE_SET_ASIDE = "dispute_set_aside"
    PAYMENT_FAILED_AFTER_PAID = "payment_failed_after_paid"
    PAUSED = "paused"
    """An operator or a Stripe event has paused work."""
    SENDING_STOPPED = "sending_stopped"
    """The ledger has paused work itself."""


_A = AlarmKind

PASSING = (
    _A.AWAITING_FUNDS, _A.ON_HOLD, _A.HELD_BACK, _A.HINDERED, _A.STRIPE_REFUSES_THE_KEY,
    _A.STRIPE_ANSWER_NOT_UNDERSTOOD,
    _A.IMPORTED_UNCLEAR,
)  # fmt: skip
"""Kinds that any end of the operation clears. A retry by an operator clears HELD_BACK and
IMPORTED_UNCLEAR too."""
PASSING_OF_REFUNDS = (_A.PSP_REFUSES_THE_KEY, _A.REFUND_NOT_UNDERSTOOD, _A.REFUND_HINDERED)
"""Kinds that are cleared as soon as the PSP has accepted or decided the refund."""


class AlarmRow(NamedTuple):
    """A row of `alarms`: one for each kind and subject, however often it is raised."""

    kind: str
    subject: str
    detail: str
    raised_at: datetime
    cleared_at: datetime | None


RAISED_BY_FACTS = frozenset(kind.value for kind in AlarmKind)
"""Kinds that facts raise. Other code raises the rows of any other kind."""

_CONCERNED = frozenset({
    transfer_facts.PermanentlyFailed, transfer_facts.EvidenceHeld, transfer_facts.Reopened,
    transfer_facts.Resolved,
    transfer_facts.PartiallyReversed, transfer_facts.Reversed, transfer_facts.AttemptDeferred,
    transfer_facts.Failed,
    transfer_facts.Completed, transfer_facts.Cancelled, transfer_facts.AmountReduced,
    transfer_facts.ReversalQueued, transfer_facts.ReversalRequested,
    transfer_facts.MissingCauseReported,
    transfer_facts.Imported, transfer_facts.HeldBack, transfer_facts.RetryRequested,
    order_facts.PaymentDoubted,
    order_facts.RefundSetAside, refund_facts.Submitted, refund_facts.Succeeded,
    refund_facts.Failed, refund_facts.UnderReview,
    refund_facts.AttemptDeferred,
    order_facts.DisputeSetAside, dispute.Opened, dispute.Closed, dispute.Lost,
    dispute.FundsReinstated, dispute.Won,
    pause.Paused, pause.Resumed,
})  # fmt: skip


def alarms(facts: Iterable[Fact], *, troubled: bool) -> Iterator[AlarmRow]:
    """Yield the alarms that facts of one stream raise and clear, in their order. A cleared alarm
    has `cleared_at`.

    `troubled`: whether a passing alarm may be open before these facts. If not, nothing has to be
    cleared.
    """
    for fact in facts:
        if type(fact) not in _CONCERNED:
            continue  # true of most facts, and a rebuild calls this for each of a million
        if (raised := _raises(fact)) is not None:
            yield raised
        for kind in _ends(fact, troubled):
            yield _cleared(kind, fact)
        troubled = still_troubled(troubled, fact)


def alarm_changes(facts: Sequence[Fact], *, troubled: bool) -> list[AlarmRow]:
    """Return the rows that an append of these facts writes: an alarm that is cleared and raised
    again is only raised.

    The database raises first and clears then, so that both rows together would clear it.
    """
    changes = list(alarms(facts, troubled=troubled))
    last = {row.kind: row for row in changes}
    return [
        row for row in changes if row.cleared_at is None or last[row.kind].cleared_at is not None
    ]


def latest_alarms(facts: Iterable[Fact]) -> list[AlarmRow]:
    """Return the alarms of a whole stream: one row for each kind. A cleared alarm keeps the detail
    with which it was raised."""
    known: dict[str, AlarmRow] = {}
    for row in alarms(facts, troubled=False):
        before = known.get(row.kind)
        if row.cleared_at is None:
            known[row.kind] = row
        elif before is not None and before.cleared_at is None:
            known[row.kind] = before._replace(cleared_at=row.cleared_at)
    return list(known.values())


def still_troubled(before: bool, fact: Fact) -> bool:
    """Return whether a passing alarm may be open after this fact."""
    if type(fact) not in _CONCERNED:
        return before
    if (raised := _raises(fact)) is not None and raised.kind in (*PASSING, *PASSING_OF_REFUNDS):
        return True
    return before and _ends(fact, True) not in (PASSING, PASSING_OF_REFUNDS)


def _raises(fact: Fact) -> AlarmRow | None:
    match fact:
        case transfer_facts.Imported() if fact.uncleared:
            detail = (
                f"The transfer was imported as {fact.status}, and the older system may have paid "
                "it. "
                "`retry` looks it up at Stripe first; `resolve` records the transfer that exists "
                "there."
            )
            return _raised(_A.IMPORTED_UNCLEAR, fact, detail)
        case transfer_facts.PermanentlyFailed():
            return _raised(_A.PERMANENTLY_FAILED, fact, f"{fact.reason}: {fact.detail}")
        case transfer_facts.EvidenceHeld():
            return _raised(_A.EVIDENCE_HELD, fact, fact.detail)
        case transfer_facts.PartiallyReversed() | transfer_facts.Reversed() if fact.drift:
            detail = (
                f"The reversal took {money(abs(fact.drift), None)} "
                f"{'more' if fact.drift > 0 else 'less'} than requested."
            )
            return _raised(_A.DRIFT, fact, f"{detail} {fact.note or ''}".rstrip())
        case transfer_facts.ReversalQueued(waiting_for=WaitingFor.OPERATOR):
            detail = (
                f"A reversal of {money(fact.amount, None)} for {cause(fact.refund_id)} waits for "
                "an operator."
            )
            return _raised(_A.PERMANENTLY_FAILED, fact, detail)
        case transfer_facts.ReversalRequested(missing=True):
            detail = (
                f"Stripe holds a reversal of {money(fact.amount, None)} for "
                f"{cause(fact.refund_id)}, which is not recorded here. Report it again."
            )
            return _raised(_A.REFUND_MISSING, fact, detail)
        case transfer_facts.AmountReduced(refund_id=""):
            detail = (
                f"Stripe shows {money(fact.by, None)} less than was to be sent, for refunds that "
                "are not recorded here. Report the refunds of the order again."
            )
            return _raised(_A.REFUND_MISSING, fact, detail)
        case transfer_facts.AttemptDeferred():
            return _transfer_deferred(fact)
        case transfer_facts.Failed() if fact.reason in (
            FailureReason.AWAITING_FUNDS,
            FailureReason.ON_HOLD,
        ):
            return _raised(AlarmKind(fact.reason), fact, fact.detail)
        case transfer_facts.HeldBack():
            return _raised(
                _A.HELD_BACK,
                fact,
                f"{fact.why}. Nothing is sent before the transfer is retried or resolved.",
            )
        case order_facts.PaymentDoubted():
            detail = f"{fact.detail}. Transfers held back: {fact.held}; paid already: {fact.sent}."
            return _raised(_A.PAYMENT_FAILED_AFTER_PAID, fact, detail)
        case order_facts.RefundSetAside():
            detail = f"Refund {fact.refund_id!r} cannot be divided among the sellers: {fact.why}."
            return _raised(_A.REFUND_SET_ASIDE, fact, detail)
        case refund_facts.AttemptDeferred():
            return _refund_deferred(fact)
        case order_facts.DisputeSetAside():
            detail = f"Dispute {fact.dispute_id!r} cannot be divided among the sellers: {fact.why}."
            return _raised(_A.DISPUTE_SET_ASIDE, fact, detail)
        case dispute.Opened():
            detail = (
                f"Answer dispute {fact.dispute_id!r} of order {fact.order_id!r} over "
                f"{fact.amount} {fact.currency} (minor units) "
                f"at {fact.provider}."
            )
            return _raised(_A.DISPUTE_OPEN, fact, detail)
        case refund_facts.Failed() if fact.after_success:
            return _raised(
                _A.REFUND_FAILED_AFTER_SUCCESS,
                fact,
                fact.detail or "The provider reported success before.",
            )
        case pause.Paused():
            kind = _A.SENDING_STOPPED if fact.actor == pause.LEDGER else _A.PAUSED
            return _raised(kind, fact, f"{fact.actor} paused {named(fact.scope)}: {fact.reason}")
        case _:
            return None


def _transfer_deferred(fact: transfer_facts.AttemptDeferred) -> AlarmRow | None:
    if fact.why in KEY_REFUSED:
        return _raised(_A.STRIPE_REFUSES_THE_KEY, fact, fact.detail)
    if fact.detail.startswith(NOT_UNDERSTOOD):
        return _raised(_A.STRIPE_ANSWER_NOT_UNDERSTOOD, fact, fact.detail)
    if fact.why == DeferralReason.AWAITING_FUNDS:
        return _raised(_A.AWAITING_FUNDS, fact, fact.detail)
    if since := _hindered_since(fact):
        return _raised(
            _A.HINDERED, fact, f"Stripe has refused to begin the call since {since} ({fact.why})."
        )
    return None


def _refund_deferred(fact: refund_facts.AttemptDeferred) -> AlarmRow | None:
    if fact.why in KEY_REFUSED:
        return _raised(_A.PSP_REFUSES_THE_KEY, fact, fact.detail)
    if fact.why in (DeferralReason.UNKNOWN_THERE, DeferralReason.HELD) or fact.detail.startswith(
        NOT_UNDERSTOOD
    ):
        return _raised(_A.REFUND_NOT_UNDERSTOOD, fact, fact.detail)
    if since := _hindered_since(fact):
        detail = f"The payment provider has refused to begin the refund since {since} ({fact.why})."
        return _raised(_A.REFUND_HINDERED, fact, detail)
    return None


def _hindered_since(
    fact: transfer_facts.AttemptDeferred | refund_facts.AttemptDeferred,
) -> str | None:
    since = fact.hindered_since
    too_long = since is not None and fact.timestamp - since >= HINDERED_TOO_LONG
    return f"{since:%Y-%m-%d %H:%M} UTC" if too_long else None


def _ends(fact: Fact, troubled: bool) -> tuple[AlarmKind, ...]:
    match fact:
        case (
            transfer_facts.Completed()
            | transfer_facts.PartiallyReversed()
            | transfer_facts.Reversed()
        ):
            return PASSING if troubled else ()
        case transfer_facts.PermanentlyFailed() | transfer_facts.Cancelled():
            return PASSING if troubled else ()
        case transfer_facts.AttemptDeferred() if (fact.why, fact.what) == (
            DeferralReason.ABSENT,
            TRANSFER,
        ):
            return (_A.EVIDENCE_HELD,)  # the kept object belongs to another transfer
        case transfer_facts.RetryRequested():
            return (_A.IMPORTED_UNCLEAR, _A.HELD_BACK) if troubled else ()
        case transfer_facts.Resolved() if fact.evidence.startswith("tr_"):
            return (
                _A.PERMANENTLY_FAILED,
                _A.EVIDENCE_HELD,
            )  # the kept object, or a better one, is recorded
        case transfer_facts.Reopened() | transfer_facts.Resolved():
            return (_A.PERMANENTLY_FAILED,)
        case transfer_facts.MissingCauseReported(left=0):
            return (_A.REFUND_MISSING,)
        case transfer_facts.AmountReduced(amount=0):
            return (
                _A.PERMANENTLY_FAILED,
            )  # the transfer was given up (else it would be cancelled), and now nothing is due
        case (
            refund_facts.Submitted()
            | refund_facts.Succeeded()
            | refund_facts.Failed()
            | refund_facts.UnderReview()
        ):
            return PASSING_OF_REFUNDS if troubled else ()
        case dispute.Closed() | dispute.Lost() | dispute.FundsReinstated() | dispute.Won():
            return (_A.DISPUTE_OPEN,)
        case pause.Resumed():
            return (_A.PAUSED, _A.SENDING_STOPPED)
        case _:
            return ()


def _raised(kind: AlarmKind, fact: Fact, detail: str) -> AlarmRow:
    return AlarmRow(kind.value, str(fact.originator_id), detail, fact.timestamp, None)


def _cleared(kind: AlarmKind, fact: Fact) -> AlarmRow:
    return AlarmRow(kind.value, str(fact.originator_id), "", fact.timestamp, fact.timestamp)
