"""The first sentences about a transfer: its state, the next step with its time, and the decision
that a person can make."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from infrastructure.web.console.ledger import Json
from infrastructure.web.console.texts import ago, moment, money, span, utc

OPEN_REVERSALS = ("queued", "requested", "failed")
IN_CALL = "CallStarted"


class Outlook(NamedTuple):
    """The state of a transfer for a person. `tone` is `bad`, `waits`, `moves` or `good`."""

    tone: str
    title: str
    lines: Sequence[str]


class Transfer:
    """A transfer of the API, with the words that several sentences need."""

    def __init__(
        self, shown: Json, history: Sequence[Json], now: datetime, deadline: timedelta
    ) -> None:
        self.shown, self.history, self.now, self._deadline = shown, history, now, deadline

    def money(self, amount: int) -> str:
        return money(amount, self.shown["currency"])

    @property
    def amount(self) -> str:
        return self.money(self.shown["amount"])

    @property
    def owed(self) -> int:
        """Amount of the reversals that are still open."""
        return sum(
            one["amount"] for one in self.shown["reversals"] if one["status"] in OPEN_REVERSALS
        )

    @property
    def next_time(self) -> str:
        due = self.shown["next_retry_at"]
        if due is None:
            return "at no set time"
        if moment(due) <= self.now:
            return "now"
        return f"at {utc(due)} UTC ({ago(due, self.now)})"

    @property
    def in_call(self) -> bool:
        """True if a call has no outcome yet."""
        return bool(self.history) and self.history[-1]["fact"] == IN_CALL

    @property
    def given_up(self) -> str:
        """When the ledger stops to wait for funds; empty if that is not known."""
        since = next(
            (
                one["payload"]["awaiting_since"]
                for one in reversed(self.history)
                if one["payload"].get("awaiting_since")
            ),
            None,
        )
        if since is None:
            return ""
        end = moment(since) + self._deadline
        return f" The ledger gives up at {utc(end)} UTC ({ago(end, self.now)})."

    @property
    def tried(self) -> str:
        calls = sum(one["fact"] == IN_CALL for one in self.history)
        if calls < 2:
            return ""
        since = span((self.now - moment(self.shown["created_at"])).total_seconds())
        return f" The ledger has made {calls} calls to Stripe in {since}."


def outlook(transfer: Transfer, pauses: Sequence[Json]) -> Outlook:
    """Describe the state and the next step of a transfer."""
    status = transfer.shown["status"]
    seen = _OF_STATUS[status](transfer)
    work = "reversing" if status == "reversal_pending" else "transferring"
    seller = transfer.shown["seller_id"]
    stopped = [pause for pause in pauses if stops(pause["scope"], seller, work)]
    if stopped and seen.tone in ("moves", "waits"):
        pause = stopped[0]
        why = f"{pause['actor']} has paused {pause['scope']}: {pause['reason']}."
        return Outlook("waits", f"Paused. {seen.title}", [why, *seen.lines])
    return seen


def stops(scope: str, seller: str, work: str) -> bool:
    """Return whether a pause of this scope stops this work for a seller."""
    return scope in ("everything", f"work:{work}", f"seller:{seller}", f"{work}:{seller}")


def _unsent(transfer: Transfer) -> Outlook:
    shown = transfer.shown
    seller, amount = shown["seller_id"], transfer.amount
    title = f"{amount} are not paid to {seller} yet."
    if transfer.in_call:
        return Outlook("moves", title, ["A call to Stripe is open; its outcome follows."])
    waits = _SENDING_WAITS.get(shown["waiting_for"] or "")
    if waits is not None:
        line = waits.format(
            seller=seller, amount=amount, account=shown["destination"], when=transfer.next_time
        )
        return Outlook("waits", title, [line + transfer.tried])
    refused = f" Stripe said: {shown['last_error']}" if shown["last_error"] else ""
    line = f"The ledger sends the transfer {transfer.next_time}.{transfer.tried}{refused}"
    return Outlook("waits" if refused else "moves", title, [line])


_SENDING_WAITS: Mapping[str, str] = {
    "funds": "The platform's balance at Stripe is too low to send {amount}. The ledger tries again "
    "{when}. Add funds to the platform's balance; a retry tries at once.",
    "account": "The account {account} of {seller} cannot receive transfers. Let {seller} complete "
    "the account at Stripe, then retry.",
    "operator": "Nothing is sent until a person retries the transfer, or resolves it.",
    "payment": "The payment of the order was reported as failed after it had succeeded. Check the "
    "payment at the payment provider; then retry to send the money, or resolve.",
    "charge": "The ledger waits for the charge of the payment, and reads it at Stripe again. A "
    "retry sends {amount} from the platform's balance at once.",
}


def _taken_back(transfer: Transfer) -> Outlook:
    shown, owed = transfer.shown, transfer.money(transfer.owed)
    seller, when = shown["seller_id"], transfer.next_time
    title = f"{owed} are to come back from {seller}."
    if transfer.in_call:
        return Outlook("moves", title, ["A call to Stripe is open; its outcome follows."])
    match shown["waiting_for"]:
        case "funds":
            line = (
                f"The balance of {seller} at Stripe is too low. The ledger tries again "
                f"{when}.{transfer.given_up}{transfer.tried} Ask {seller} to top up "
                "the balance; a retry tries at once."
            )
            return Outlook("waits", title, [line])
        case "stripe":
            line = f"Stripe has not decided about the reversal. The ledger looks again {when}."
            return Outlook("waits", title, [line])
    refused = f" Stripe said: {shown['last_error']}" if shown["last_error"] else ""
    line = f"The ledger sends the reversal {transfer.next_time}.{transfer.tried}{refused}"
    return Outlook("waits" if refused else "moves", title, [line])


def _given_up(transfer: Transfer) -> Outlook:
    shown, seller = transfer.shown, transfer.shown["seller_id"]
    owed = transfer.owed
    if owed:
        title = f"{transfer.money(owed)} did not come back from {seller}, and the ledger stopped."
    elif shown["stripe_transfer_id"]:
        title = f"The transfer of {transfer.amount} to {seller} needs a decision."
    else:
        title = f"{transfer.amount} were not paid to {seller}, and the ledger stopped."
    why = f"The reason: {shown['last_error']}." if shown["last_error"] else ""
    decide = (
        "Retry when the cause is gone: the ledger looks at Stripe first. Resolve when the money "
        "was settled elsewhere, or is written off."
    )
    return Outlook("bad", title, [line for line in (why, decide) if line])


def _paid(transfer: Transfer) -> Outlook:
    seller = transfer.shown["seller_id"]
    return Outlook("good", f"{seller} has received {transfer.amount}.", ["Nothing is due."])


def _partly(transfer: Transfer) -> Outlook:
    shown = transfer.shown
    back = transfer.money(shown["amount_reversed"])
    left = transfer.money(shown["amount"] - shown["amount_reversed"])
    title = f"{back} of {transfer.amount} came back from {shown['seller_id']}."
    return Outlook("good", title, [f"{left} stay with the seller. Nothing is due."])


def _reversed(transfer: Transfer) -> Outlook:
    title = f"All {transfer.amount} came back from {transfer.shown['seller_id']}."
    return Outlook("good", title, ["Nothing is due."])


def _cancelled(transfer: Transfer) -> Outlook:
    title = f"Nothing is sent to {transfer.shown['seller_id']}."
    return Outlook("good", title, ["Refunds took the whole amount before it was sent."])


_OF_STATUS = {
    "pending": _unsent,
    "failed": _unsent,
    "completed": _paid,
    "reversal_pending": _taken_back,
    "partially_reversed": _partly,
    "reversed": _reversed,
    "permanently_failed": _given_up,
    "cancelled": _cancelled,
}
