"""`/_sim/*`: what a test or a demo does to the simulated Stripe from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeAlias

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infrastructure.stripe.simulator import accounts, inspection
from infrastructure.stripe.simulator.books import DASHBOARD
from infrastructure.stripe.simulator.charges import register_charge
from infrastructure.stripe.simulator.errors import Refusal
from infrastructure.stripe.simulator.purse import PLATFORM
from infrastructure.stripe.simulator.render import account_json, event_json, reversal_json, transfer_json
from infrastructure.stripe.simulator.transfers import create_reversal, create_transfer
from infrastructure.stripe.simulator.world import World

Json: TypeAlias = Any
Act: TypeAlias = Callable[[World, Request, dict[str, Any]], "Json | Awaitable[Json]"]

POLL_AT_MOST = 300.0
"""Seconds that a long poll may last."""


def control_routes(world: World) -> list[Route]:
    return [Route(path, _endpoint(world, act), methods=[method]) for method, path, act in CONTROLS]


def _endpoint(world: World, act: Act) -> Callable[[Request], Awaitable[Response]]:
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


def _holder(body: dict[str, Any]) -> str:
    return str(body.get("account") or PLATFORM)


# --- money and accounts -----------------------------------------------------------------------------------------------


def _fund(world: World, _: Request, body: dict[str, Any]) -> Json:
    bucket = "pending" if body.get("pending") else "available"
    return {"amount": accounts.fund(world.books, _holder(body), body["currency"], body["amount"], bucket)}


def _drain(world: World, _: Request, body: dict[str, Any]) -> Json:
    return {"amount": accounts.drain(world.books, _holder(body), body["currency"], body.get("amount"))}


def _pay_out(world: World, _: Request, body: dict[str, Any]) -> Json:
    return accounts.pay_out(world.books, body["account"], body["currency"], body.get("amount"))


def _change_account(world: World, _: Request, body: dict[str, Any]) -> Json:
    id_ = body.pop("id")
    return account_json(accounts.change_account(world.books, id_, body))


def _register_charge(world: World, _: Request, body: dict[str, Any]) -> Json:
    return asdict(register_charge(world.books, body.pop("id"), **body))


def _reverse(world: World, _: Request, body: dict[str, Any]) -> Json:
    """A reversal made in the dashboard, or, with `source_refund`, by a refund: not ours, no key, no metadata."""
    transfer = world.books.transfers.by_id[body["transfer"]]
    params = {name: body[name] for name in ("amount", "metadata") if body.get(name) is not None}
    reversal = create_reversal(world.books, transfer, params, DASHBOARD, body.get("source_refund"))
    return reversal_json(world.books, reversal)


def _transfer(world: World, _: Request, body: dict[str, Any]) -> Json:
    return transfer_json(world.books, create_transfer(world.books, body, DASHBOARD))


def _announce(world: World, _: Request, body: dict[str, Any]) -> Json:
    previous, account = body.get("previous_attributes"), body.get("account")
    event = world.books.announce(body["type"], body["object"], DASHBOARD, previous, account)
    world.commit()
    return event_json(world.books, event)


def _advance(world: World, _: Request, body: dict[str, Any]) -> Json:
    return {"now": world.advance(body["seconds"])}


# --- faults, wording and tuning -----------------------------------------------------------------------------------------------


def _add_fault(world: World, _: Request, body: dict[str, Any]) -> Json:
    return world.faults.add(body).listing()


def _list_faults(world: World, _: Request, __: dict[str, Any]) -> Json:
    return {"data": [armed.listing() for armed in world.faults.armed.values()]}


def _clear_faults(world: World, request: Request, __: dict[str, Any]) -> Json:
    return {"cleared": world.faults.clear(request.query_params.get("id"))}


async def _waiting(world: World, request: Request, _: dict[str, Any]) -> Json:
    """Returns at once when enough calls are held, or after `timeout` seconds with those that are."""
    query = request.query_params
    operation, calls = query.get("operation", "*"), int(query.get("count", "1"))
    seconds = min(float(query.get("timeout", "30")), POLL_AT_MOST)
    try:
        held = await asyncio.wait_for(world.gate.wait_until_held(operation, calls), seconds)
    except TimeoutError:
        held = world.gate.waiting(operation)
    return {"data": [call.listing() for call in held]}


def _release(world: World, _: Request, body: dict[str, Any]) -> Json:
    return {"released": world.gate.release(body.get("operation", "*"), body.get("id"))}


def _reword(world: World, _: Request, body: dict[str, Any]) -> Json:
    for name, changes in body.items():
        world.wording.change(name, changes)
    return world.wording.listing()


def _restore_wording(world: World, _: Request, __: dict[str, Any]) -> Json:
    world.wording.forget_changes()
    return world.wording.listing()


def _tune(world: World, _: Request, body: dict[str, Any]) -> Json:
    world.tune(body)
    return world.tuning.model_dump(mode="json")


# --- webhooks ---------------------------------------------------------------------------------------------------------


def _add_endpoint(world: World, _: Request, body: dict[str, Any]) -> Json:
    return world.webhooks.add(body).model_dump(mode="json")


def _change_endpoint(world: World, request: Request, body: dict[str, Any]) -> Json:
    return world.webhooks.change(request.path_params["id"], body).model_dump(mode="json")


async def _remove_endpoint(world: World, request: Request, _: dict[str, Any]) -> Json:
    await world.webhooks.remove(request.path_params["id"])
    return {"removed": request.path_params["id"]}


def _flush(world: World, _: Request, body: dict[str, Any]) -> Json:
    return {"flushed": world.webhooks.flush(body.get("shuffle_seed"))}


async def _quiet(world: World, request: Request, _: dict[str, Any]) -> Json:
    seconds = min(float(request.query_params.get("timeout", "30")), POLL_AT_MOST)
    try:
        await asyncio.wait_for(world.webhooks.quiet(), seconds)
    except TimeoutError:
        return {"quiet": False, "outstanding": world.webhooks.outstanding}
    return {"quiet": True, "outstanding": 0}


# --- looking inside, and time travel ----------------------------------------------------------------------------------


async def _reset(world: World, _: Request, __: dict[str, Any]) -> Json:
    world.reset()
    await world.webhooks.dispose()
    return {"reset": True}


def _take_snapshot(world: World, request: Request, _: dict[str, Any]) -> Json:
    return {"records": world.take_snapshot(request.path_params["name"])}


async def _restore_snapshot(world: World, request: Request, _: dict[str, Any]) -> Json:
    world.restore_snapshot(request.path_params["name"])
    await world.webhooks.dispose()
    return {"restored": request.path_params["name"]}


CONTROLS: tuple[tuple[str, str, Act], ...] = (
    ("POST", "/_sim/fund", _fund),
    ("POST", "/_sim/drain", _drain),
    ("POST", "/_sim/payouts", _pay_out),
    ("POST", "/_sim/accounts", _change_account),
    ("POST", "/_sim/charges", _register_charge),
    ("POST", "/_sim/reversals", _reverse),
    ("POST", "/_sim/transfers", _transfer),
    ("POST", "/_sim/events", _announce),
    ("POST", "/_sim/clock", _advance),
    ("POST", "/_sim/faults", _add_fault),
    ("GET", "/_sim/faults", _list_faults),
    ("DELETE", "/_sim/faults", _clear_faults),
    ("GET", "/_sim/waiting", _waiting),
    ("POST", "/_sim/release", _release),
    ("GET", "/_sim/wording", lambda world, _, __: world.wording.listing()),
    ("POST", "/_sim/wording", _reword),
    ("DELETE", "/_sim/wording", _restore_wording),
    ("GET", "/_sim/tuning", lambda world, _, __: world.tuning.model_dump(mode="json")),
    ("PATCH", "/_sim/tuning", _tune),
    ("GET", "/_sim/webhook_endpoints", lambda world, _, __: {"data": world.webhooks.listing()}),
    ("POST", "/_sim/webhook_endpoints", _add_endpoint),
    ("PATCH", "/_sim/webhook_endpoints/{id}", _change_endpoint),
    ("DELETE", "/_sim/webhook_endpoints/{id}", _remove_endpoint),
    ("GET", "/_sim/deliveries", lambda world, _, __: {"data": list(world.webhooks.outcomes)}),
    ("POST", "/_sim/deliveries/flush", _flush),
    ("GET", "/_sim/deliveries/quiet", _quiet),
    ("GET", "/_sim/ledger", lambda world, _, __: inspection.ledger(world)),
    ("GET", "/_sim/requests", inspection.requests),
    ("GET", "/_sim/invariants", lambda world, _, __: inspection.invariants(world)),
    ("GET", "/_sim/health", lambda world, _, __: {"ok": True, "now": world.clock.now()}),
    ("POST", "/_sim/reset", _reset),
    ("POST", "/_sim/snapshots/{name}", _take_snapshot),
    ("POST", "/_sim/snapshots/{name}/restore", _restore_snapshot),
)
