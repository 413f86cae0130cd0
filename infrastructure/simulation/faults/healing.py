"""Conditions of the end of a run: everything is final, or waits for something named."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime

from infrastructure.simulation.faults.actors import account
from infrastructure.simulation.faults.world import FaultWorld

NAMED = ("funds", "operator", "account")
"""Conditions that a transfer may wait for at the end."""


def unsettled(world: FaultWorld, named: Collection[str] = NAMED) -> Iterator[str]:
    """Yield all that is not final and waits for nothing of `named`."""
    yield from _work(world, named)
    yield from _webhooks(world)
    if world.psp.world.webhooks.outstanding or world.stripe.world.webhooks.outstanding:
        yield "webhooks are under way"
    yield from _amounts(world)


def polled_since(world: FaultWorld, instant: datetime) -> bool:
    """Return whether a whole round of both pollers began after an instant."""
    polls = world.fleet.database.polls.rows.values()
    return all(
        poll.checked_at is not None and poll.checked_at >= instant and poll.seen_until >= instant
        for poll in polls
    )


def _work(world: FaultWorld, named: Collection[str]) -> Iterator[str]:
    tables = world.fleet.database.tables
    for row in tables["seller_transfers"].values():
        waits = row.next_retry_at or row.waiting_for or row.status == "permanently_failed"
        given_up = row.status == "permanently_failed" and "operator" in named
        if waits and row.waiting_for not in named and not given_up:
            yield (
                f"transfer of {row.order_id} to {row.seller_id} is {row.status} and waits for "
                f"{row.waiting_for or row.next_retry_at}: {row.last_error}"
            )
    for refund in tables["refunds"].values():
        if refund.status in ("requested", "submitted"):
            yield f"refund {refund.refund_id} is {refund.status}"
    for order in tables["orders"].values():
        if order.status != "paid":
            yield f"order {order.order_id} is {order.status}"


def _webhooks(world: FaultWorld) -> Iterator[str]:
    for row in world.fleet.database.inbox.rows.values():
        if row.open or row.status == "dead":
            yield f"webhook {row.event_id} {row.event_type} is {row.status}: {row.reason}"


def _amounts(world: FaultWorld) -> Iterator[str]:
    """Yield the shares of which Stripe holds another amount than the PSP's books demand, unless a
    transfer of the share waits for something named, or a person has reversed."""
    held, touched = defaultdict[tuple[str, str], int](int), _touched(world)
    for row in world.stripe.world.books.transfers:
        held[row.metadata.get("order_id", ""), row.destination] += row.unreversed
    psp = world.psp.world.books
    for order in world.schedule.orders:
        back = sum(
            one.amount
            for one in psp.refunds.values()
            if one.payment_id == order.payment_id and one.status == "succeeded"
        )
        back += sum(
            one.amount
            for one in psp.disputes.values()
            if one.payment_id == order.payment_id and one.status == "lost"
        )
        collected = order.amount + order.surcharge
        for seller, share in order.shares.items():
            left = share - share * min(back, collected) // collected
            has = held[order.name, account(seller)]
            if has != left and (order.name, seller) not in touched:
                yield f"{seller} has {has} of {order.name} at Stripe, and {left} is right"


def _touched(world: FaultWorld) -> set[tuple[str, str]]:
    """Return the shares with a named wait or a reversal by a person."""
    tables = world.fleet.database.tables
    named = {
        (row.order_id, row.seller_id)
        for row in tables["seller_transfers"].values()
        if row.waiting_for in NAMED or row.status == "permanently_failed"
    }
    external = {row.transfer_id for row in tables["transfer_reversals"].values()
                if row.settled_by == "external"}  # fmt: skip
    return named | {
        (row.order_id, row.seller_id)
        for row in tables["seller_transfers"].values()
        if row.transfer_id in external
    }
