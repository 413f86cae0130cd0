"""What happens when a fault strikes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, assert_never

from infrastructure.simulators.common.answer import Answer
from infrastructure.simulators.common.breakpoints import Ending, Gate
from infrastructure.simulators.common.connection import Connection
from infrastructure.simulators.common.fault_actions import (
    Action,
    Cut,
    Error,
    ForgetfulKeys,
    Hold,
    Latency,
    Mangle,
    Point,
    Silence,
    Status,
    Stored500,
)
from infrastructure.simulators.common.faults import Plan
from infrastructure.simulators.common.latency import seconds_of
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import AnswerNow, Call, Vanish

BAD_GATEWAY_PAGE = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center></body></html>"
BARE_BODY = b'{"message":"The upstream server did not answer."}'


class Struck(Protocol):
    """What faults need of a simulated provider. Its catalogue has `server_fault`, `rate_limited` and `lock_timeout`."""

    @property
    def gate(self) -> Gate: ...

    def refused(self, refusal: Refusal, call: Call, stored: bool) -> Answer: ...

    def injected(self, action: Error, call: Call) -> Answer:
        """The error of the fault, in the provider's own shape."""
        ...


async def answered(
    world: Struck, call: Call, plan: Plan, connection: Connection, process: Callable[[], Awaitable[Answer]]
) -> tuple[Answer, list[Mangle]]:
    """The answer, and how it is to be spoilt on its way. Raises Vanish when the connection ends instead."""
    try:
        answer = await process()
    except AnswerNow as end:
        answer = end.answer
    except Refusal as refusal:
        answer = world.refused(refusal, call, stored=False)
    spoilt = await strike(world, call, plan, Point.DELIVERY, connection) if plan else []
    return answer, [action for action in spoilt if isinstance(action, Mangle)]


async def strike(world: Struck, call: Call, plan: Plan, point: Point, connection: Connection) -> list[Action]:
    """Let the faults of this point do their work; what the pipeline itself must do is returned.

    Raises AnswerNow, Vanish or Refusal when the call ends here.
    """
    left: list[Action] = []
    for action, chance in plan.strikes(point):
        match action:
            case Latency():
                await world.gate.pause(seconds_of(action, call.operation, chance))
            case Hold():
                await _hold(world, call, action, connection)
            case Status():
                raise injected_status(world, call, action)
            case Error():
                raise AnswerNow(world.injected(action, call), stored=action.stored)
            case Cut():
                raise Vanish(reset=True)
            case Silence():
                await world.gate.hold(call, point, connection, action.seconds)
                raise Vanish(reset=False)
            case Mangle() | Stored500() | ForgetfulKeys():
                left.append(action)
            case _:
                assert_never(action)
    return left


async def _hold(world: Struck, call: Call, action: Hold, connection: Connection) -> None:
    patient = action.on_disconnect == "wait"
    ending = await world.gate.hold(call, action.point, connection, patient=patient)
    if ending is Ending.CLIENT_GONE and action.on_disconnect == "abandon" and action.point is Point.BEFORE_COMMIT:
        raise Vanish(reset=False)


def injected_status(world: Struck, call: Call, action: Status) -> Refusal | AnswerNow:
    if action.lock:
        return Refusal("lock_timeout")
    if action.status == 429:
        return Refusal("rate_limited", reason=action.reason)
    answer = world.refused(Refusal("server_fault"), call, stored=False)
    answer.status = action.status
    if action.should_retry is not None:
        answer.headers["Stripe-Should-Retry"] = str(action.should_retry).lower()
    if action.html:
        answer.body, answer.content_type = BAD_GATEWAY_PAGE % (action.status, action.status), "text/html"
    elif action.bare:
        answer.body = BARE_BODY
    return AnswerNow(answer)
