"""Circumstances that bring a process to places that it rarely reaches."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from infrastructure.simulation.faults.draw import Draw
from infrastructure.simulation.faults.kinds import FaultKind
from infrastructure.simulation.faults.schedule import (
    Element,
    PlannedCommand,
    PlannedFault,
    PlannedOrder,
)

K = FaultKind
MINUTE, HOUR = 60.0, 3_600.0
OUTAGE, LIMITED, LOOK_UPS = "outage", "limited", "look_ups"
LOST_WEBHOOKS, RESTRICTED, MOVED = "lost_webhooks", "restricted", "moved"
SLOW, LOST_ANSWERS, OVERTAKEN = "slow", "lost_answers", "overtaken"
CIRCUMSTANCES: dict[str, str] = {
    "CircuitBreaker.open_breaker": OUTAGE,
    "CircuitBreaker.close_breaker": OUTAGE,
    "CircuitBreaker.take_probe": OUTAGE,
    "CircuitBreaker.until_probe": OUTAGE,
    "TransferGateway.answers": OUTAGE,
    "stripe account.retrieve": OUTAGE,
    "Alarms.raise_alarm": OUTAGE,
    "RateLimiter.slow_down": LIMITED,
    "TransferGateway.find_by_our_id": LOOK_UPS,
    "stripe transfers.list": LOOK_UPS,
    "TransferGateway.get_transfer": LOOK_UPS,
    "stripe transfers.retrieve": LOOK_UPS,
    "stripe reversals.list": LOOK_UPS,
    "PaymentGateway.payment": LOST_WEBHOOKS,
    "hyperswitch payments.retrieve": LOST_WEBHOOKS,
    "UnpaidOrders.still_unpaid": LOST_WEBHOOKS,
    "PolledInbox.waiting": LOST_WEBHOOKS,
    "PolledInbox.unknown": LOST_WEBHOOKS,
    "KnownRefunds.refund_statuses": LOST_WEBHOOKS,
    "KnownDisputes.dispute_statuses": LOST_WEBHOOKS,
    "UnpaidOrders.unpaid": LOST_WEBHOOKS,
    "Alarms.clear_all": LOST_WEBHOOKS,
    "Inbox.park": LOST_WEBHOOKS,
    "Directory.waiting": RESTRICTED,
    "Directory.sellers_of": RESTRICTED,
    "TransferGateway.get_object": RESTRICTED,
    "Directory.unsent_of": MOVED,
    "WorkQueue.renew": SLOW,
    "WorkQueue.hold": OVERTAKEN,
    "PaymentGateway.refund": LOST_ANSWERS,
    "hyperswitch refunds.retrieve": LOST_ANSWERS,
}
"""Rarely reached places, each with the circumstance in which processes get there."""


class Scene(NamedTuple):
    """The parts of a schedule that its circumstances need."""

    seed: int
    moments: Sequence[float]
    """Instants at which money moves, in seconds from the beginning."""
    orders: Sequence[PlannedOrder]
    ends: float


def arranged(places: Iterable[str], scene: Scene) -> list[Element]:
    """Draw the circumstances that these places need, each once."""
    names = dict.fromkeys(CIRCUMSTANCES[place] for place in places if place in CIRCUMSTANCES)
    return [_arranged(name, scene) for name in names]


def _arranged(name: str, scene: Scene) -> Element:
    draw = Draw(scene.seed, name)
    order = draw.chance.choice(scene.orders)
    seller = draw.chance.choice(sorted(order.shares))
    if name in (LOOK_UPS, MOVED):
        return PlannedCommand(
            name=name,
            at=0.0 if name == LOOK_UPS else draw.near(scene.moments),
            seed=draw.seed,
            kind="look_up_first" if name == LOOK_UPS else "move_seller",
            order=order.name,
            seller=seller,
            lasts=scene.ends,
        )
    kind, step, provider, times = STRUCK[name]
    return PlannedFault(
        name=name,
        at=draw.near(scene.moments),
        seed=draw.seed,
        kind=kind,
        lasts=draw.seconds(MINUTE, HOUR),
        process=0,
        provider=provider,
        step=step,
        times=times,
        seconds=draw.seconds(1, MINUTE),
        order=order.name,
        seller=seller,
    )


STRUCK: dict[str, tuple[FaultKind, str | None, str, int]] = {
    OUTAGE: (K.UNAVAILABLE, None, "stripe", 100_000),
    LIMITED: (K.RATE_LIMITED, None, "stripe", 10),
    LOST_WEBHOOKS: (K.WEBHOOK_DROPPED, None, "hyperswitch", 20),
    RESTRICTED: (K.ACCOUNT_RESTRICTED, None, "stripe", 1),
    SLOW: (K.SLOW_DRIP, None, "stripe", 20),
    LOST_ANSWERS: (K.ANSWER_LOST, "hyperswitch refunds.create", "hyperswitch", 5),
    OVERTAKEN: (K.WEBHOOK_DELAYED, None, "stripe", 20),
}
"""Kind, step, provider and times of the faults among the circumstances."""
