"""Execution of the faults that apply to a request."""

from typing import Any, assert_never

from infrastructure.simulators.common.breakpoints import ReleaseReason
from infrastructure.simulators.common.connection import Connection
from infrastructure.simulators.common.fault_actions import (
    Action,
    Cut,
    Error,
    ErrorStatus,
    ForgetfulKeys,
    Latency,
    Mangle,
    Point,
    Silence,
    Stop,
    Stored500,
)
from infrastructure.simulators.common.faults import FaultPlan
from infrastructure.simulators.common.latency import seconds_of
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import ApiRequest, ConnectionEnded, EarlyAnswer
from infrastructure.simulators.common.world import SimulatorWorld

BAD_GATEWAY_PAGE = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center></body></html>"
BARE_BODY = b'{"message":"The upstream server did not answer."}'

World = SimulatorWorld[Any]


async def inject(
    world: World, request: ApiRequest, plan: FaultPlan, point: Point, connection: Connection
) -> list[Action]:
    """Execute the faults of this point. Returns the actions that are left to the caller.

    Raises EarlyAnswer, ConnectionEnded or Refusal when the request ends here.
    """
    left: list[Action] = []
    for action, random_ in plan.actions_at(point):
        match action:
            case Latency():
                await world.breakpoints.sleep(seconds_of(action, request.operation, random_))
            case Stop():
                await _stop(world, request, action, connection)
            case ErrorStatus():
                raise injected_status(world, request, action)
            case Error():
                raise EarlyAnswer(world.injected(action, request), stored=action.stored)
            case Cut():
                raise ConnectionEnded(reset=True)
            case Silence():
                await world.breakpoints.stop(request, point, connection, action.seconds)
                raise ConnectionEnded(reset=False)
            case Mangle() | Stored500() | ForgetfulKeys():
                left.append(action)
            case _:
                assert_never(action)
    return left


async def _stop(world: World, request: ApiRequest, action: Stop, connection: Connection) -> None:
    patient = action.on_disconnect == "wait"
    reason = await world.breakpoints.stop(request, action.point, connection, patient=patient)
    gone = reason is ReleaseReason.CLIENT_GONE
    if gone and action.on_disconnect == "abandon" and action.point is Point.BEFORE_COMMIT:
        raise ConnectionEnded(reset=False)


def injected_status(world: World, request: ApiRequest, action: ErrorStatus) -> Refusal | EarlyAnswer:
    """Return the error that the fault asks for. The catalogue has `server_fault`, `rate_limited` and `lock_timeout`."""
    if action.lock:
        return Refusal("lock_timeout")
    if action.status == 429:
        return Refusal("rate_limited", reason=action.reason)
    answer = world.refused(Refusal("server_fault"), request, stored=False)
    answer.status = action.status
    if action.should_retry is not None:
        answer.headers["Stripe-Should-Retry"] = str(action.should_retry).lower()
    if action.html:
        answer.body, answer.content_type = BAD_GATEWAY_PAGE % (action.status, action.status), "text/html"
    elif action.bare:
        answer.body = BARE_BODY
    return EarlyAnswer(answer)
