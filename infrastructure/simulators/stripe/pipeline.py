"""The order in which Stripe processes a call. This order is what makes the simulator faithful: see each step's comment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from infrastructure.simulators.common.answer import Answer
from infrastructure.simulators.common.connection import Connection, deliver
from infrastructure.simulators.common.fault_actions import ForgetfulKeys, Mangle, Point, Stored500
from infrastructure.simulators.common.fault_injection import answered, strike
from infrastructure.simulators.common.faults import Plan
from infrastructure.simulators.common.latency import recorded
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import AnswerNow, Call, Vanish
from infrastructure.simulators.stripe.authentication import authenticate
from infrastructure.simulators.stripe.journal import kept_json
from infrastructure.simulators.stripe.operations import Operation
from infrastructure.simulators.stripe.parameters import read_params
from infrastructure.simulators.stripe.rows import KeyEntry
from infrastructure.simulators.stripe.world import REPLAYED, World


class Passage:
    """One call on its way; what the steps share."""

    __slots__ = ("call", "connection", "epoch", "operation", "original", "plan", "world")

    def __init__(self, world: World, operation: Operation, call: Call, connection: Connection) -> None:
        self.world = world
        self.operation = operation
        self.call = call
        self.connection = connection
        self.plan: Plan = world.faults.plan(call)
        self.epoch = world.epoch
        self.original: str | None = None
        """The request that first used the key, when its answer is repeated."""

    async def answer(self) -> tuple[Answer, list[Mangle]]:
        """The answer, and how it is to be spoilt on its way. Raises Vanish when the connection ends instead."""
        return await answered(self.world, self.call, self.plan, self.connection, self._processed)

    async def _strike(self, point: Point) -> list[object]:
        return list(await strike(self.world, self.call, self.plan, point, self.connection))

    async def _processed(self) -> Answer:
        if self.plan:
            await self._strike(Point.ARRIVAL)
        authenticate(self.world, self.operation, self.call)
        with self.world.limits.admission(self.call):
            if self.plan:
                await self._strike(Point.ADMISSION)
            return await (self._written() if self.operation.method == "POST" else self._read())

    async def _read(self) -> Answer:
        self.call.params = read_params(self.operation.accepts, self.call.form)
        if self.plan:
            await self._strike(Point.BEFORE_EXECUTION)
        await self._take_time()
        if self.plan:
            await self._strike(Point.BEFORE_COMMIT)
        self.world.settle()
        body = orjson.dumps(self.operation.execute(self.world.books_of(self.call), self.call))
        self.world.commit()
        return Answer(200, body)

    async def _written(self) -> Answer:
        stored = await self._looked_up()
        if stored is not None:
            return stored
        self.call.params = read_params(self.operation.accepts, self.call.form)
        self.world.settle()
        if self.operation.check is not None:
            self.operation.check(self.world.books_of(self.call), self.call)
        if self.plan:
            await self._strike(Point.BEFORE_EXECUTION)
        with self._executing() as entry:
            async with self.world.locks.holding(self.call.transfer):
                answer = await self._executed(entry)
            if self.plan:
                await self._strike(Point.AFTER_COMMIT)
            return answer

    async def _looked_up(self) -> Answer | None:
        """The stored answer of an earlier call with this key."""
        ignoring = False
        for action in await self._strike(Point.LOOK_UP) if self.plan else ():
            if isinstance(action, ForgetfulKeys):
                self.world.keys.forget(self.call)
                ignoring = action.kind == "duplicate_ignoring_key"
        if self.call.key is None or ignoring:
            return None
        entry = self.world.keys.look_up(self.call)
        if entry is None:
            return None
        self.original = entry.request_id
        return Answer(entry.status, entry.body, {REPLAYED: "true", "Stripe-Should-Retry": "false"})

    @contextmanager
    def _executing(self) -> Iterator[KeyEntry | None]:
        """Meanwhile the same key is answered 409. Without a kept answer the key is free again afterwards."""
        if self.call.key is None:
            yield None
            return
        entry = self.world.keys.begin(self.call)
        try:
            yield entry
        finally:
            self.world.keys.finish(entry)

    async def _executed(self, entry: KeyEntry | None) -> Answer:
        """Carry it out and commit the change, its events and its answer together."""
        await self._take_time()
        try:
            left = await self._strike(Point.BEFORE_COMMIT) if self.plan else []
        except AnswerNow as end:
            if end.stored:
                self._keep(entry, end.answer)
            raise
        if self.epoch != self.world.epoch:  # reset or restored meanwhile: this call belongs to another world
            raise Vanish(reset=True)
        for action in left:
            if isinstance(action, Stored500):
                return self._stored_500(entry, action)
        answer = self._carried_out()
        self._keep(entry, answer)
        return answer

    async def _take_time(self) -> None:
        """As long as real Stripe takes, if so tuned. What is refused before it is executed, or repeated, comes at once."""
        if self.world.tuning.latency == "recorded":
            milliseconds = recorded(self.operation.name, self.world.chance.random()) * self.world.tuning.latency_scale
            await self.world.gate.pause(milliseconds / 1000)

    def _carried_out(self) -> Answer:
        try:
            body = kept_json(self.operation.execute(self.world.books_of(self.call), self.call))
        except Refusal as refusal:
            return self.world.refused(refusal, self.call, stored=True)
        return Answer(200, body, {"Stripe-Should-Retry": "false"})

    def _keep(self, entry: KeyEntry | None, answer: Answer, announce_after: float = 0.0) -> None:
        if entry is not None:
            self.world.keys.keep(entry, answer)
        self.world.commit(announce_after)

    def _stored_500(self, entry: KeyEntry | None, action: Stored500) -> Answer:
        """Stripe's indeterminate answer: repeated for ever, whatever really happened or still will."""
        failure = self.world.refused(Refusal("server_fault"), self.call, stored=True)
        if action.kind == "stored_500_then_created" and action.seconds == 0:
            self._carried_out()
        elif action.kind == "stored_500_then_created":
            self.world.agenda.after(action.seconds, self._carried_out_late)
        self._keep(entry, failure, action.announce_after)
        return failure

    def _carried_out_late(self) -> None:
        self._carried_out()
        self.world.commit()


async def dispatch(world: World, operation: Operation, call: Call, connection: Connection) -> None:
    """Process the call, answer it or let it fail as planned, and write it into the log."""
    passage = Passage(world, operation, call, connection)
    try:
        answer, spoilt = await passage.answer()
    except Vanish as end:
        world.remember(call, f"connection {end}")
        await connection.end(end.reset)
        return
    world.remember(call, spoilt[0].kind if spoilt else "answered", answer)
    answer.headers = stripe_headers(world, call, answer.headers, passage.original)
    await deliver(connection, answer, spoilt)


async def refuse(world: World, call: Call, refusal: Refusal, connection: Connection) -> None:
    """Answer a call that cannot even be read."""
    answer = world.refused(refusal, call, stored=False)
    world.remember(call, "answered", answer)
    answer.headers = stripe_headers(world, call, answer.headers, None)
    await connection.answer(answer)


def stripe_headers(world: World, call: Call, extra: dict[str, str], original: str | None) -> dict[str, str]:
    headers = {"Request-Id": call.request_id, "Stripe-Version": call.version or world.config.api_version, **extra}
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
        headers["Original-Request"] = original or call.request_id
    if call.account is not None:
        headers["Stripe-Account"] = call.account
    return headers
