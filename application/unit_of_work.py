"""Unit of work: the streams that one command loads and changes, appended all or nothing at its
end."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from domain.dispute import Dispute
from domain.errors import UnknownId
from domain.fact import Fact, Stream
from domain.finding import Finding
from domain.identity import (
    dispute_cause,
    dispute_stream,
    finding_stream,
    order_stream,
    pause_stream,
    payout_stream,
    seller_account_stream,
    webhook_stream,
)
from domain.order.aggregate import Order
from domain.order.recovery import recover_shares
from domain.pause import LOOK_UP_FIRST, Pause
from domain.payout import Payout
from domain.refund.aggregate import Refund
from domain.refund.state import RefundStatus
from domain.seller_account import SellerAccount
from domain.seller_transfer.aggregate import SellerTransfer
from domain.webhook import Webhook


class StreamFold(Protocol):
    """Read-model state of one stream, which the event log keeps from a load until the append."""

    def after(
        self, facts: Sequence[Fact]
    ) -> tuple["StreamFold", Mapping[str, Sequence[tuple[object, ...]]]]:
        """Fold further facts. Returns the state after them, and the rows that changed, by table."""
        ...


class UnitOfWork:
    """Loaded streams by id, and the read-model state of each."""

    def __init__(self, streams: Mapping[UUID, Stream], folded: Mapping[UUID, StreamFold]) -> None:
        self._streams = dict(streams)
        self._folded = dict(folded)
        self._beside = set[UUID]()
        """Streams of refunds that are not the one of the command."""

    def add_beside(self, other: "UnitOfWork") -> None:
        """Take over refunds of another load that the command may change besides its own."""
        self._beside |= other._streams.keys() - self._streams.keys()
        self.merge(other)

    def merge(self, other: "UnitOfWork") -> None:
        """Take over the streams of another load. A stream that both have loaded stays as it is
        here."""
        self._beside |= other._beside - self._streams.keys()
        self._streams = {**other._streams, **self._streams}
        self._folded = {**other._folded, **self._folded}

    def only(self, stream_id: UUID) -> "UnitOfWork":
        """Return a unit of work with this one stream: streams that are loaded together need not be
        appended together."""
        kept = {stream_id: self._streams[stream_id]} if stream_id in self._streams else {}
        return UnitOfWork(
            kept, {known: fold for known, fold in self._folded.items() if known == stream_id}
        )

    def stored(self, stream_id: UUID, folded: StreamFold) -> None:
        """Mark this stream's pending facts as appended; `folded` is its new read-model state."""
        self._streams[stream_id].collect_events()
        self._folded[stream_id] = folded

    def add(self, streams: Iterable[Stream]) -> None:
        """Add streams that begin with this command."""
        self._streams.update({stream.id: stream for stream in streams})

    def folded(self, stream_id: UUID) -> StreamFold | None:
        """Return the read-model state of a stream when it was loaded or stored last; None for a new
        stream."""
        return self._folded.get(stream_id)

    def changed(self) -> Sequence[tuple[Stream, Sequence[Fact]]]:
        """Return the changed streams with their new facts, in the order in which they were loaded
        or added."""
        pending = (
            (stream, [f for f in stream.pending_events if isinstance(f, Fact)])
            for stream in self._streams.values()
        )
        return [(stream, facts) for stream, facts in pending if facts]

    def pending(self) -> int:
        """Count the facts that wait to be appended."""
        return sum(len(facts) for _, facts in self.changed())

    def pause(self, scope: str) -> Pause | None:
        """Return the pause of this scope, active or ended; None if the scope was never paused."""
        stream = self._streams.get(pause_stream(scope))
        return stream if isinstance(stream, Pause) else None

    def pause_of(self, scope: str, now: datetime) -> Pause:
        """Return the pause of this scope, installed if the scope was never paused."""
        pause = self.pause(scope)
        if pause is None:
            pause = Pause.install(scope, now)
            self.add([pause])
        return pause

    def mark_unverified(self) -> None:
        """Mark the streams that a restored backup leaves in doubt, while `serve --look-up-first` is
        in effect.

        A transfer that was not looked up at Stripe since the restore may have been paid by a call
        whose fact is lost.
        """
        pause = self.pause(LOOK_UP_FIRST)
        if pause is None or not pause.paused:
            return
        for order in (stream for stream in self._streams.values() if isinstance(stream, Order)):
            order.unverified = True
        for transfer in self.transfers():
            looked_at = transfer.operation.looked_at if transfer.operation is not None else None
            transfer.unverified = looked_at is None or looked_at < pause.modified_on

    def seller_account(self, seller_id: str) -> SellerAccount | None:
        """Return the account to which a seller has moved; None if the seller never moved."""
        stream = self._streams.get(seller_account_stream(seller_id))
        return stream if isinstance(stream, SellerAccount) else None

    def mark_moved(self) -> None:
        """Mark the orders whose sellers have moved to another account since their registration."""
        for order in [s for s in self._streams.values() if isinstance(s, Order)]:
            for seller_id in order.shares:
                account = self.seller_account(seller_id)
                destination = account and account.destination_for(order.created_on)
                if destination:
                    order.moved[seller_id] = destination

    def webhook(self, provider: str, event_id: str) -> Webhook | None:
        """Return the decisions about a stored webhook; None if there is none."""
        stream = self._streams.get(webhook_stream(provider, event_id))
        return stream if isinstance(stream, Webhook) else None

    def finding(self, finding_id: str) -> Finding | None:
        """Return the finding with the decision about it; None if there is no decision."""
        stream = self._streams.get(finding_stream(finding_id))
        return stream if isinstance(stream, Finding) else None

    def order(self, order_id: str) -> Order:
        """Return the order. Raises UnknownId."""
        order = self.known_order(order_id)
        if order is None:
            raise UnknownId("order", order_id)
        return order

    def known_order(self, order_id: str) -> Order | None:
        """Return the order, or None if it does not exist or was not loaded."""
        stream = self._streams.get(order_stream(order_id))
        return stream if isinstance(stream, Order) else None

    def order_with(self, stream_id: UUID) -> Order | None:
        """Return the order of this stream, or None if it was not loaded."""
        stream = self._streams.get(stream_id)
        return stream if isinstance(stream, Order) else None

    def refund(self) -> Refund | None:
        """Return the one refund that the command is about, if it exists."""
        return next((refund for refund in self._refunds() if refund.id not in self._beside), None)

    def refunds_beside(self) -> list[Refund]:
        """Return the refunds that were loaded besides the one of the command."""
        return [refund for refund in self._refunds() if refund.id in self._beside]

    def _refunds(self) -> list[Refund]:
        return [stream for stream in self._streams.values() if isinstance(stream, Refund)]

    def dispute(self, provider: str, dispute_id: str) -> Dispute | None:
        """Return the dispute, if it exists."""
        stream = self._streams.get(dispute_stream(provider, dispute_id))
        return stream if isinstance(stream, Dispute) else None

    def payout(self, account: str, payout_id: str) -> Payout | None:
        """Return the payout, if it exists."""
        stream = self._streams.get(payout_stream(account, payout_id))
        return stream if isinstance(stream, Payout) else None

    def recorded_causes(self, order_id: str) -> frozenset[str]:
        """Return the refunds and disputes of the order whose end is recorded; the order, and the
        streams of those that may have ended without effect, must be loaded."""
        order = self.known_order(order_id)
        if order is None:
            return frozenset()
        streams = self._streams.values()
        refunds = [s for s in streams if isinstance(s, Refund) and s.order_id == order_id]
        disputes = [s for s in streams if isinstance(s, Dispute) and s.order_id == order_id]
        return frozenset(
            [
                *order.refunds,
                *(refund.key for refund in refunds if refund.status is RefundStatus.FAILED),
                *map(dispute_cause, order.disputes),
                *(dispute_cause(dispute.dispute_id) for dispute in disputes if dispute.decided),
            ]
        )

    def stream(self, stream_id: UUID) -> Stream | None:
        """Return this stream, of any kind; None if it does not exist or was not loaded."""
        return self._streams.get(stream_id)

    def transfer(self, transfer_id: UUID) -> SellerTransfer:
        """Return the transfer. Raises UnknownId."""
        stream = self._streams.get(transfer_id)
        if not isinstance(stream, SellerTransfer):
            raise UnknownId("transfer", str(transfer_id))
        return stream

    def transfers(self) -> list[SellerTransfer]:
        """Return all transfers that were loaded or added."""
        return [stream for stream in self._streams.values() if isinstance(stream, SellerTransfer)]


def recover_again(uow: UnitOfWork, order: Order, cause_id: str, now: datetime) -> None:
    """Bring the order's transfers in line with the amounts that are due now. All of them must be
    loaded.

    A fact of the order records the change, so that a command which changed the order meanwhile
    loses or wins as a whole.
    """
    before = uow.pending()
    uow.add(recover_shares(order, uow.transfers(), cause_id, now))
    if uow.pending() > before:
        order.resettle(cause_id, now)


class InboxMark(NamedTuple):
    """Columns of `webhook_inbox` that are written together with the facts that the webhook
    causes."""

    inbox_id: int
    status: str
    reason: str | None = None


class CommitExtras(NamedTuple):
    """Rows that are stored in the same transaction as the facts."""

    inbox: InboxMark | None = None
    released: Sequence[str] = ()
    """Subjects: the webhooks parked for them are due now."""
