"""Outlooks of things other than transfers, from the row that a search has found."""

from domain.refund.state import RefundStatus
from infrastructure.postgres.read_side.search import SearchHit
from projections.outlook import NOTHING, Outlook
from projections.sentences.text import clause

BY_ITSELF = "Nothing happens by itself."
_REFUNDS = {
    RefundStatus.REQUESTED: ("The PSP does not know it yet.", "A worker requests it at the PSP."),
    RefundStatus.SUBMITTED: ("The PSP has not decided about it.", "A worker asks the PSP again."),
    RefundStatus.REVIEW: (
        "A person has to decide about it.",
        "A webhook, a worker or `decide` brings the decision.",
    ),
    RefundStatus.FAILED: ("It has failed.", "The sellers bear nothing of it."),
    RefundStatus.SUCCEEDED: (
        "The buyer has the money.",
        "The transfers below tell about the sellers' shares.",
    ),
}
_ORDERS = {
    "open": ("The order is not paid.", "Its payment creates the transfers."),
    "paid": ("The order is paid.", "The transfers below tell about the sellers' shares."),
}


def outlook_of(hit: SearchHit) -> Outlook:
    """Tell the outlook of an order, refund, webhook, seller, dispute, payout or finding."""
    match hit.kind:
        case "order":
            return Outlook(*_ORDERS[hit.status or "open"], NOTHING)
        case "refund":
            return _of_refund(hit)
        case "webhook":
            return _of_webhook(hit)
        case "seller":
            now = "The transfers below tell what is open."
            return Outlook(now, "Each transfer has a next step of its own.", NOTHING)
    reason = f"; the reason is: {clause(hit.last_error)}" if hit.last_error else ""
    state = f"is {hit.status}" if hit.status else "is recorded"
    then = "The transfers of its order tell." if hit.order_id else BY_ITSELF
    return Outlook(f"The {hit.kind} {state}{reason}.", then, NOTHING)


def _of_refund(hit: SearchHit) -> Outlook:
    status = RefundStatus(hit.status or RefundStatus.REQUESTED)
    to_do = NOTHING
    if status is RefundStatus.REVIEW:
        to_do = "Decide at the PSP; or `decide` here, if the alarm says that it was set aside."
    return Outlook(*_REFUNDS[status], to_do)


def _of_webhook(hit: SearchHit) -> Outlook:
    why = f": {clause(hit.last_error)}" if hit.last_error else ""
    match hit.status:
        case "stored":
            return Outlook("It waits for a process.", "`serve` or `worker` handles it.", NOTHING)
        case "parked":
            return Outlook(
                f"It waits for {hit.waiting_for}{why}.",
                f"It is handled as soon as {hit.waiting_for} is known here.",
                f"Register it, or `inbox discard {hit.id}`.",
            )
        case "dead":
            fix = f"Correct the fault, then `inbox replay {hit.id}`."
            return Outlook(f"Handling it has failed{why}.", BY_ITSELF, fix)
        case "ignored":
            return Outlook(f"The ledger has ignored it{why}.", BY_ITSELF, NOTHING)
        case "discarded":
            return Outlook(f"It was {clause(hit.last_error or 'discarded')}.", BY_ITSELF, NOTHING)
    return Outlook("It was handled.", BY_ITSELF, NOTHING)
