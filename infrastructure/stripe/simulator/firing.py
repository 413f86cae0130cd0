"""What happens when a fault strikes."""

from __future__ import annotations

from typing import assert_never

import orjson

from infrastructure.stripe.simulator.actions import (
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
from infrastructure.stripe.simulator.calls import AnswerNow, Call, Vanish
from infrastructure.stripe.simulator.connection import Connection
from infrastructure.stripe.simulator.errors import Refusal
from infrastructure.stripe.simulator.faults import Plan
from infrastructure.stripe.simulator.gate import Ending
from infrastructure.stripe.simulator.latency import seconds_of
from infrastructure.stripe.simulator.rows import Answer
from infrastructure.stripe.simulator.world import World

BAD_GATEWAY_PAGE = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center></body></html>"
BARE_BODY = b'{"message":"The upstream server did not answer."}'


async def strike(world: World, call: Call, plan: Plan, point: Point, connection: Connection) -> list[Action]:
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
                raise AnswerNow(injected_error(call, action), stored=action.stored)
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


async def _hold(world: World, call: Call, action: Hold, connection: Connection) -> None:
    patient = action.on_disconnect == "wait"
    ending = await world.gate.hold(call, action.point, connection, patient=patient)
    if ending is Ending.CLIENT_GONE and action.on_disconnect == "abandon" and action.point is Point.BEFORE_COMMIT:
        raise Vanish(reset=False)


def injected_status(world: World, call: Call, action: Status) -> Refusal | AnswerNow:
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


def injected_error(call: Call, action: Error) -> Answer:
    error = {"type": action.type, "code": action.code, "message": action.message, "param": action.param}
    error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{call.request_id}"
    body = orjson.dumps({"error": {name: value for name, value in error.items() if value is not None}})
    return Answer(action.status, body, {"Stripe-Should-Retry": "false"} if action.stored else {})
