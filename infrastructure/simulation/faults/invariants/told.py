"""State of every stream, folded from the stored facts by the oracle's own rules.

Only the members that carry money, statuses and names are folded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infrastructure.simulation.faults.books import StoredFactView
from infrastructure.simulation.faults.invariants.arithmetic import Claim
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.statuses import is_allowed, status_after

Json = Mapping[str, Any]
SALE = "sale"


@dataclass
class ToldOrder:
    """An order, as its facts tell it."""

    order_id: str
    stream: str
    amount: int
    currency: str
    shares: Mapping[str, Json]
    """Share of each seller: `amount`, `destination`, and a `currency` if it differs."""
    payment_id: str | None
    paid: bool = False
    refunds: dict[str, Claim] = field(default_factory=dict)
    """Refunds in the order in which they became effective, also those that were revoked."""
    disputes: set[str] = field(default_factory=set)
    """Disputes that were ever counted or set aside."""
    decided: dict[str, Json | None] = field(default_factory=dict)
    """Decisions of a person by cause: amounts by seller, or None if it was dismissed."""

    def share(self, seller: str) -> int:
        return int(self.shares[seller]["amount"])


@dataclass
class ToldReversal:
    """A reversal, as the facts of its transfer tell it."""

    cause: str | None
    amount: int
    state: str = "queued"
    settled: int = 0
    stripe_id: str | None = None


@dataclass
class ToldTransfer:
    """A transfer, as its facts tell it."""

    id: str
    order_id: str
    seller_id: str
    cause: str
    currency: str
    destination: str
    original: int
    amount: int
    status: str = "pending"
    amount_reversed: int = 0
    stripe_id: str | None = None
    reversals: dict[str, ToldReversal] = field(default_factory=dict)
    imported: bool = False
    resolved: bool = False
    """True if a person has settled it, or one of its reversals."""


@dataclass
class ToldRefund:
    """A refund, as its facts tell it."""

    refund_id: str
    names: set[str]
    """All its names: the caller's and the PSP's."""
    order_id: str
    amount: int
    currency: str
    explicit: Json | None
    origin: str
    status: str = "submitted"


@dataclass
class ToldDispute:
    """A dispute, as its facts tell it."""

    dispute_id: str
    provider: str
    order_id: str
    amount: int


@dataclass
class Told:
    """All streams. A restore from a backup begins a new one."""

    orders: dict[str, ToldOrder] = field(default_factory=dict)
    transfers: dict[str, ToldTransfer] = field(default_factory=dict)
    refunds: dict[str, ToldRefund] = field(default_factory=dict)
    disputes: dict[str, ToldDispute] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    moved: dict[str, set[str]] = field(default_factory=dict)
    """Accounts to which sellers have moved."""
    topics: dict[str, int] = field(default_factory=dict)
    """Number of facts by topic."""
    _order_of: dict[str, str] = field(default_factory=dict)

    def take(self, one: StoredFactView) -> Iterator[str]:
        """Fold one more fact, and yield what is wrong about it."""
        expected = self.versions.get(one.stream_id, 0) + 1
        if one.version != expected:
            yield broken(
                "versions_have_no_gaps",
                f"stream {one.stream_id} goes on with version {one.version} at position "
                f"{one.position}, expected version {expected}",
            )
        self.versions[one.stream_id] = one.version
        self.topics[one.topic] = self.topics.get(one.topic, 0) + 1
        kind, _, name = one.topic.removeprefix("ledger.").partition(".")
        match kind:
            case "seller_transfer":
                yield from self._transfer(one, name)
            case "order":
                self._order(one, name)
            case "refund":
                self._refund(one, name)
            case "dispute" if name == "opened":
                self.disputes[one.stream_id] = ToldDispute(
                    **{k: one.fact[k] for k in ("dispute_id", "provider", "order_id", "amount")}
                )
            case "seller_account" if name == "moved":
                self.moved.setdefault(one.fact["seller_id"], set()).add(one.fact["destination"])

    # --- orders, refunds --------------------------------------------------------------------------

    def _order(self, one: StoredFactView, name: str) -> None:
        fact = one.fact
        if name == "registered":
            shares = {share["seller_id"]: share for share in fact["shares"]}
            self._order_of[one.stream_id] = fact["order_id"]
            self.orders[fact["order_id"]] = ToldOrder(
                order_id=fact["order_id"],
                stream=one.stream_id,
                amount=fact["amount"],
                currency=fact["currency"],
                shares=shares,
                payment_id=fact.get("payment_id"),
            )
            return
        order = self.orders.get(self._order_of.get(one.stream_id, ""))
        if order is None:
            return
        if name == "paid":
            order.paid, order.payment_id = True, fact["payment_id"] or order.payment_id
        elif name == "refund_allocated":
            order.refunds.pop(fact["refund_id"], None)
            order.refunds[fact["refund_id"]] = Claim(
                fact["refund_id"], fact["amount"], fact["explicit"]
            )
        elif name in ("dispute_counted", "dispute_set_aside"):
            order.disputes.add(fact["dispute_id"])
        elif name == "set_aside_decided":
            order.decided[fact["cause_id"]] = fact["explicit"]

    def _refund(self, one: StoredFactView, name: str) -> None:
        fact = one.fact
        if name == "opened":
            self.refunds[one.stream_id] = ToldRefund(
                refund_id=fact["refund_id"],
                names={fact["refund_id"], *filter(None, [fact["psp_refund_id"]])},
                order_id=fact["order_id"],
                amount=fact["amount"],
                currency=fact["currency"],
                explicit=fact["explicit"],
                origin=fact["origin"],
            )
            return
        refund = self.refunds.get(one.stream_id)
        if refund is None:
            return
        if name == "named":
            refund.names |= {fact["refund_id"], *filter(None, [fact["psp_refund_id"]])}
            refund.refund_id = fact["refund_id"]
        elif name == "submitted":
            refund.names.add(fact["psp_refund_id"])
        elif name == "call_started":
            refund.names.add(fact["body"]["refund_id"])
        elif name in ("succeeded", "failed"):
            refund.status = name
        elif name == "under_review":
            refund.status = "review"

    def names_of(self, cause: str) -> set[str]:
        """Return all names of the refund behind a cause."""
        return next((one.names for one in self.refunds.values() if cause in one.names), {cause})

    # --- transfers --------------------------------------------------------------------------------

    def _transfer(self, one: StoredFactView, name: str) -> Iterator[str]:
        fact = one.fact
        if name in ("created", "imported"):
            self.transfers[one.stream_id] = _opened(one.stream_id, fact, name)
            return
        transfer = self.transfers.get(one.stream_id)
        if transfer is None:
            return
        after = status_after(name, fact, transfer.status)
        if not is_allowed(transfer.status, after, name, fact):
            yield broken(
                "statuses_follow_the_life_cycle",
                f"transfer {transfer.id} goes from {transfer.status} to {after} by {name} at "
                f"position {one.position}",
            )
        transfer.status = after
        _change(transfer, name, fact)
        yield from _amounts(transfer, name)


def _opened(stream: str, fact: Json, name: str) -> ToldTransfer:
    transfer = ToldTransfer(
        id=stream,
        order_id=fact["order_id"],
        seller_id=fact["seller_id"],
        cause=fact["cause"],
        currency=fact["currency"],
        destination=fact["destination"],
        original=fact["amount"],
        amount=fact["amount"],
    )
    if name == "imported":
        transfer.imported, transfer.status = True, fact["status"]
        transfer.amount_reversed = fact["amount_reversed"]
        transfer.stripe_id = fact["stripe_transfer_id"] or None
    return transfer


def _change(transfer: ToldTransfer, name: str, fact: Json) -> None:
    match name:
        case "completed":
            transfer.stripe_id, transfer.amount = fact["stripe_transfer_id"], fact["amount"]
        case "stripe_transfer_id_backfilled":
            transfer.stripe_id = fact["stripe_transfer_id"]
        case "amount_reduced":
            transfer.amount = fact["amount"]
        case "redirected":
            transfer.destination = fact["destination"]
        case "resolved":
            transfer.resolved = True
            if fact["reversal_id"] is not None:
                transfer.reversals[fact["reversal_id"]].state = "resolved"
        case "reversal_queued" | "reversal_requested":
            state = "queued" if name == "reversal_queued" else "requested"
            transfer.reversals[fact["reversal_id"]] = ToldReversal(
                fact["refund_id"], fact["amount"], state
            )
        case "reversal_reduced":
            transfer.reversals[fact["reversal_id"]].amount = fact["amount"]
        case "reversal_withdrawn":
            transfer.reversals[fact["reversal_id"]].state = "withdrawn"
        case "reversal_attributed":
            transfer.reversals[fact["reversal_id"]].cause = fact["refund_id"]
        case "partially_reversed" | "reversed":
            reversal = transfer.reversals[fact["reversal_id"]]
            reversal.state, reversal.settled = "reversed", fact["amount"]
            reversal.stripe_id = fact["stripe_reversal_id"]
            transfer.amount_reversed = fact["amount_reversed"]


def _amounts(transfer: ToldTransfer, name: str) -> Iterator[str]:
    settled = sum(one.settled for one in transfer.reversals.values())
    if not transfer.imported and settled != transfer.amount_reversed:
        yield broken(
            "reversals_add_up",
            f"transfer {transfer.id}: {transfer.amount_reversed} is recorded as reversed by "
            f"{name}, but its reversals sum to {settled}",
        )
    if not 0 <= transfer.amount_reversed <= transfer.amount:
        yield broken(
            "reversals_never_exceed_the_transfer",
            f"transfer {transfer.id}: {transfer.amount_reversed} of {transfer.amount} is "
            f"recorded as reversed",
        )
    if not 0 <= transfer.amount <= transfer.original:
        yield broken(
            "reductions_never_exceed_the_share",
            f"transfer {transfer.id}: {transfer.amount} is left of {transfer.original} by {name}",
        )
