"""Commands on disputes: a report changes the dispute, the order's count and the sellers' transfers
in one append."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from application.command_handler import NO_EXTRAS, CommandHandler
from application.commands.subjects import subject_of_dispute
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.dispute import OVER, Dispute, DisputePolicy, DisputeStatus
from domain.errors import NotTheAuthority, UnknownId
from domain.identity import dispute_cause, dispute_stream
from domain.order.aggregate import Order
from domain.order.authority import authority_of, claim_authority
from domain.order.disputes import count_dispute, reduce_dispute, revoke_dispute
from domain.order.payment_match import NO_NAMES, PaymentNames, require_payment_of
from domain.order.recovery import recover_shares
from domain.order.set_aside import end_set_aside

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
    payment: PaymentNames = NO_NAMES
    """The names of the disputed payment, as far as the report gives them."""
    evidence_due_by: datetime | None = None
    """Instant until which the provider wants evidence; None if the report does not say."""


class DisputeCommands:
    """Commands on disputes."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler

    async def record(
        self, report: DisputeReport, policy: DisputePolicy, extras: CommitExtras = NO_EXTRAS
    ) -> bool:
        """Record a report; return whether it is news. See `record_dispute`."""
        return await self._handler.handle(
            self._loader(report), partial(record_dispute, report, policy), extras, report.order_id
        )

    async def record_part(self, report: DisputeReport, still_withdrawn: Mapping[str, int]) -> bool:
        """Record that only a part of the money came back; return whether a person has to decide.
        See `record_part`."""
        return await self._handler.handle(
            self._loader(report), partial(record_part, report, still_withdrawn)
        )

    async def reduce(
        self, provider: str, dispute_id: str, amount: int, actor: str, reason: str
    ) -> None:
        """Let a dispute take `amount` of its order (minor units of the order's currency) from now
        on, because a part of its money came back and a person decided about the rest.

        The sellers get the difference back by compensating transfers, and the webhooks parked for
        this decision are handled again. Raises UnknownId and Refused.
        """
        stream = dispute_stream(provider, dispute_id)

        async def load() -> UnitOfWork:
            dispute = (await self._handler.load(stream)).dispute(provider, dispute_id)
            if dispute is None:
                raise UnknownId("dispute", dispute_id)
            return await self._handler.load_order_with_transfers(dispute.order_id, stream)

        await self._handler.handle(
            load,
            lambda uow, now: decide_part(uow, provider, dispute_id, amount, actor, reason, now),
            CommitExtras(released=[subject_of_dispute(dispute_id)]),
        )

    def _loader(self, report: DisputeReport) -> Callable[[], Awaitable[UnitOfWork]]:
        stream = dispute_stream(report.provider, report.dispute_id)
        return partial(self._handler.load_order_with_transfers, report.order_id, stream)


def record_dispute(
    report: DisputeReport, policy: DisputePolicy, uow: UnitOfWork, now: datetime
) -> bool:
    """Record a report; return whether it is news.

    Raises UnknownId, NotTheAuthority, OtherPayment, ContentDiffers, and Contradiction when a
    dispute that was won is reported as lost.
    """
    order = uow.order(report.order_id)
    if _authority(order, report, now) not in (report.provider, None):
        raise NotTheAuthority(report.order_id)
    counted = order.disputes.get(report.dispute_id)
    ends = _ends_set_aside(order, report)
    if not ends and (counted is None or not counted.effective):
        require_payment_of(order, report.payment)  # what was taken may always be given back
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
    news = dispute.request_evidence(report.evidence_due_by, report.source, now) or news
    known = len(order.pending_events)
    decided = dispute.undecided or dispute.decided_amount is not None
    if decided and not dispute.reinstated:
        return news  # a person decides, or has decided, how much of the order it takes
    if dispute.takes(policy):
        if not ends:
            count_dispute(
                order, dispute.dispute_id, dispute.amount, dispute.currency, now, report.payment
            )
    else:
        revoke_dispute(order, dispute.dispute_id, now)
        end_set_aside(order, dispute_cause(dispute.dispute_id), "its money came back", now)
    cause_id = dispute_cause(dispute.dispute_id)
    found = dispute.decided and any(t.lacks_cause_of(cause_id) for t in uow.transfers())
    if len(order.pending_events) > known or found:
        uow.add(recover_shares(order, uow.transfers(), cause_id, now))
    return news


def _ends_set_aside(order: Order, report: DisputeReport) -> bool:
    """Return whether a person need not decide any more about a dispute that was set aside, whatever
    payment it is about."""
    aside = dispute_cause(report.dispute_id) in order.set_aside
    return aside and not OVER.isdisjoint(report.reported)


def record_part(
    report: DisputeReport, still_withdrawn: Mapping[str, int], uow: UnitOfWork, now: datetime
) -> bool:
    """Record that only a part of a dispute's money came back; return whether a person has to
    decide.

    The order stays as it is until then. Raises UnknownId, NotTheAuthority, OtherPayment, and
    Contradiction as `record_dispute`.
    """
    order = uow.order(report.order_id)
    if authority_of(order) not in (report.provider, None):
        raise NotTheAuthority(report.order_id)
    dispute = uow.dispute(report.provider, report.dispute_id)
    if dispute is None:
        require_payment_of(order, report.payment)
        dispute = _opened(report, now)
        uow.add([dispute])
    for status in report.reported:
        if status is not DisputeStatus.REINSTATED:
            dispute.report(status, report.source, now)
    return dispute.report_part(still_withdrawn, report.source, now)


def decide_part(
    uow: UnitOfWork,
    provider: str,
    dispute_id: str,
    amount: int,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Let a dispute take `amount` of its order, and give the sellers the difference back. Raises
    UnknownId, Refused."""
    dispute = uow.dispute(provider, dispute_id)
    if dispute is None:
        raise UnknownId("dispute", dispute_id)
    order = uow.order(dispute.order_id)
    dispute.decide(amount, actor, reason, now)
    if reduce_dispute(order, dispute_id, amount, now):
        uow.add(recover_shares(order, uow.transfers(), dispute_cause(dispute_id), now))


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
