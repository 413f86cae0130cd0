"""Network to a provider on which faults strike."""

import asyncio
import random
from collections.abc import Mapping
from contextvars import Context
from datetime import datetime
from functools import cache
from typing import Any, Protocol

import aiohttp
import orjson
from starlette.routing import compile_path
from starlette.types import ASGIApp

from infrastructure.simulation.faults.edge import answer_of_edge
from infrastructure.simulation.faults.kinds import FaultKind
from infrastructure.simulation.faults.schedule import PlannedFault
from infrastructure.simulation.fleet import OWNER, Process
from infrastructure.simulation.network import (
    TIMEOUT,
    Exchange,
    ReceivedAnswer,
    VirtualNetwork,
)
from infrastructure.simulation.virtual_time import epoch_seconds
from infrastructure.simulators.common.latency import recorded
from infrastructure.simulators.hyperswitch.operations import OPERATIONS as AT_PSP
from infrastructure.simulators.stripe.operations import OPERATIONS as AT_STRIPE

K = FaultKind
EVERYWHERE = (
    K.CRASH_IN_CALL,
    K.REQUEST_LOST,
    K.ANSWER_LOST,
    K.ANSWER_LATE,
    K.RATE_LIMITED,
    K.LOCK_TIMEOUT,
    K.SERVER_ERROR,
    K.UNAVAILABLE,
    K.UNAUTHORIZED,
    K.FORBIDDEN,
    K.TRUNCATED_BODY,
    K.SLOW_DRIP,
)
"""Faults of every request."""
OF_KEYS = (K.KEY_IN_USE, K.STORED_500, K.STORED_500_EXECUTED, K.KEY_EXPIRED)
"""Faults of Stripe's requests that have a key."""
CALLED: Mapping[str, tuple[str, ...]] = {
    "stripe": (
        "transfers.create",
        "reversals.create",
        "transfers.list",
        "transfers.retrieve",
        "reversals.list",
        "payment_intents.retrieve",
        "events.list",
        "account.retrieve",
        "accounts.retrieve",
    ),
    "hyperswitch": (
        "refunds.create",
        "refunds.retrieve",
        "refunds.list",
        "payments.retrieve",
        "disputes.list",
    ),
}
"""Operations that the ledger calls in a run, of each provider."""
LATEST = 45.0
"""Seconds after which no request is executed any more."""


class StruckWorld(Protocol):
    """The part of the world that the network needs."""

    def strike_request(
        self, provider: str, operation: str, kinds: tuple[str, ...]
    ) -> tuple[PlannedFault, random.Random] | None: ...

    def executed(self, provider: str, operation: str, exchange: Exchange) -> None:
        """Note that the provider has executed a request."""

    def crash(self, process: Process, fault: PlannedFault) -> None: ...

    def forget_keys(self, fault: PlannedFault) -> None: ...

    def arm(self, action: dict[str, Any], key: str) -> None: ...


@cache
def _routes(provider: str) -> list[tuple[str, Any, str]]:
    operations = AT_STRIPE if provider == "stripe" else AT_PSP
    return [(one.method, compile_path(one.path)[0], one.name) for one in operations]


@cache
def _operation(provider: str, method: str, path: str) -> str:
    for known, pattern, name in _routes(provider):
        if known == method and pattern.match(path):
            return name
    return "unknown"


