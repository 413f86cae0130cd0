"""The streams that one command has loaded and changes: what is appended, all or nothing, at its end."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from domain.dispute import Dispute
from domain.errors import UnknownId
from domain.fact import Fact, Stream
from domain.finding import Finding
from domain.identity import dispute_stream, finding_stream, order_stream, pause_stream, payout_stream
from domain.order.aggregate import Order
from domain.order.recovery import recover_shares
from domain.pause import LOOK_UP_FIRST, Pause
from domain.payout import Payout
from domain.refund.aggregate import Refund
from domain.seller_transfer.aggregate import SellerTransfer


class StreamFold(Protocol):
    """Read-model state of one stream, which the event log keeps from a load until the append."""

    def after(self, facts: Sequence[Fact]) -> tuple["StreamFold", Mapping[str, Sequence[tuple[object, ...]]]]:
        """Fold further facts. Returns the state after them, and the rows that changed, by table."""
        ...


class UnitOfWork:
    """Loaded streams by id, and the read-model state of each."""

    def __init__(self, streams: Mapping[UUID, Stream], folded: Mapping[UUID, StreamFold]) -> None:
        self._streams = dict(streams)
        self._folded = dict(folded)

    def merge(self, other: "UnitOfWork") -> None:
        """Take over what another load has brought."""
        self._streams = {**other._streams, **self._streams}
        self._folded = {**other._folded, **self._folded}

    def only(self, stream_id: UUID) -> "UnitOfWork":
        """A book of this one stream: what is loaded together need not be appended together."""
        kept = {stream_id: self._streams[stream_id]} if stream_id in self._streams else {}
        return UnitOfWork(kept, {known: fold for known, fold in self._folded.items() if known == stream_id})

    def stored(self, stream_id: UUID, folded: StreamFold) -> None:
        """The store has appended this stream's pending facts: they are no longer pending."""
        self._streams[stream_id].collect_events()
        self._folded[stream_id] = folded

    def add(self, streams: Iterable[Stream]) -> None:
        """Streams that begin with this command."""
        self._streams.update({stream.id: stream for stream in streams})

    def folded(self, stream_id: UUID) -> StreamFold | None:
        """Return the read-model state of a stream when it was loaded or stored last; None for a new stream."""
        return self._folded.get(stream_id)

    def changed(self) -> Sequence[tuple[Stream, Sequence[Fact]]]:
        """The streams with their new facts, in the order in which they came into the book."""
        pending = ((stream, [f for f in stream.pending_events if isinstance(f, Fact)]) for stream in self._streams.values())
        return [(stream, facts) for stream, facts in pending if facts]

    def pending(self) -> int:
        """How many facts wait to be appended."""
        return sum(len(facts) for _, facts in self.changed())

    def pause(self, scope: str) -> Pause | None:
        """What pauses this scope, if it was ever paused."""
        stream = self._streams.get(pause_stream(scope))
        return stream if isinstance(stream, Pause) else None

    def mark_unverified(self) -> None:
        """After a restore, while looks come first: what was not looked up since may have been paid by what is lost."""
        pause = self.pause(LOOK_UP_FIRST)
        if pause is None or not pause.paused:
            return
        for order in (stream for stream in self._streams.values() if isinstance(stream, Order)):
            order.unverified = True
        for transfer in self.transfers():
            looked_at = transfer.operation.looked_at if transfer.operation is not None else None
            transfer.unverified = looked_at is None or looked_at < pause.modified_on

    def finding(self, finding_id: str) -> Finding | None:
        """What was decided about this finding, if anything was."""
        stream = self._streams.get(finding_stream(finding_id))
        return stream if isinstance(stream, Finding) else None

    def order(self, order_id: str) -> Order:
        """Raises UnknownId."""
        order = self.known_order(order_id)
        if order is None:
            raise UnknownId("order", order_id)
        return order

    def known_order(self, order_id: str) -> Order | None:
        """The order, if it is in the book."""
        stream = self._streams.get(order_stream(order_id))
        return stream if isinstance(stream, Order) else None

    def refund(self) -> Refund | None:
        """The refund that this command is about, if it is known."""
        return next((stream for stream in self._streams.values() if isinstance(stream, Refund)), None)

    def dispute(self, provider: str, dispute_id: str) -> Dispute | None:
        """The dispute, if it is known."""
        stream = self._streams.get(dispute_stream(provider, dispute_id))
        return stream if isinstance(stream, Dispute) else None

    def payout(self, account: str, payout_id: str) -> Payout | None:
        """The payout, if it is known."""
        stream = self._streams.get(payout_stream(account, payout_id))
        return stream if isinstance(stream, Payout) else None

    def transfer(self, transfer_id: UUID) -> SellerTransfer:
        """Raises UnknownId."""
        stream = self._streams.get(transfer_id)
        if not isinstance(stream, SellerTransfer):
            raise UnknownId("transfer", str(transfer_id))
        return stream

    def transfers(self) -> list[SellerTransfer]:
        """All transfers in the book."""
        return [stream for stream in self._streams.values() if isinstance(stream, SellerTransfer)]


def recover_again(uow: UnitOfWork, order: Order, cause_id: str, now: datetime) -> None:
    """Bring the order's transfers, all of them in the book, in line with what is due now, fenced by the order's version."""
    before = uow.pending()
    uow.add(recover_shares(order, uow.transfers(), cause_id, now))
    if uow.pending() > before:
        order.resettle(cause_id, now)


class InboxMark(NamedTuple):
    """What has become of a webhook, written with the facts it caused. Columns of `webhook_inbox`."""

    inbox_id: int
    status: str
    reason: str | None = None


class CommitExtras(NamedTuple):
    """What is stored in the same transaction as the facts."""

    inbox: InboxMark | None = None
    released: Sequence[str] = ()
    """Subjects whose parked webhooks are due now."""
