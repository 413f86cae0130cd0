"""Drawing of schedules: swarm testing, in which each schedule has a random subset of the faults."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from infrastructure.simulation.faults.circumstances import (
    CIRCUMSTANCES,
    IN_CIRCUMSTANCE,
    Scene,
    arranged,
)
from infrastructure.simulation.faults.coverage import fault_names, topics
from infrastructure.simulation.faults.draw import Draw
from infrastructure.simulation.faults.kinds import STEPS, FaultKind
from infrastructure.simulation.faults.network import CALLED
from infrastructure.simulation.faults.operator import COMMANDS
from infrastructure.simulation.faults.schedule import Element as Element
from infrastructure.simulation.faults.schedule import PlannedCommand as PlannedCommand
from infrastructure.simulation.faults.schedule import PlannedDispute as PlannedDispute
from infrastructure.simulation.faults.schedule import PlannedFault as PlannedFault
from infrastructure.simulation.faults.schedule import PlannedOrder as PlannedOrder
from infrastructure.simulation.faults.schedule import PlannedRefund as PlannedRefund
from infrastructure.simulation.faults.schedule import Schedule as Schedule
from infrastructure.simulation.faults.unreachable import UNREACHABLE

K = FaultKind
E = TypeVar("E", bound=Element)
Changes = dict[str, Any]
MINUTE, HOUR = 60.0, 3_600.0
SELLERS = ("anna", "ben", "cleo")
SPANS = (HOUR, 3 * HOUR, 10 * HOUR, 30 * HOUR)
"""Lengths of the chaos, in seconds."""
STRIKES = [strike for strike in sorted(fault_names()) if strike not in UNREACHABLE]
"""All kinds of faults, each with the places where it can strike."""
ONE_TIME = (K.FROZEN, K.KEY_EXPIRED)
"""Kinds that strike once, and so are drawn twice as often."""
SELDOM = (
    "CircuitBreaker.close_breaker",
    "CircuitBreaker.open_breaker",
    "CircuitBreaker.until_probe",
    "hyperswitch payments.retrieve",
    "stripe account.retrieve",
    "stripe accounts.retrieve",
    "stripe reversals.list",
    "stripe transfers.retrieve",
)
"""Places that processes seldom reach even in their circumstance; drawn twice as often too."""
LEAST_REACHED = ("Alarms.clear_all", "UnpaidOrders.still_unpaid")
"""Places that processes reach least of all; drawn four times as often."""


def _entries(strike: str) -> int:
    """Return how many entries a strike has among those of its circumstance."""
    if strike.endswith(LEAST_REACHED):
        return 4
    return 2 if strike.startswith(ONE_TIME) or strike.endswith(SELDOM) else 1


APART = {"paused": 0.04, "revived": 0.06}
"""Circumstances that too few schedules have, drawn apart for a share of them; the schedules of all
other seeds stay as they are."""
THEMES = {
    name: [
        strike
        for strike in STRIKES
        if strike.partition(" @ ")[2] in one.places
        for _ in range(_entries(strike))
    ]
    for name, one in CIRCUMSTANCES.items()
    if name != "revived"
}
"""The strikes at the places of each circumstance."""
AT_ONCE = (0, 1, 2, 2, 3, 3)
"""Numbers of circumstances of a schedule."""
WEIGHTS = [max(12, len(strikes)) for strikes in THEMES.values()]
"""Weights of the circumstances: the more strikes need one, the more often it is drawn."""
SWARM = [*STRIKES, *(one for one in STRIKES if one.partition(" @ ")[2] not in IN_CIRCUMSTANCE)]
"""Strikes of the swarm: those that need no circumstance twice."""
PASSES = (0, 0, 0, 1, 2, 4)
"""Numbers of calls that a waiting fault spares where processes often get."""
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
        if chance.random() < 0.2
    )
    processes, live = chance.choice((1, 1, 2, 2, 3)), chance.random() < 0.3
    scene = Scene(seed, _moments(orders, refunds, disputes), orders, span)
    faults, around = _troubles(scene, processes, chance)
    commands = _commands(scene, chance)
    return Schedule(
        seed=seed,
        processes=processes,
        live=live,
        orders=(*orders, *_of(PlannedOrder, around)),
        refunds=(*refunds, *_of(PlannedRefund, around)),
        disputes=(*disputes, *_of(PlannedDispute, around)),
        commands=(*commands, *_of(PlannedCommand, around)),
        faults=_one_restore((*faults, *_of(PlannedFault, around))),
    )


def _moments(
    orders: Sequence[PlannedOrder],
    refunds: Sequence[PlannedRefund],
    disputes: Sequence[PlannedDispute],
) -> list[float]:
    """Return the instants after which money moves."""
    return [
        *(max(0.0, order.at + order.paid_after) for order in orders),
        *(refund.at + refund.ends_after * (1 - refund.by_ledger) for refund in refunds),
        *(dispute.at + dispute.ends_after for dispute in disputes),
    ]


def _troubles(
    scene: Scene, processes: int, chance: random.Random
) -> tuple[list[PlannedFault], list[Element]]:
    """Draw faults, and the circumstances that they need."""
    names = dict.fromkeys(chance.choices(list(THEMES), WEIGHTS, k=chance.choice(AT_ONCE)))
    strikes = [*_swarm(chance), *(strike for name in names for strike in _aimed(name, chance))]
    for name, share in APART.items():
        own = random.Random(f"{name} {scene.seed}")
        if name not in names and own.random() < share:
            names[name] = None
            strikes += _aimed(name, own) if name in THEMES else ()
    faults = [_fault(scene, f"fault{n}", strike, processes) for n, strike in enumerate(strikes, 1)]
    return faults, [element for name in names for element in arranged(name, scene)]


def _swarm(chance: random.Random) -> list[str]:
    """Draw strikes of a few kinds, some of them often."""
    kinds = chance.sample(SWARM, chance.randint(1, 16))
    return [chance.choice(kinds) for _ in range(chance.randint(1, 14))]


def _aimed(circumstance: str, chance: random.Random) -> list[str]:
    """Draw strikes that the circumstance makes possible."""
    strikes = THEMES[circumstance]
    return chance.sample(strikes, min(len(strikes), chance.randint(4, 10)))


def _commands(scene: Scene, chance: random.Random) -> list[PlannedCommand]:
    """Draw commands of an operator."""
    drawn_commands = chance.choice((0, 0, 1, 1, 2, 3))
    return [_command(scene, f"command{n}") for n in range(1, drawn_commands + 1)]


def _of(kind: type[E], elements: Iterable[Element]) -> Iterator[E]:
    return (one for one in elements if isinstance(one, kind))


def _one_restore(faults: Sequence[PlannedFault]) -> tuple[PlannedFault, ...]:
    """Keep the first restore only: a second one within the first means nothing."""
    restores = [one.name for one in faults if one.kind == K.RESTORED]
    return tuple(one for one in faults if one.name not in restores[1:])


def _order(seed: int, name: str, span: float) -> PlannedOrder:
    draw = Draw(seed, name)
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
    draw = Draw(seed, name)
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
        reviewed=chance.random() < 0.2,
        fails_after=draw.seconds(0.1, 4 * HOUR) if succeeds and chance.random() < 0.2 else None,
    )


def _dispute(seed: int, name: str, order: PlannedOrder, span: float) -> PlannedDispute:
    draw = Draw(seed, name)
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


def _command(scene: Scene, name: str) -> PlannedCommand:
    draw = Draw(scene.seed, name)
    order = draw.chance.choice(scene.orders)
    return PlannedCommand(
        name=name,
        at=draw.near(scene.moments),
        seed=draw.seed,
        kind=draw.chance.choice((*sorted(COMMANDS), "look_up_first", "look_up_first")),
        order=order.name,
        seller=draw.chance.choice(sorted(order.shares)),
        step=draw.chance.choice((None, draw.chance.choice(STEPS))),
        lasts=draw.seconds(1, 4 * HOUR),
    )


# --- faults ---------------------------------------------------------------------------------------


def _fault(scene: Scene, name: str, strike: str, processes: int) -> PlannedFault:
    """Draw a fault. `strike`: its kind and the place that it strikes, such as
    `answer_lost @ stripe transfers.create`."""
    draw = Draw(scene.seed, name)
    chance = draw.chance
    order = chance.choice(scene.orders)
    kind, _, place = strike.partition(" @ ")
    provider = place.partition(" ")[0]
    once, rare = place == "once", CIRCUMSTANCES.get(IN_CIRCUMSTANCE.get(place, ""))
    waits = rare is not None or (not once and chance.random() < 0.75)
    span = max(scene.ends, rare.lasts) if rare else scene.ends
    longest = max(draw.seconds(MINUTE, span), draw.seconds(MINUTE, span))
    fault = PlannedFault(
        name=name,
        at=0.0 if rare or (waits and chance.random() < 0.5) else draw.near(scene.moments),
        seed=draw.seed,
        kind=kind,
        lasts=span if waits else min(longest, LONGEST.get(FaultKind(kind), longest)),
        process=None if waits else chance.randrange(processes),
        provider=provider if provider in CALLED else "stripe",
        step=None if once or place.endswith("webhook") else place,
        times=chance.choice((1, 1, 1, 2, 3) if rare else (1, 1, 1, 2, 3, 8, 20)),
        passes=chance.choice(rare.passes if rare else PASSES) if waits else 0,
        share=1.0 if waits else chance.choice((1.0, 1.0, 1.0, 0.5, 0.2)),
        seconds=draw.seconds(1, 20 * MINUTE),
        order=order.name,
        seller=chance.choice(sorted(order.shares)),
    )
    shape = SHAPES.get(FaultKind(kind))
    return fault if shape is None else replace(fault, **shape(fault, draw))


def _frozen(fault: PlannedFault, draw: Draw) -> Changes:
    return {"seconds": draw.seconds(1, 2 * HOUR), "times": 1}


def _expired(fault: PlannedFault, draw: Draw) -> Changes:
    down = FORGOTTEN + draw.chance.uniform(-2 * HOUR, 4 * HOUR)
    return {"times": 1, "seconds": round(down, 3)}


def _jump(fault: PlannedFault, draw: Draw) -> Changes:
    return {"seconds": draw.chance.choice((-1, 1)) * draw.seconds(1, 24 * HOUR)}


def _old_release(fault: PlannedFault, draw: Draw) -> Changes:
    topic = draw.chance.choice(topics())
    return {"details": {"topic": topic}, "seconds": draw.seconds(1, MINUTE)}


def _restored(fault: PlannedFault, draw: Draw) -> Changes:
    return {"seconds": draw.chance.choice((HOUR, 30 * HOUR))}


def _balance(fault: PlannedFault, draw: Draw) -> Changes:
    return {"seller": draw.chance.choice((None, fault.seller, fault.seller))}


def _stale(fault: PlannedFault, draw: Draw) -> Changes:
    """Draw a list that is late: Stripe's transfers by less than a time-out, its events by less than
    the overlap of two polls."""
    moves = fault.step in ("stripe transfers.list", "stripe reversals.list")
    return {"seconds": draw.seconds(1, 20 if moves else 9 * MINUTE), "times": 6}


LONGEST = {K.DATABASE_AWAY: 3 * MINUTE, K.RESTORED: 12 * HOUR}
"""Longest duration, in seconds, of kinds that do not last for the whole span."""
SHAPES: dict[FaultKind, Callable[[PlannedFault, Draw], Changes]] = {
    K.FROZEN: _frozen,
    K.CLOCK_JUMP: _jump,
    K.OLD_RELEASE: _old_release,
    K.RESTORED: _restored,
    K.KEY_EXPIRED: _expired,
    K.STALE_LIST: _stale,
    K.BALANCE_EMPTY: _balance,
}
"""Members that some kinds draw in another way."""