class FaultyNetwork(VirtualNetwork):
    """The way to one provider."""

    def __init__(self, app: ASGIApp, seed: str, world: StruckWorld, provider: str) -> None:
        super().__init__(app, seed)
        self._world, self._provider = world, provider

    def _named(self, exchange: Exchange) -> str:
        return _operation(self._provider, exchange.method, exchange.path)

    async def _execute(self, exchange: Exchange) -> None:
        await super()._execute(exchange)
        self._world.executed(self._provider, self._named(exchange), exchange)

    async def _answer(self, exchange: Exchange) -> ReceivedAnswer:
        seconds = recorded(exchange.operation, self._chance.random()) / 1000
        there = seconds * self._chance.random()
        name = self._named(exchange)
        key = exchange.key if self._provider == "stripe" else None
        listed = (K.STALE_LIST,) if name.endswith(".list") else ()
        kinds = (*EVERYWHERE, *(OF_KEYS if key else ()), *listed)
        await asyncio.sleep(there)
        struck = self._world.strike_request(self._provider, name, kinds)
        if struck is not None and (early := await self._before(exchange, *struck)) is not None:
            return early
        await self._carry_out(exchange)
        await asyncio.sleep(seconds - there)
        if not exchange.status:
            raise aiohttp.ServerDisconnectedError
        answer = ReceivedAnswer(exchange.body, exchange.status, exchange.headers)
        return answer if struck is None else await self._after(answer, *struck)

    async def _before(
        self, exchange: Exchange, fault: PlannedFault, chance: random.Random
    ) -> ReceivedAnswer | None:
        """Strike before the provider gets the request. Returns an answer of the edge, if any."""
        match fault.kind:
            case K.REQUEST_LOST:
                if chance.random() < 0.5:
                    raise aiohttp.ClientOSError("connection reset")
                await asyncio.Event().wait()
            case K.ANSWER_LATE:
                asyncio.get_running_loop().call_later(
                    chance.uniform(1, LATEST), self._carry_out_late, exchange, context=Context()
                )
                await asyncio.Event().wait()
            case K.STORED_500 | K.STORED_500_EXECUTED:
                self._arm(exchange, fault, chance)
            case K.CRASH_IN_CALL if (process := OWNER.get()) is not None and chance.random() < 0.5:
                self._world.crash(process, fault)
        return answer_of_edge(self._provider, fault.kind, chance)

    async def _after(
        self, answer: ReceivedAnswer, fault: PlannedFault, chance: random.Random
    ) -> ReceivedAnswer:
        """Strike when the provider has answered."""
        match fault.kind:
            case K.ANSWER_LOST:
                raise aiohttp.ServerDisconnectedError
            case K.KEY_EXPIRED:
                self._world.forget_keys(fault)
                raise aiohttp.ServerDisconnectedError
            case K.TRUNCATED_BODY:
                return answer._replace(body=answer.body[: int(len(answer.body) * chance.random())])
            case K.SLOW_DRIP:
                await asyncio.sleep(chance.uniform(1, 2 * TIMEOUT))
            case K.STALE_LIST:
                return answer._replace(body=_stale(answer.body, epoch_seconds() - fault.seconds))
            case K.CRASH_IN_CALL if (process := OWNER.get()) is not None:
                self._world.crash(process, fault)
        return answer

    def _carry_out_late(self, exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(self._carry_out(exchange))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _arm(self, exchange: Exchange, fault: PlannedFault, chance: random.Random) -> None:
        """Let the simulator itself answer this request with a fault."""
        assert exchange.key is not None
        action: dict[str, Any]
        match fault.kind:
            case K.STORED_500:
                action = {"kind": "stored_500_not_created"}
            case _:
                later = chance.choice((0.0, chance.uniform(1, LATEST)))
                action = {"kind": "stored_500_then_created", "seconds": later}
        self._world.arm(action, exchange.key)


def _stale(body: bytes, until: float) -> bytes:
    """Return the list without the objects that were created after `until`."""
    listed = orjson.loads(body)
    if isinstance(listed, list):
        return orjson.dumps([one for one in listed if _created(one) <= until])
    if not isinstance(listed.get("data"), list):
        return body
    kept = [one for one in listed["data"] if _created(one) <= until]
    for counted in ("count", "total_count"):
        if counted in listed:
            listed[counted] -= len(listed["data"]) - len(kept)
    return orjson.dumps({**listed, "data": kept})


def _created(listed: dict[str, Any]) -> float:
    created = listed.get("created", listed.get("created_at", 0))
    return datetime.fromisoformat(created).timestamp() if isinstance(created, str) else created
