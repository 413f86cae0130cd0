"""Drawing of schedules: swarm testing, in which each schedule has a random subset of the faults."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from infrastructure.simulation.faults.coverage import topics
from infrastructure.simulation.faults.kinds import (
    DATABASE_STEPS,
    INTENT,
    OUTCOME,
    PROVIDER_STEPS,
    STEPS,
    FaultKind,
)
from infrastructure.simulation.faults.network import CALLED
from infrastructure.simulation.faults.operator import COMMANDS
from infrastructure.simulation.faults.schedule import Element as Element
from infrastructure.simulation.faults.schedule import PlannedCommand as PlannedCommand
from infrastructure.simulation.faults.schedule import PlannedDispute as PlannedDispute
from infrastructure.simulation.faults.schedule import PlannedFault as PlannedFault
from infrastructure.simulation.faults.schedule import PlannedOrder as PlannedOrder
from infrastructure.simulation.faults.schedule import PlannedRefund as PlannedRefund
from infrastructure.simulation.faults.schedule import Schedule as Schedule

K = FaultKind
MINUTE, HOUR = 60.0, 3_600.0
SELLERS = ("anna", "ben", "cleo")
SPANS = (HOUR, 3 * HOUR, 10 * HOUR, 30 * HOUR)
"""Lengths of the chaos, in seconds."""
WEIGHTS = {K.CRASH_BEFORE: 8, K.CRASH_AFTER: 8, K.FROZEN: 6, K.CRASH_IN_CALL: 3, K.RESTORED: 1,
           K.OLD_RELEASE: 1}  # fmt: skip
"""Weights of the kinds that have many steps or few variants; 2 for all others."""
FORGOTTEN = 24 * HOUR
"""Time after which Stripe forgets a key."""


def drawn(seed: int) -> Schedule:
    """Draw the schedule of a seed."""
    chance = random.Random(f"schedule {seed}")
    span = chance.choice(SPANS)
    orders = tuple(_order(seed, f"order{n}", span) for n in range(1, chance.randint(1, 3) + 1))
    refunds = tuple(
        _refund(seed, f"refund{order.name[5:]}-{n}", order, span)
        for order in orders
        for n in range(1, chance.choice((0, 1, 1, 2)) + 1)
    )
    disputes = tuple(
        _dispute(seed, f"dispute{order.name[5:]}", order, span)
        for order in orders
        if chance.random() < 0.15
    )
    moments = [max(0.0, order.at + order.paid_after) for order in orders]
    moments += [refund.at + refund.ends_after * (1 - refund.by_ledger) for refund in refunds]
    moments += [dispute.at + dispute.ends_after for dispute in disputes]
    swarm = chance.choices(list(K), [WEIGHTS.get(kind, 2) for kind in K], k=chance.randint(1, 8))
    faults = tuple(
        _fault(seed, f"fault{n}", chance.choice(swarm), span, orders, moments)
        for n in range(1, chance.randint(1, 16) + 1)
    )
    commands = tuple(
        _command(seed, f"command{n}", orders, moments)
        for n in range(1, chance.choice((0, 0, 1, 1, 2, 3)) + 1)
    )
    processes, live = chance.choice((1, 1, 2, 2, 3)), chance.random() < 0.3
    return Schedule(
        seed=seed,
        processes=processes,
        live=live,
        orders=orders,
        refunds=refunds,
        disputes=disputes,
        commands=commands,
        faults=_one_restore(faults),
    )


def _one_restore(faults: Sequence[PlannedFault]) -> tuple[PlannedFault, ...]:
    """Keep the first restore only: a second one within the first means nothing."""
    restores = [one.name for one in faults if one.kind == K.RESTORED]
    return tuple(one for one in faults if one.name not in restores[1:])


class _Drawer:
    """The chance of one element: independent of all others."""

    def __init__(self, seed: int, name: str) -> None:
        self.chance = random.Random(f"{seed} {name}")
        self.seed = self.chance.getrandbits(32)

    def early(self, span: float) -> float:
        """Return an instant in the span, near its beginning more often."""
        return round(span * self.chance.random() ** 2, 3)

    def near(self, moments: Sequence[float]) -> float:
        """Return an instant right before or after one of these moments, or the beginning."""
        moment = self.chance.choice(moments) if self.chance.random() < 0.8 else 0.0
        return round(max(0.0, moment + self.chance.choice((-1, 1)) * self.seconds(0.01, 60)), 3)

    def seconds(self, low: float, high: float) -> float:
        """Return a length, short ones as often as long ones."""
        return round(low * math.pow(high / low, self.chance.random()), 3)


def _order(seed: int, name: str, span: float) -> PlannedOrder:
    draw = _Drawer(seed, name)
    chance = draw.chance
    amount = chance.choice((chance.randint(1, 30), chance.randint(500, 20_000)))
    sellers, left, shares = chance.sample(SELLERS, chance.randint(1, 3)), amount, {}
    for seller in sellers:
        share = chance.choice((left, chance.randint(0, left))) if seller == sellers[-1] else (
            chance.randint(0, left)
        )  # fmt: skip
        if share > 0:
            shares[seller] = share
            left -= share
    after = draw.seconds(1, 600)
    return PlannedOrder(
        name=name,
        at=draw.early(span / 2),
        seed=draw.seed,
        amount=amount,
        shares=shares or {sellers[0]: amount},
        paid_after=-after if chance.random() < 0.15 else after,
        surcharge=chance.randint(1, amount) if chance.random() < 0.1 else 0,
    )


def _refund(seed: int, name: str, order: PlannedOrder, span: float) -> PlannedRefund:
    draw = _Drawer(seed, name)
    chance = draw.chance
    paid_at = max(0.0, order.at + order.paid_after)
    succeeds = chance.random() < 0.85
    return PlannedRefund(
        name=name,
        at=paid_at + chance.choice((draw.seconds(0.01, 60), draw.early(span))),
        seed=draw.seed,
        order=order.name,
        amount=chance.choice((order.amount, chance.randint(1, order.amount + order.surcharge))),
        by_ledger=chance.random() < 0.5,
        ends_after=draw.seconds(0.1, HOUR),
        succeeds=succeeds,
        reviewed=chance.random() < 0.1,
        fails_after=draw.seconds(0.1, 4 * HOUR) if succeeds and chance.random() < 0.2 else None,
    )


def _dispute(seed: int, name: str, order: PlannedOrder, span: float) -> PlannedDispute:
    draw = _Drawer(seed, name)
    paid_at = max(0.0, order.at + order.paid_after)
    return PlannedDispute(
        name=name,
        at=paid_at + draw.early(span),
        seed=draw.seed,
        order=order.name,
        ends_after=draw.seconds(1, 10 * HOUR),
        lost=draw.chance.random() < 0.7,
        challenged=draw.chance.random() < 0.3,
    )


def _command(
    seed: int, name: str, orders: Sequence[PlannedOrder], moments: Sequence[float]
) -> PlannedCommand:
    draw = _Drawer(seed, name)
    order = draw.chance.choice(orders)
    return PlannedCommand(
        name=name,
        at=draw.near(moments),
        seed=draw.seed,
        kind=draw.chance.choice((*sorted(COMMANDS), "look_up_first", "look_up_first")),
        order=order.name,
        seller=draw.chance.choice(sorted(order.shares)),
        step=draw.chance.choice((None, draw.chance.choice(STEPS))),
        lasts=draw.seconds(1, 4 * HOUR),
    )


# --- faults ---------------------------------------------------------------------------------------


def _fault(
    seed: int,
    name: str,
    kind: FaultKind,
    span: float,
    orders: Sequence[PlannedOrder],
    moments: Sequence[float],
) -> PlannedFault:
    draw = _Drawer(seed, name)
    chance = draw.chance
    order = chance.choice(orders)
    plain = PlannedFault(
        name=name,
        at=draw.near(moments),
        seed=draw.seed,
        kind=kind,
        lasts=max(draw.seconds(MINUTE, span), draw.seconds(MINUTE, span)),
        process=chance.randint(0, 2),
        provider=chance.choice(("stripe", "stripe", "hyperswitch")),
        times=chance.choice((1, 1, 1, 2, 3, 8, 20)),
        share=chance.choice((1.0, 1.0, 1.0, 0.5, 0.2)),
        seconds=draw.seconds(1, 20 * MINUTE),
        order=order.name,
        seller=chance.choice(sorted(order.shares)),
    )
    shape = SHAPES.get(kind)
    return shape(plain, draw) if shape is not None else _of_requests(plain, draw)


def _changed(fault: PlannedFault, **changes: object) -> PlannedFault:
    return replace(fault, **changes)  # type: ignore[arg-type]  # the names are those of its fields


def _at_any_step(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    step = draw.chance.choice((INTENT, OUTCOME, *PROVIDER_STEPS, *DATABASE_STEPS, None))
    return _changed(fault, step=step, share=0.05 if step is None else 1.0)


def _at_appends(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    return _changed(fault, step=draw.chance.choice((INTENT, OUTCOME, None)))


def _of_requests(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    called = CALLED["stripe" if fault.kind in OF_STRIPE else fault.provider]
    operation = draw.chance.choice((None, *called))
    provider = "stripe" if fault.kind in OF_STRIPE else fault.provider
    step = None if operation is None else f"{provider} {operation}"
    return _changed(fault, provider=provider, step=step)


OF_STRIPE = (K.KEY_IN_USE, K.STORED_500, K.STORED_500_EXECUTED, K.KEY_EXPIRED)


def _frozen(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    return _changed(_at_any_step(fault, draw), seconds=draw.seconds(1, 2 * HOUR))


def _expired(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    down = FORGOTTEN + draw.chance.uniform(-2 * HOUR, 4 * HOUR)
    return _changed(_of_requests(fault, draw), times=1, seconds=round(down, 3))


def _jump(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    return _changed(fault, seconds=draw.chance.choice((-1, 1)) * draw.seconds(1, 24 * HOUR))


def _old_release(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    topic = draw.chance.choice(topics())
    return _changed(fault, details={"topic": topic}, seconds=draw.seconds(1, MINUTE))


def _restore(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    down = draw.chance.choice((HOUR, 30 * HOUR))
    return _changed(fault, seconds=down, lasts=draw.seconds(10, 12 * HOUR))


def _balance(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    return _changed(fault, seller=draw.chance.choice((None, fault.seller, fault.seller)))


def _stale(fault: PlannedFault, draw: _Drawer) -> PlannedFault:
    """Draw a list that is late: Stripe's transfers by less than a time-out, its events by less than
    the overlap of two polls."""
    lists = [one for one in CALLED[fault.provider] if one.endswith(".list")]
    name = draw.chance.choice(lists)
    longest = 20.0 if name in ("transfers.list", "reversals.list") else 9 * MINUTE
    return _changed(
        fault, step=f"{fault.provider} {name}", seconds=draw.seconds(1, longest), times=6
    )


SHAPES: dict[FaultKind, Callable[[PlannedFault, _Drawer], PlannedFault]] = {
    K.CRASH_BEFORE: _at_any_step,
    K.CRASH_AFTER: _at_any_step,
    K.FROZEN: _frozen,
    K.CLOCK_JUMP: _jump,
    K.OLD_RELEASE: _old_release,
    K.APPEND_REFUSED: _at_appends,
    K.APPEND_IN_DOUBT: _at_appends,
    K.DATABASE_AWAY: lambda fault, draw: _changed(fault, lasts=draw.seconds(1, 3 * MINUTE)),
    K.RESTORED: _restore,
    K.KEY_EXPIRED: _expired,
    K.STALE_LIST: _stale,
    K.WEBHOOK_DROPPED: lambda fault, _: fault,
    K.WEBHOOK_DOUBLED: lambda fault, _: fault,
    K.WEBHOOK_DELAYED: lambda fault, _: fault,
    K.WEBHOOK_FORGED: lambda fault, _: fault,
    K.BALANCE_EMPTY: _balance,
    K.ACCOUNT_RESTRICTED: lambda fault, _: fault,
    K.REVERSAL_PENDING: lambda fault, _: fault,
    K.DASHBOARD_REVERSAL: lambda fault, _: fault,
    K.DASHBOARD_TRANSFER: lambda fault, _: fault,
}
"""How each kind of fault is drawn; all others are faults of requests."""
