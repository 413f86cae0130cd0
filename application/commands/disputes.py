"""Commands on disputes: a report changes the dispute, the order's count and the sellers' transfers
in one append."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from application.command_handler import NO_EXTRAS, CommandHandler
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.dispute import Dispute, DisputePolicy, DisputeStatus
from domain.errors import NotTheAuthority
from domain.identity import dispute_cause, dispute_stream
from domain.order.aggregate import Order
from domain.order.authority import authority_of, claim_authority
from domain.order.disputes import count_dispute, revoke_dispute
from domain.order.recovery import recover_shares

MOVED = frozenset({DisputeStatus.WITHDRAWN, DisputeStatus.LOST})


class DisputeReport(NamedTuple):
    """A provider's report of a dispute. Amount in minor units."""

    dispute_id: str
    provider: str
    order_id: str
    amount: int
    currency: str
    reported: Sequence[DisputeStatus]
    """The statuses that the dispute has reached according to the report, the earliest first."""
    source: str
    reason: str | None = None


class DisputeCommands:
    """Commands on disputes."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler

    async def record(
        self, report: DisputeReport, policy: DisputePolicy, extras: CommitExtras = NO_EXTRAS
    ) -> bool:
        """Record a report; return whether it is news. See `record_dispute`."""
        stream = dispute_stream(report.provider, report.dispute_id)
        return await self._handler.handle(
            partial(self._handler.load_order_with_transfers, report.order_id, stream),
            partial(record_dispute, report, policy),
            extras,
        )


def record_dispute(
    report: DisputeReport, policy: DisputePolicy, uow: UnitOfWork, now: datetime
) -> bool:
    """Record a report; return whether it is news.

    Raises UnknownId, NotTheAuthority, ContentDiffers, and Contradiction when a dispute that was won
    is reported as lost.
    """
    order = uow.order(report.order_id)
    if _authority(order, report, now) not in (report.provider, None):
        raise NotTheAuthority(report.order_id)
    dispute = uow.dispute(report.provider, report.dispute_id)
    news = dispute is None
    if dispute is None:
        dispute = _opened(report, now)
        uow.add([dispute])
    if (dispute.order_id, dispute.currency) == (report.order_id, report.currency):
        news = dispute.restate(report.amount, report.source, now) or news
    dispute.agree(report.order_id, report.amount, report.currency)
    for status in report.reported:
        news = dispute.report(status, report.source, now) or news
    known = len(order.pending_events)
    if dispute.takes(policy):
        count_dispute(order, dispute.dispute_id, dispute.amount, dispute.currency, now)
    else:
        revoke_dispute(order, dispute.dispute_id, now)
    cause_id = dispute_cause(dispute.dispute_id)
    found = dispute.decided and any(t.lacks_cause_of(cause_id) for t in uow.transfers())
    if len(order.pending_events) > known or found:
        uow.add(recover_shares(order, uow.transfers(), cause_id, now))
    return news


def _authority(order: Order, report: DisputeReport, now: datetime) -> str | None:
    """Return the order's authority. A provider does not become it by a report of a dispute that has
    moved no money."""
    moved = not MOVED.isdisjoint(report.reported)
    return (
        claim_authority(order, report.provider, report.source, now)
        if moved
        else authority_of(order)
    )


def _opened(report: DisputeReport, now: datetime) -> Dispute:
    return Dispute.open(
        dispute_id=report.dispute_id,
        provider=report.provider,
        order_id=report.order_id,
        amount=report.amount,
        currency=report.currency,
        reason=report.reason,
        source=report.source,
        now=now,
    )
