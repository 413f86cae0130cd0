"""What every simulated provider lets a test do from outside: faults, wording, deliveries, and the log of calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeAlias, TypeVar

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infrastructure.simulators.common.answer import Answer
from infrastructure.simulators.common.breakpoints import Gate
from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.delivery_log import DeliveryLog
from infrastructure.simulators.common.faults import FaultBoard
from infrastructure.simulators.common.refusal import Refusal, Wording
from infrastructure.simulators.common.request import Call, LogEntry


class Deliveries(Protocol):
    """The webhooks of a provider, as far as every provider's are alike."""

    @property
    def log(self) -> DeliveryLog: ...
    @property
    def outstanding(self) -> int: ...
    def flush(self, shuffle_seed: int | None = None, types: str = "*") -> int: ...


class Controlled(Protocol):
    """A simulated provider, as far as every provider is alike."""

    @property
    def clock(self) -> SimClock: ...
    @property
    def faults(self) -> FaultBoard: ...
    @property
    def gate(self) -> Gate: ...
    @property
    def wording(self) -> Wording: ...
    @property
    def webhooks(self) -> Deliveries: ...
    @property
    def log(self) -> deque[LogEntry]: ...
    def commit(self) -> None: ...
    def unnamed_call(self, method: str, path: str) -> Call: ...
    def refused(self, refusal: Refusal, call: Call, stored: bool) -> Answer: ...


Json: TypeAlias = Any
W = TypeVar("W", bound=Controlled)
Act: TypeAlias = Callable[[W, Request, dict[str, Any]], "Json | Awaitable[Json]"]
Control: TypeAlias = tuple[str, str, Act[W]]
"""Method, path, and what it does."""

POLL_AT_MOST = 300.0
"""Seconds that a long poll may last."""


def routes_of(world: W, controls: Sequence[Control[W]]) -> list[Route]:
    shared = [Route(path, _endpoint(world, act), methods=[method]) for method, path, act in SHARED]
    return [*shared, *(Route(path, _endpoint(world, act), methods=[method]) for method, path, act in controls)]


def _endpoint(world: W, act: Act[W]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            result = act(world, request, await _body(request))
            answer = await result if asyncio.iscoroutine(result) else result
            world.commit()
            return _json(answer)
        except Refusal as refusal:
            call = world.unnamed_call(request.method, request.url.path)
            refused = world.refused(refusal, call, stored=False)
            return Response(refused.body, refused.status, media_type="application/json")
        except (ValidationError, ValueError, TypeError, KeyError) as failure:
            sentence = f"there is no {failure}" if isinstance(failure, KeyError) else str(failure)
            return _json({"error": sentence}, 400)

    return endpoint


async def _body(request: Request) -> dict[str, Any]:
    """Raises ValueError for anything but an object, and for web pages: a browser must not move even toy money."""
    if "origin" in request.headers:
        raise ValueError("the simulator was asked by a web page, but only programs may control it")
    raw = await request.body()
    body = orjson.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise ValueError(f"the body is {type(body).__name__}, but an object was expected")
    return body


def _json(content: Json, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _add_fault(world: Controlled, _: Request, body: dict[str, Any]) -> Json:
    return world.faults.add(body).listing()


def _list_faults(world: Controlled, _: Request, __: dict[str, Any]) -> Json:
    return {"data": [armed.listing() for armed in world.faults.armed.values()]}


def _clear_faults(world: Controlled, request: Request, __: dict[str, Any]) -> Json:
    return {"cleared": world.faults.clear(request.query_params.get("id"))}


async def _waiting(world: Controlled, request: Request, _: dict[str, Any]) -> Json:
    """Returns at once when enough calls are held, or after `timeout` seconds with those that are."""
    query = request.query_params
    operation, calls = query.get("operation", "*"), int(query.get("count", "1"))
    seconds = min(float(query.get("timeout", "30")), POLL_AT_MOST)
    try:
        held = await asyncio.wait_for(world.gate.wait_until_held(operation, calls), seconds)
    except TimeoutError:
        held = world.gate.waiting(operation)
    return {"data": [call.listing() for call in held]}


def _release(world: Controlled, _: Request, body: dict[str, Any]) -> Json:
    return {"released": world.gate.release(body.get("operation", "*"), body.get("id"))}


def _reword(world: Controlled, _: Request, body: dict[str, Any]) -> Json:
    for name, changes in body.items():
        world.wording.change(name, changes)
    return world.wording.listing()


def _restore_wording(world: Controlled, _: Request, __: dict[str, Any]) -> Json:
    world.wording.forget_changes()
    return world.wording.listing()


def _flush(world: Controlled, _: Request, body: dict[str, Any]) -> Json:
    return {"flushed": world.webhooks.flush(body.get("shuffle_seed"), body.get("types", "*"))}


async def _quiet(world: Controlled, request: Request, _: dict[str, Any]) -> Json:
    seconds = min(float(request.query_params.get("timeout", "30")), POLL_AT_MOST)
    try:
        await asyncio.wait_for(world.webhooks.log.quiet(), seconds)
    except TimeoutError:
        return {"quiet": False, "outstanding": world.webhooks.outstanding}
    return {"quiet": True, "outstanding": 0}


def _requests(world: Controlled, request: Request, _: dict[str, Any]) -> Json:
    """The log of calls, oldest first; `operation` (a glob) and `key` narrow it."""
    operation, key = request.query_params.get("operation", "*"), request.query_params.get("key")
    entries = [entry for entry in world.log if fnmatchcase(entry["operation"], operation) and key in (None, entry["key"])]
    return {"data": entries}


SHARED: tuple[Control[Controlled], ...] = (
    ("POST", "/_sim/faults", _add_fault),
    ("GET", "/_sim/faults", _list_faults),
    ("DELETE", "/_sim/faults", _clear_faults),
    ("GET", "/_sim/waiting", _waiting),
    ("POST", "/_sim/release", _release),
    ("GET", "/_sim/wording", lambda world, _, __: world.wording.listing()),
    ("POST", "/_sim/wording", _reword),
    ("DELETE", "/_sim/wording", _restore_wording),
    ("GET", "/_sim/deliveries", lambda world, _, __: {"data": list(world.webhooks.log.outcomes)}),
    ("POST", "/_sim/deliveries/flush", _flush),
    ("GET", "/_sim/deliveries/quiet", _quiet),
    ("GET", "/_sim/requests", _requests),
    ("GET", "/_sim/health", lambda world, _, __: {"ok": True, "now": world.clock.now()}),
)
