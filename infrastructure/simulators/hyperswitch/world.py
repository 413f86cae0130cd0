"""One simulated Hyperswitch: everything it remembers and everything that can be done to it. In memory only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import asdict

import orjson

from infrastructure.simulators.common.answer import Answer
from infrastructure.simulators.common.breakpoints import Gate
from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.fault_actions import Error
from infrastructure.simulators.common.faults import FaultBoard
from infrastructure.simulators.common.ids import IdSequence
from infrastructure.simulators.common.refusal import Refusal, Wording, fill
from infrastructure.simulators.common.request import Call, LogEntry
from infrastructure.simulators.hyperswitch.books import Books
from infrastructure.simulators.hyperswitch.catalogue import CATALOGUE
from infrastructure.simulators.hyperswitch.config import Behaviour, HyperswitchConfig
from infrastructure.simulators.hyperswitch.webhooks import Webhooks
from infrastructure.simulators.stripe.rate_limits import ObjectLocks, TokenBucket

FAULTS_OF_KEYS = frozenset(("stored_500_then_created", "stored_500_not_created", "drop_key", "duplicate_ignoring_key"))
"""Hyperswitch keeps no answers under a key, so these cannot happen to it."""


class HyperswitchWorld:
    """Shared by the API and the control routes of one app. Everything happens in one event loop."""

    def __init__(self, config: HyperswitchConfig) -> None:
        self.config = config
        self.clock = SimClock(config.virtual_start)
        self.ids = IdSequence(config.seed)
        self.books = Books(config, self.clock, self.ids)
        self.locks = ObjectLocks(config.lock_wait)
        self.faults = FaultBoard(FAULTS_OF_KEYS)
        self.gate = Gate()
        self.webhooks = Webhooks(config.seed, self.clock)
        self.log: deque[LogEntry] = deque(maxlen=config.request_log_limit)
        self.epoch = 0
        """Counts resets."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._equip()

    def _equip(self) -> None:
        config = self.config
        self.wording = Wording(CATALOGUE, config.wording)
        self.behaviours = {"payments": config.payments, "refunds": config.refunds}
        self._bucket = None if config.rate is None else TokenBucket(self.clock, config.rate)
        for fault in config.faults:
            self.faults.add(fault)
        if config.webhook is not None:
            self.webhooks.configure(dict(config.webhook))

    def admit(self) -> None:
        """Raises Refusal above the limit."""
        if self._bucket is not None and not self._bucket.take():
            raise Refusal("rate_limited")

    def let_become(self, kind: str, settle: Callable[[str], None]) -> None:
        """What becomes of a new payment or refund by itself, now or later."""
        behaviour = self.behaviours[kind]
        if behaviour.becomes is None:
            return
        if behaviour.after is None:
            settle(behaviour.becomes)
            return
        name, loop = self.ids.next("timer"), asyncio.get_running_loop()
        self._timers[name] = loop.call_later(behaviour.after, self._become, name, settle, behaviour.becomes)

    def _become(self, name: str, settle: Callable[[str], None], status: str) -> None:
        del self._timers[name]
        settle(status)
        self.commit()

    def behave(self, kind: str, behaviour: Behaviour) -> None:
        """From now on. Raises KeyError for anything but `payments` and `refunds`."""
        if kind not in self.behaviours:
            raise KeyError(kind)
        self.behaviours[kind] = behaviour

    def commit(self) -> None:
        """Hand the events since the last commit to the webhooks."""
        events = self.books.announced[:]
        self.books.announced.clear()
        for event in events:
            self.webhooks.enlist(event)
        self.webhooks.wake()

    def unnamed_call(self, method: str, path: str) -> Call:
        """A call of no operation, for the answers that need one."""
        return Call("none", method, path, {}, self.ids.next("req"), self.clock.now(), self.clock.steady())

    def refused(self, refusal: Refusal, call: Call, stored: bool) -> Answer:
        """The answer to a refusal, as it is worded now. Nothing is ever `stored` here."""
        shape = self.wording.shape(refusal.name)
        return _error(shape.status, shape.type, shape.code, fill(shape.message, refusal.values))

    def injected(self, action: Error, call: Call) -> Answer:
        """The error that a fault asks for."""
        return _error(action.status, action.type, action.code, action.message)

    def remember(self, call: Call, sent: dict[str, object], outcome: str, status: int | None = None) -> None:
        """One line of the request log; calls that got no answer have no status."""
        self.log.append(
            {
                "operation": call.operation,
                "request_id": call.request_id,
                "key": call.key,
                "target": call.target,
                **sent,
                "status": status,
                "outcome": outcome,
                "at": call.at,
                "seconds": round(self.clock.steady() - call.started, 6),
            }
        )

    def ledger(self) -> dict[str, object]:
        books = self.books
        return {
            "payments": [asdict(payment) for payment in books.payments.values()],
            "refunds": [asdict(refund) for refund in books.refunds.values()],
            "disputes": [asdict(dispute) for dispute in books.disputes.values()],
            "violations": list(books.violations()),
        }

    def reset(self) -> None:
        """As freshly started."""
        self._begin_epoch()
        self.faults.clear()
        self.log.clear()
        self.books.clear()
        self.webhooks.clear()
        self.clock.rewind()
        self.ids.counters.clear()
        self._equip()

    def shut(self) -> None:
        """Nothing waits any more: not at the gate, not in a latency, not in a long poll."""
        self._begin_epoch()
        self.gate.close()
        self.webhooks.log.shut()

    async def close(self) -> None:
        self.shut()
        await self.webhooks.close()

    def _begin_epoch(self) -> None:
        """Calls that are being held vanish instead of changing a world that is no longer theirs."""
        self.epoch += 1
        self.gate.release()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


def _error(status: int, type_: str, code: str | None, message: str) -> Answer:
    error = {"type": type_, "message": message, "code": code}
    return Answer(status, orjson.dumps({"error": {name: value for name, value in error.items() if value is not None}}))
