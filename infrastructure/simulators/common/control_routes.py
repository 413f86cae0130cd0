"""The `/_sim/*` routes that all simulators share: faults, wording, deliveries, clock, request log,
reset."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeAlias, TypeVar

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.world import SimulatorWorld

Json: TypeAlias = Any
Body: TypeAlias = dict[str, Any]
AnyWorld: TypeAlias = SimulatorWorld[Any]
World = TypeVar("World", bound=SimulatorWorld[Any])
Act: TypeAlias = Callable[[World, Request, Body], "Json | Awaitable[Json]"]
ControlRoute: TypeAlias = tuple[str, str, Act[World]]
"""Method, path, and function."""

POLL_AT_MOST = 300.0
"""Longest duration of a long poll in seconds."""


def routes_of(world: World, controls: Sequence[ControlRoute[World]]) -> list[Route]:
    """Return the routes of a simulator's control; `GET /_sim` lists them."""
    shared = [Route(path, _endpoint(world, act), methods=[method]) for method, path, act in SHARED]
    every = sorted({(path, method) for method, path, _ in (*SHARED, *controls)})
    listing = {"data": [f"{method} {path}" for path, method in every]}
    return [
        Route("/_sim", _endpoint(world, lambda *_: listing), methods=["GET"]),
        *shared,
        *(Route(path, _endpoint(world, act), methods=[method]) for method, path, act in controls),
    ]


def _endpoint(world: World, act: Act[World]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            result = act(world, request, await _body(request))
            answer = await result if asyncio.iscoroutine(result) else result
            world.commit()
            return _json(answer)
        except Refusal as refusal:
            unrouted = world.new_request("none", request.method, request.url.path)
            refused = world.refused(refusal, unrouted, stored=False)
            return Response(refused.body, refused.status, media_type="application/json")
        except (ValidationError, ValueError, TypeError, KeyError) as failure:
            message = f"there is no {failure}" if isinstance(failure, KeyError) else str(failure)
            return _json({"error": message}, 400)

    return endpoint


async def _body(request: Request) -> Body:
    """Read the body. Raises ValueError for anything but an object, and for web pages: no browser
    may move even toy money."""
    if "origin" in request.headers:
        raise ValueError(
            "the request comes from a web page, but only programs may control the simulator"
        )
    raw = await request.body()
    body = orjson.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise ValueError(f"the body is {type(body).__name__}, but an object was expected")
    return body


def _json(content: Json, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _seconds(request: Request) -> float:
    return min(float(request.query_params.get("timeout", "30")), POLL_AT_MOST)


def _list_faults(world: AnyWorld, _: Request, __: Body) -> Json:
    return {"data": [armed.listing() for armed in world.faults.armed.values()]}


def _clear_faults(world: AnyWorld, request: Request, _: Body) -> Json:
    return {"cleared": world.faults.clear(request.query_params.get("id"))}


async def _stopped(world: AnyWorld, request: Request, _: Body) -> Json:
    """Answer as soon as enough requests are stopped, or after `timeout` seconds with those that
    are."""
    operation, requests = (
        request.query_params.get("operation", "*"),
        int(request.query_params.get("count", "1")),
    )
    try:
        stopped = await asyncio.wait_for(
            world.breakpoints.wait_until_stopped(operation, requests), _seconds(request)
        )
    except TimeoutError:
        stopped = world.breakpoints.stopped(operation)
    return {"data": [one.listing() for one in stopped]}


def _release(world: AnyWorld, _: Request, body: Body) -> Json:
    return {"released": world.breakpoints.release(body.get("operation", "*"), body.get("id"))}


def _reword(world: AnyWorld, _: Request, body: Body) -> Json:
    for name, changes in body.items():
        world.wording.change(name, changes)
    return world.wording.listing()


def _restore_wording(world: AnyWorld, _: Request, __: Body) -> Json:
    world.wording.forget_changes()
    return world.wording.listing()


def _flush(world: AnyWorld, _: Request, body: Body) -> Json:
    return {"flushed": world.webhooks.flush(body.get("shuffle_seed"), body.get("types", "*"))}


async def _quiet(world: AnyWorld, request: Request, _: Body) -> Json:
    try:
        await asyncio.wait_for(world.webhooks.log.quiet(), _seconds(request))
    except TimeoutError:
        return {"quiet": False, "outstanding": world.webhooks.outstanding}
    return {"quiet": True, "outstanding": 0}


def _requests(world: AnyWorld, request: Request, _: Body) -> Json:
    """Return the request log, oldest first; `operation` (a glob) and `key` narrow the selection."""
    operation, key = request.query_params.get("operation", "*"), request.query_params.get("key")
    entries = [
        entry
        for entry in world.log
        if fnmatchcase(entry["operation"], operation) and key in (None, entry["key"])
    ]
    return {"data": entries}


async def _reset(world: AnyWorld, _: Request, __: Body) -> Json:
    world.reset()
    await world.webhooks.dispose()
    return {"reset": True}


SHARED: tuple[ControlRoute[AnyWorld], ...] = (
    ("POST", "/_sim/faults", lambda world, _, body: world.faults.add(body).listing()),
    ("GET", "/_sim/faults", _list_faults),
    ("DELETE", "/_sim/faults", _clear_faults),
    ("GET", "/_sim/waiting", _stopped),
    ("POST", "/_sim/release", _release),
    ("GET", "/_sim/wording", lambda world, _, __: world.wording.listing()),
    ("POST", "/_sim/wording", _reword),
    ("DELETE", "/_sim/wording", _restore_wording),
    ("GET", "/_sim/deliveries", lambda world, _, __: {"data": list(world.webhooks.log.outcomes)}),
    ("POST", "/_sim/deliveries/flush", _flush),
    ("GET", "/_sim/deliveries/quiet", _quiet),
    ("GET", "/_sim/requests", _requests),
    ("POST", "/_sim/clock", lambda world, _, body: {"now": world.advance(body["seconds"])}),
    ("GET", "/_sim/ledger", lambda world, _, __: world.ledger()),
    ("POST", "/_sim/reset", _reset),
    ("GET", "/_sim/health", lambda world, _, __: {"ok": True, "now": world.clock.now()}),
)
