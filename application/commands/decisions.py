"""Commands of a person on refunds and disputes that were set aside, or that came back in part."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import NamedTuple

from application.command_handler import CommandHandler
from application.commands.subjects import subject_of_dispute, subject_of_order
from application.ports import Directory
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.dispute import Dispute
from domain.errors import ExceedsOrder, NothingToDecide, UnknownId
from domain.identity import dispute_cause, dispute_stream
from domain.order.aggregate import Order
from domain.order.authority import HYPERSWITCH, STRIPE
from domain.order.disputes import allocate_dispute, revoke_dispute
from domain.order.recovery import parts_of, recover_shares
from domain.order.set_aside import counted_by_default, decide, repeats
from domain.refund.aggregate import Refund
from domain.refund.state import RefundStatus

PROVIDERS = (STRIPE, HYPERSWITCH)


class Decision(NamedTuple):
    """Decision of a person. Amounts in minor units, each in the currency of the seller's share."""

    allocation: Mapping[str, int] | None
    """Amount per seller; None: dismissed, so that nothing is ever taken."""
    actor: str
    reason: str
    amount: int | None = None
    """Amount of the order that it counts as, in the order's currency; None: as reported."""


class DecisionCommands:
    """Commands on refunds and disputes that wait for a person. Each may be repeated."""

    def __init__(self, handler: CommandHandler, directory: Directory) -> None:
        self._handler, self._directory = handler, directory

    async def refund(self, name: str, decision: Decision) -> bool:
        """Decide a refund by any of its names; return whether that is news. See
        `decide_refund`."""
        stream = await self._directory.refund_named(name)
        if stream is None:
            raise UnknownId("refund", name)
        refund = (await self._handler.load(stream)).refund()
        assert refund is not None, "the directory knows only stored refunds"
        return await self._handler.handle(
            partial(self._handler.load_order_with_transfers, refund.order_id, stream),
            partial(decide_refund, decision),
            CommitExtras(released=[subject_of_order(refund.order_id)]),
        )

    async def dispute(self, dispute_id: str, decision: Decision) -> bool:
        """Decide a dispute; return whether that is news. See `decide_dispute`."""
        return await self._handler.handle(
            self._load_dispute(dispute_id),
            partial(decide_dispute, dispute_id, decision),
            CommitExtras(released=[subject_of_dispute(dispute_id)]),
        )

    def _load_dispute(self, dispute_id: str) -> Callable[[], Awaitable[UnitOfWork]]:
        streams = [dispute_stream(provider, dispute_id) for provider in PROVIDERS]

        async def load() -> UnitOfWork:
            dispute = _dispute(await self._handler.load(*streams), dispute_id)
            return await self._handler.load_order_with_transfers(dispute.order_id, *streams)

        return load


def decide_refund(decision: Decision, uow: UnitOfWork, now: datetime) -> bool:
    """Take a refund that was set aside from the sellers as a person decides, or dismiss it; return
    whether that is news.

    Raises ContentDiffers after another decision, NothingToDecide, ExceedsOrder, Refused.
    """
    refund = uow.refund()
    assert refund is not None, "the refund is loaded"
    order = uow.order(refund.order_id)
    if refund.key not in order.set_aside and repeats(
        order, refund.key, decision.allocation, decision.amount
    ):
        return False
    _require_undecided(order, refund)
    allocation = decision.allocation or {}
    _require_within(order, refund.refund_id, refund.amount, refund.currency, allocation)
    default = counted_by_default(order, refund.key, refund.amount, refund.currency, allocation)
    amount = default if decision.amount is None else decision.amount
    decide(order, refund.key, decision.allocation, amount, (decision.actor, decision.reason), now)
    if decision.allocation is not None:
        order.allocate_refund(refund.key, refund.amount, refund.currency, None, now)
        uow.add(recover_shares(order, uow.transfers(), refund.key, now))
    parts = parts_of(order, uow.transfers(), refund.key)
    refund.succeed(f"decided:{decision.actor}", parts, now)
    return True


def _require_undecided(order: Order, refund: Refund) -> None:
    """Raise NothingToDecide unless the refund waits for a person of this ledger."""
    if refund.key in order.set_aside or refund.held:
        return
    why = (
        "the payment provider is reviewing it, and decides"
        if refund.status is RefundStatus.REVIEW
        else f"it is {refund.status}, and was not set aside"
    )
    raise NothingToDecide("Refund", refund.refund_id, why)


def _require_within(
    order: Order, name: str, amount: int, currency: str, allocation: Mapping[str, int]
) -> None:
    """Raise ExceedsOrder if the allocation is above the refund or dispute, in one currency."""
    summed = sum(
        part
        for seller, part in allocation.items()
        if seller in order.shares and order.share_currency(seller) == currency
    )
    if summed > amount:
        raise ExceedsOrder(f"The allocation of {name!r}", summed, amount, currency)


def decide_dispute(dispute_id: str, decision: Decision, uow: UnitOfWork, now: datetime) -> bool:
    """Take a dispute that was set aside, or came back in part, from the sellers as a person
    decides, or dismiss it; return whether that is news.

    Raises UnknownId, ContentDiffers after another decision, NothingToDecide, ExceedsOrder, Refused.
    """
    dispute = _dispute(uow, dispute_id)
    order, cause_id = uow.order(dispute.order_id), dispute_cause(dispute_id)
    open_ = cause_id in order.set_aside or dispute.undecided
    if not open_ and repeats(order, cause_id, decision.allocation, decision.amount):
        return False
    if not open_:
        why = f"it is {dispute.status}, was not set aside, and did not come back in part"
        raise NothingToDecide("Dispute", dispute_id, why)
    allocation = decision.allocation or {}
    _require_within(order, dispute_id, dispute.amount, dispute.currency, allocation)
    default = counted_by_default(order, cause_id, dispute.amount, dispute.currency, allocation)
    amount = default if decision.amount is None else decision.amount
    decided = decide(
        order, cause_id, decision.allocation, amount, (decision.actor, decision.reason), now
    )
    if decided.allocation is not None:
        allocate_dispute(order, dispute_id, decided, now)
    else:
        revoke_dispute(order, dispute_id, now)
    uow.add(recover_shares(order, uow.transfers(), cause_id, now))
    if dispute.undecided:
        taken = 0 if decided.allocation is None else min(amount, dispute.amount)
        dispute.decide(taken, decision.actor, decision.reason, now)
    return True


def _dispute(uow: UnitOfWork, dispute_id: str) -> Dispute:
    known = (uow.dispute(provider, dispute_id) for provider in PROVIDERS)
    dispute = next((dispute for dispute in known if dispute is not None), None)
    if dispute is None:
        raise UnknownId("dispute", dispute_id)
    return dispute
