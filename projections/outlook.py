"""Outlook of a transfer: the event that it waits for, its next step, and the act of a person that
may help."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from domain.lifecycle import FINAL, TransferStatus
from domain.pause import EVERYTHING, scope_of_seller, scope_of_work
from domain.provider_call.reasons import WaitingFor
from projections.seller_transfers import SellerTransferRow
from projections.sentences.text import at, clause

SENDING, REVERSING = "transferring", "reversing"
_UNSENT = (TransferStatus.PENDING, TransferStatus.FAILED)
_WAITS = {
    WaitingFor.TRANSFER: "It waits for the outcome of the transfer itself.",
    WaitingFor.REVERSAL: "It waits for the reversal before it.",
    WaitingFor.OPERATOR: "It waits for a person.",
    WaitingFor.STRIPE: "Stripe has accepted the reversal, and has not decided about it.",
    WaitingFor.CHARGE: "It waits for the charge of its order, which is read at Stripe.",
    WaitingFor.ACCOUNT: "The seller's account at Stripe cannot receive transfers now.",
    "payment": "The payment of its order is in doubt.",
}
_TO_DO = {
    WaitingFor.OPERATOR: "Read the history, then `retry` or `resolve` it.",
    WaitingFor.ACCOUNT: "Ask the seller to complete the account at Stripe.",
    "payment": "Find out if the payment arrived: then `retry` it, or else `resolve` it.",
}
NOTHING = "Nothing."


class Outlook(NamedTuple):
    """Three sentences about the future of a transfer."""

    waits_for: str
    next: str
    to_do: str


def outlook(
    row: SellerTransferRow, now: datetime, paused: Collection[str], *, outage: bool
) -> Outlook:
    """Tell the outlook of a transfer. `paused`: the scopes that are paused; `outage`: Stripe does
    not answer, so nothing is sent."""
    if row.status == TransferStatus.PERMANENTLY_FAILED:
        why = f": {clause(row.last_error)}" if row.last_error else ""
        return Outlook(
            f"The ledger has given it up{why}.",
            "Nothing happens by itself.",
            "Read the reason, correct the cause, then `retry` it; or `resolve` it.",
        )
    if row.status in FINAL or row.status not in (*_UNSENT, TransferStatus.REVERSAL_PENDING):
        return Outlook("It waits for nothing.", "Nothing is due.", NOTHING)
    to_do = _TO_DO.get(row.waiting_for or "", NOTHING)
    if row.waiting_for == WaitingFor.FUNDS:
        owner = "platform's" if row.status in _UNSENT else "seller's"
        to_do = f"Have the {owner} balance at Stripe topped up; `retry` then tries at once."
    return Outlook(_waits_for(row), _next(row, now, paused, outage), to_do)


def _waits_for(row: SellerTransferRow) -> str:
    if row.waiting_for == WaitingFor.FUNDS:
        owner = "platform's" if row.status in _UNSENT else "seller's"
        return f"The {owner} balance at Stripe is too low."
    if row.waiting_for is not None:
        return _WAITS.get(row.waiting_for, f"It waits for {row.waiting_for}.")
    if row.last_error:
        return f"It waits for its next attempt: {clause(row.last_error)}."
    return "It waits for a worker."


def _next(row: SellerTransferRow, now: datetime, paused: Collection[str], outage: bool) -> str:
    work = SENDING if row.status in _UNSENT else REVERSING
    act = "pay the seller" if work == SENDING else "take the money back"
    scopes = (
        EVERYTHING,
        scope_of_work(work),
        scope_of_seller(row.seller_id),
        f"{work}:{row.seller_id}",
    )
    stops = [scope for scope in scopes if scope in paused]
    if stops:
        return f"Nothing is sent while {' and '.join(stops)} is paused; `resume` ends the pause."
    if row.next_retry_at is None:
        return "Nothing happens by itself until then."
    if outage:
        return f"Stripe does not answer; after the outage a worker tries to {act}."
    if row.next_retry_at <= now:
        return f"A running worker tries to {act} now."
    return f"A worker tries to {act} at {at(row.next_retry_at)}."
