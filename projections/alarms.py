"""The read model `alarms`: facts that need an operator's attention.

Alarms are rows, raised and cleared in the transaction of the facts that cause them.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from domain import dispute, pause
from domain.fact import Fact
from domain.identity import DISPUTE, dispute_cause
from domain.order import facts as order_facts
from domain.provider_call.operation import TRANSFER
from domain.provider_call.reasons import KEY_REFUSED, DeferralReason, FailureReason, WaitingFor
from domain.refund import facts as refund_facts
from domain.seller_transfer import facts as transfer_facts
from projections.sentences.pause import named
from projections.sentences.text import begin, cause, clause, money

HINDERED_TOO_LONG = timedelta(hours=1)
"""Time for which Stripe or the PSP may refuse to begin a call (rate limits, locks, an idempotency
key in use) before an alarm."""
UNDECIDED_TOO_LONG = timedelta(days=45)
"""Time within which Stripe decides about a pending reversal."""
NOT_UNDERSTOOD = ("idempotency_error:", "disagrees:", "bug:")
"""Prefixes of the detail of an answer that the ledger cannot interpret."""


class AlarmKind(StrEnum):
    """Kind of an alarm that facts raise. Other code raises alarms of further kinds."""

    PERMANENTLY_FAILED = "permanently_failed"
    EVIDENCE_HELD = "evidence_held"
    """An object at Stripe does not match the operation that it names."""
    RESOLUTION_LAPSED = "resolution_lapsed"
    """The cause of a reversal disappeared that a person had closed outside Stripe."""
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
    REVERSAL_UNDECIDED = "reversal_undecided"
    """A reversal has been pending at Stripe for longer than Stripe documents."""
    STRIPE_ANSWER_NOT_UNDERSTOOD = "stripe_answer_not_understood"
    PSP_REFUSES_THE_KEY = "psp_refuses_the_key"
    REFUND_NOT_UNDERSTOOD = "refund_not_understood"
    REFUND_HINDERED = "refund_hindered"
    REFUND_UNDECIDED = "refund_undecided"
    """The PSP leaves a refund pending."""
    REFUND_SET_ASIDE = "refund_set_aside"
    REFUND_FAILED_AFTER_SUCCESS = "refund_failed_after_success"
    DISPUTE_OPEN = "dispute_open"
    DISPUTE_SET_ASIDE = "dispute_set_aside"
    PAYMENT_FAILED_AFTER_PAID = "payment_failed_after_paid"
    CHARGE_NOT_READABLE = "charge_not_readable"
    """The sale of an order does not fund its transfers, since its charge cannot be read."""
    CHARGE_UNREAD = "charge_unread"
    """Stripe has not shown the charge of an order for too long, so its transfers wait."""
    PAUSED = "paused"
    """An operator or a Stripe event has paused work."""
    SENDING_STOPPED = "sending_stopped"
    """The ledger has paused work itself."""


_A = AlarmKind

PASSING = (
    _A.AWAITING_FUNDS, _A.ON_HOLD, _A.HELD_BACK, _A.HINDERED, _A.STRIPE_REFUSES_THE_KEY,
    _A.STRIPE_ANSWER_NOT_UNDERSTOOD,
    _A.IMPORTED_UNCLEAR, _A.REVERSAL_UNDECIDED,
)  # fmt: skip
"""Kinds that any end of the operation clears. A retry by an operator clears HELD_BACK and
IMPORTED_UNCLEAR too."""
PASSING_OF_REFUNDS = (
    _A.PSP_REFUSES_THE_KEY, _A.REFUND_NOT_UNDERSTOOD, _A.REFUND_HINDERED, _A.REFUND_UNDECIDED,
)  # fmt: skip
"""Kinds that are cleared as soon as the PSP has accepted or decided the refund."""


ENDED_BY_SUCCESS = (*PASSING_OF_REFUNDS, _A.REFUND_FAILED_AFTER_SUCCESS)
"""Kinds that are cleared when a refund succeeds, also after it had failed: the buyer has the
money."""


class AlarmRow(NamedTuple):
    """A row of `alarms`: one for each kind and subject, however often it is raised."""

    kind: str
    subject: str
    detail: str
    raised_at: datetime
    """Beginning of the condition: an alarm that is raised again while it is open keeps it."""
    last_seen_at: datetime
    times: int
    """Number of times that the alarm was raised since its beginning."""
    cleared_at: datetime | None


RAISED_BY_FACTS = frozenset(kind.value for kind in AlarmKind)
"""Kinds that facts raise. Other code raises the rows of any other kind."""

_CONCERNED = frozenset({
    transfer_facts.PermanentlyFailed, transfer_facts.EvidenceHeld, transfer_facts.Reopened,
    transfer_facts.Resolved,
    transfer_facts.PartiallyReversed, transfer_facts.Reversed, transfer_facts.AttemptDeferred,
    transfer_facts.Failed,
    transfer_facts.Completed, transfer_facts.Cancelled, transfer_facts.AmountReduced,
    transfer_facts.ReversalQueued, transfer_facts.ResolutionLapsed,
    transfer_facts.ResolutionReinstated, transfer_facts.OwedOutside, transfer_facts.Redirected,
    transfer_facts.ReversalRequested, transfer_facts.MissingCauseReported,
    transfer_facts.ReversalWithdrawn,
    transfer_facts.Imported, transfer_facts.HeldBack, transfer_facts.RetryRequested,
    order_facts.PaymentDoubted,
    order_facts.SetAsideDecided, order_facts.SetAsideEnded,
    order_facts.ChargeReadDeferred, order_facts.ChargeReadRequested, order_facts.ChargeFound,
    order_facts.ChargeNotFound,
    order_facts.RefundSetAside, refund_facts.Submitted, refund_facts.Succeeded,
    refund_facts.Failed, refund_facts.UnderReview,
    refund_facts.AttemptDeferred, refund_facts.RefundAlarmAcknowledged,
    order_facts.OrderAlarmAcknowledged, transfer_facts.TransferAlarmAcknowledged,
    order_facts.DisputeSetAside, dispute.Opened, dispute.EvidenceRequested,
    dispute.Closed, dispute.Lost, dispute.FundsReinstated, dispute.Won,
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


def latest_alarms(facts: Iterable[Fact]) -> list[AlarmRow]:
    """Return the alarms of a whole stream: one row for each kind."""
    known: dict[str, AlarmRow] = {}
    for change in alarms(facts, troubled=False):
        after = alarm_after(known.get(change.kind), change)
        if after is not None:
            known[change.kind] = after
    return list(known.values())


def alarm_after(before: AlarmRow | None, change: AlarmRow) -> AlarmRow | None:
    """Return an alarm after one change. A cleared alarm keeps the detail with which it was
    raised."""
    if before is None or before.cleared_at is not None:
        return change if change.cleared_at is None else before
    if change.cleared_at is not None:
        return before._replace(cleared_at=change.cleared_at)
    seen = max(before.last_seen_at, change.last_seen_at)
    return before._replace(detail=change.detail, last_seen_at=seen, times=before.times + 1)


def still_troubled(before: bool, fact: Fact) -> bool:
    """Return whether a passing alarm may be open after this fact."""
    if type(fact) not in _CONCERNED:
        return before
    if (raised := _raises(fact)) is not None and raised.kind in (*PASSING, *ENDED_BY_SUCCESS):
        return True
    return before and _ends(fact, True) not in (PASSING, ENDED_BY_SUCCESS)


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
        case transfer_facts.ResolutionLapsed():
            return _raised(_A.RESOLUTION_LAPSED, fact, _lapsed(fact))
        case transfer_facts.OwedOutside() if fact.amount:
            return _raised(_A.PERMANENTLY_FAILED, fact, _owed_outside(fact))
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
        case order_facts.ChargeNotFound() if fact.unfunded:
            return _raised(_A.CHARGE_NOT_READABLE, fact, _unfunded(fact))
        case order_facts.ChargeReadDeferred() if _too_long(fact):
            detail = (
                f"The charge of payment {fact.connector_payment!r} could not be read at Stripe "
                f"since {fact.since:%Y-%m-%d %H:%M} UTC, and the order's transfers wait for it: "
                f"{fact.detail} Retry a transfer to send it from the platform's balance."
            )
            return _raised(_A.CHARGE_UNREAD, fact, detail)
        case order_facts.RefundSetAside():
            return _raised(_A.REFUND_SET_ASIDE, fact, _set_aside(fact, fact.refund_id))
        case refund_facts.AttemptDeferred():
            return _refund_deferred(fact)
        case order_facts.DisputeSetAside():
            told = _set_aside(fact, dispute_cause(fact.dispute_id))
            return _raised(_A.DISPUTE_SET_ASIDE, fact, told)
        case order_facts.SetAsideDecided() | order_facts.SetAsideEnded():
            return _still_set_aside(fact)
        case dispute.Opened():
            detail = (
                f"Answer dispute {fact.dispute_id!r} of order {fact.order_id!r} over "
                f"{money(fact.amount, fact.currency)} at {fact.provider}."
            )
            return _raised(_A.DISPUTE_OPEN, fact, detail)
        case dispute.EvidenceRequested():
            detail = (
                f"Answer dispute {fact.dispute_id!r} of order {fact.order_id!r} over "
                f"{money(fact.amount, fact.currency)} at {fact.provider}, until "
                f"{fact.evidence_due_by:%Y-%m-%d %H:%M} UTC."
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


def _set_aside(
    fact: order_facts.RefundSetAside | order_facts.DisputeSetAside, cause_id: str
) -> str:
    name = cause_id.removeprefix(DISPUTE)
    of_order = f" of order {fact.order_id!r}" if fact.order_id is not None else ""
    return (
        f"{begin(cause(cause_id))}{of_order} over {money(fact.amount, fact.currency)} cannot be "
        f"divided among the sellers: {fact.why}. `decide {name}` takes an amount from each seller, "
        "or dismisses it."
    )


def _still_set_aside(
    fact: order_facts.SetAsideDecided | order_facts.SetAsideEnded,
) -> AlarmRow | None:
    """Keep the alarm while other refunds, or other disputes, of the order wait for a decision."""
    kind, same = _waiting_like(fact)
    if not same:
        return None
    names = ", ".join(cause(cause_id) for cause_id in same)
    detail = f"A decision of order {fact.order_id!r} is still needed for {names}: see `decide`."
    return _raised(kind, fact, detail)


def _waiting_like(
    fact: order_facts.SetAsideDecided | order_facts.SetAsideEnded,
) -> tuple[AlarmKind, list[str]]:
    """Return the alarm of a refund or of a dispute, and the others of its kind that wait."""
    dispute_ = fact.cause_id.startswith(DISPUTE)
    kind = _A.DISPUTE_SET_ASIDE if dispute_ else _A.REFUND_SET_ASIDE
    return kind, [name for name in fact.remaining if name.startswith(DISPUTE) == dispute_]


def _lapsed(fact: transfer_facts.ResolutionLapsed) -> str:
    return (
        f"{begin(cause(fact.refund_id))} of order {fact.order_id!r} takes nothing any more, but "
        f"{money(fact.total, fact.currency)} of seller {fact.seller_id!r} were closed outside "
        "Stripe for it: nothing is paid automatically. If the seller had paid, pay the amount back "
        "outside Stripe; then `resolve` the transfer with the record of it."
    )


def _owed_outside(fact: transfer_facts.OwedOutside) -> str:
    return (
        f"Refunds of order {fact.order_id!r} take {money(fact.amount, fact.currency)} from seller "
        f"{fact.seller_id!r}, whose transfer was settled outside Stripe ({clause(fact.settled)}): "
        "collect the amount there, then `resolve` the transfer with the record of it."
    )


def _transfer_deferred(fact: transfer_facts.AttemptDeferred) -> AlarmRow | None:
    if fact.why in KEY_REFUSED:
        return _raised(_A.STRIPE_REFUSES_THE_KEY, fact, fact.detail)
    if fact.detail.startswith(NOT_UNDERSTOOD):
        return _raised(_A.STRIPE_ANSWER_NOT_UNDERSTOOD, fact, fact.detail)
    if fact.why == DeferralReason.AWAITING_FUNDS:
        return _raised(_A.AWAITING_FUNDS, fact, fact.detail)
    undecided = fact.why == DeferralReason.PENDING and fact.awaiting_since
    if undecided and fact.timestamp - undecided >= UNDECIDED_TOO_LONG:
        return _raised(_A.REVERSAL_UNDECIDED, fact, f"{fact.detail} since {undecided:%Y-%m-%d}.")
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
    if fact.undecided_since is not None:
        return _raised(_A.REFUND_UNDECIDED, fact, fact.detail)
    if since := _hindered_since(fact):
        detail = f"The payment provider has refused to begin the refund since {since} ({fact.why})."
        return _raised(_A.REFUND_HINDERED, fact, detail)
    return None


def _unfunded(fact: order_facts.ChargeNotFound) -> str:
    amount = money(fact.amount, fact.currency)
    return (
        f"The charge of payment {fact.connector_payment!r} of order {fact.order_id!r} cannot be "
        f"read at Stripe with our key, so {amount} are paid from the platform's balance: "
        f"{fact.detail.rstrip('.')}. Check the account and the permissions of the key, then run "
        f"`transfer-ledger read-charge {fact.order_id} --actor NAME --reason TEXT`."
    )


def _too_long(fact: order_facts.ChargeReadDeferred) -> bool:
    held = fact.why == DeferralReason.HELD
    return held or fact.timestamp - fact.since >= HINDERED_TOO_LONG


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
        case transfer_facts.ReversalWithdrawn(in_flight=True):
            return PASSING if troubled else ()
        case transfer_facts.AttemptDeferred() if (fact.why, fact.what) == (
            DeferralReason.ABSENT,
            TRANSFER,
        ):
            return (_A.EVIDENCE_HELD,)  # the kept object belongs to another transfer
        case transfer_facts.RetryRequested():
            return (_A.IMPORTED_UNCLEAR, _A.HELD_BACK) if troubled else ()
        case order_facts.SetAsideDecided() | order_facts.SetAsideEnded():
            kind, same = _waiting_like(fact)
            return () if same else (kind,)
        case transfer_facts.Redirected() if fact.due_now:
            return (_A.ON_HOLD,)
        case transfer_facts.ResolutionReinstated():
            return () if fact.total else (_A.RESOLUTION_LAPSED,)
        case transfer_facts.OwedOutside():
            return () if fact.amount else (_A.PERMANENTLY_FAILED,)
        case transfer_facts.Resolved() if fact.reversal_amount is not None:
            return (_A.RESOLUTION_LAPSED,)
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
            transfer_facts.TransferAlarmAcknowledged()
            | order_facts.OrderAlarmAcknowledged()
            | refund_facts.RefundAlarmAcknowledged()
        ):
            return (AlarmKind(fact.kind),)
        case refund_facts.Succeeded():
            return ENDED_BY_SUCCESS if troubled else ()
        case refund_facts.Submitted() | refund_facts.Failed() | refund_facts.UnderReview():
            return PASSING_OF_REFUNDS if troubled else ()
        case order_facts.ChargeReadRequested():
            return (_A.CHARGE_NOT_READABLE,)
        case order_facts.ChargeFound() | order_facts.ChargeNotFound():
            return (_A.CHARGE_UNREAD,)
        case dispute.Closed() | dispute.Lost() | dispute.FundsReinstated() | dispute.Won():
            return (_A.DISPUTE_OPEN,)
        case pause.Resumed():
            return (_A.PAUSED, _A.SENDING_STOPPED)
        case _:
            return ()


def _raised(kind: AlarmKind, fact: Fact, detail: str) -> AlarmRow:
    at = fact.timestamp
    return AlarmRow(kind.value, str(fact.originator_id), detail, at, at, 1, None)


def _cleared(kind: AlarmKind, fact: Fact) -> AlarmRow:
    at = fact.timestamp
    return AlarmRow(kind.value, str(fact.originator_id), "", at, at, 1, at)
