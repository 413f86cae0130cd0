"""One simulated Stripe: everything it remembers and everything that can be done to it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from infrastructure.simulators.common.answer import Answer
from infrastructure.simulators.common.breakpoints import Gate
from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.fault_actions import Error
from infrastructure.simulators.common.faults import FaultBoard
from infrastructure.simulators.common.ids import IdSequence
from infrastructure.simulators.common.refusal import Refusal, Wording
from infrastructure.simulators.common.request import Call, LogEntry
from infrastructure.simulators.common.scheduler import Agenda
from infrastructure.simulators.stripe.books import Books
from infrastructure.simulators.stripe.charges import settle_due_charges
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.errors import CATALOGUE, error_body
from infrastructure.simulators.stripe.idempotency import KeyRing
from infrastructure.simulators.stripe.journal import Journal, Record, kept_json, of_kind
from infrastructure.simulators.stripe.rate_limits import Limits, ObjectLocks
from infrastructure.simulators.stripe.rows import KeyEntry
from infrastructure.simulators.stripe.runtime_settings import Tuning
from infrastructure.simulators.stripe.state_file import StateFile
from infrastructure.simulators.stripe.webhooks import Webhooks

REPLAYED = "Idempotent-Replayed"
LIMITED_BY = "Stripe-Rate-Limited-Reason"


class World:
    """Shared by the API and the control routes of one app. Everything happens in one event loop."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.file = None if config.state_file is None else StateFile(config.state_file)
        self.journal = Journal(None if self.file is None else self.file.write)
        self.tuning = Tuning.of(config)
        self.clock = SimClock(config.virtual_start, config.clock)
        self.chance = random.Random(config.seed)
        self.agenda = Agenda(self.clock)
        self.ids = IdSequence(config.seed)
        self.books = Books(config, self.clock, self.ids, self.journal)
        self._other_mode = Books(_empty_twin(config), self.clock, self.ids, Journal())
        self.keys = KeyRing(self.clock, self.journal, config.idempotency_ttl)
        self.locks = ObjectLocks(config.lock_wait)
        self.limits = Limits(self.tuning, self.clock)
        self.faults = FaultBoard()
        self.gate = Gate()
        self.wording = Wording(CATALOGUE, config.wording)
        self.webhooks = Webhooks(self.books, self.journal, config)
        self.log: deque[LogEntry] = deque(maxlen=config.request_log_limit)
        self.epoch = 0
        """Counts resets and restorations."""
        self.snapshots: dict[str, list[Record]] = {}
        self._equip()
        if self.file is not None and self._load(self.file.read()):
            self.ids.skip_unwritten()
            self.journal.commit()

    def _equip(self) -> None:
        for fault in self.config.faults:
            self.faults.add(fault)
        for endpoint in self.config.webhook_endpoints:
            self.webhooks.add(endpoint)

    def commit(self, announce_after: float = 0.0) -> None:
        """Make the changes since the last commit durable, all or none, and hand their events to the webhooks."""
        if not self.books.announced and not self.journal:
            return
        self.journal.note("counters", "ids", self.ids.counters)
        self.journal.note("counters", "clock", self.clock.offset)
        events = self.books.announced[:]
        self.books.announced.clear()
        for event in events:
            self.webhooks.enlist(event, announce_after)
        self.journal.commit()
        self.webhooks.wake()

    def settle(self) -> None:
        """Let happen what is due by now."""
        self.agenda.catch_up()
        settle_due_charges(self.books)

    def advance(self, seconds: float) -> float:
        """Put the clock forward; what became due meanwhile happens. Raises ValueError on a negative step."""
        now = self.clock.advance(seconds)
        self.settle()
        self.journal.note("counters", "clock", self.clock.offset)
        self.webhooks.wake()
        return now

    def tune(self, changes: Mapping[str, Any]) -> None:
        """Raises ValueError for an unknown setting or a bad value."""
        self.tuning = self.tuning.changed(changes)
        self.limits.tune(self.tuning)

    def books_of(self, call: Call) -> Books:
        """What the call's key can see: in the other mode there is nothing."""
        return self._other_mode if call.other_mode else self.books

    def unnamed_call(self, method: str, path: str) -> Call:
        """A call of no operation, for the answers that need one."""
        return Call("none", method, path, {}, self.ids.next("req"), self.clock.now(), self.clock.steady())

    def refused(self, refusal: Refusal, call: Call, stored: bool) -> Answer:
        """The answer to a refusal, as it is worded now."""
        shape = self.wording.shape(refusal.name)
        if call.other_mode and self.books.has(refusal.values.get("id")):
            shape = replace(shape, message=shape.message + self.wording.shape("exists_in_other_mode").message)
        modes = {"mode": _mode(self.config.livemode), "key_mode": _mode(self.config.livemode != call.other_mode)}
        values = {**modes, **refusal.values, "request_id": call.request_id}
        body = kept_json(error_body(shape, values, call.request_id))
        headers = {}
        should_retry = shape.should_retry if shape.should_retry is not None or not stored else "false"
        if should_retry:
            headers["Stripe-Should-Retry"] = should_retry
        if "reason" in refusal.values:
            headers[LIMITED_BY] = str(refusal.values["reason"])
        return Answer(shape.status, body, headers)

    def injected(self, action: Error, call: Call) -> Answer:
        """The error that a fault asks for."""
        error = {"type": action.type, "code": action.code, "message": action.message, "param": action.param}
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{call.request_id}"
        body = orjson.dumps({"error": {name: value for name, value in error.items() if value is not None}})
        return Answer(action.status, body, {"Stripe-Should-Retry": "false"} if action.stored else {})

    def remember(self, call: Call, outcome: str, answer: Answer | None = None) -> None:
        """One line of the request log; calls that got no answer have no status."""
        headers = answer.headers if answer else {}
        self.log.append(
            {
                "operation": call.operation,
                "request_id": call.request_id,
                "key": call.key,
                "account": call.account,
                "transfer": call.transfer,
                "destination": call.destination,
                "status": answer.status if answer else None,
                "outcome": outcome,
                "replayed": REPLAYED in headers,
                "reason": headers.get(LIMITED_BY),
                "at": call.at,
                "answered_at": self.clock.now(),
                "seconds": round(self.clock.steady() - call.started, 6),
            }
        )

    def records(self) -> Iterator[Record]:
        """The whole state, as it is written to the file and to snapshots."""
        yield "counters", "ids", orjson.dumps(self.ids.counters)
        yield "counters", "clock", orjson.dumps(self.clock.offset)
        yield from self.books.records()
        yield from self.keys.records()
        yield from self.webhooks.records()

    def take_snapshot(self, name: str) -> int:
        self.snapshots[name] = list(self.records())
        return len(self.snapshots[name])

    def restore_snapshot(self, name: str) -> None:
        """Go back to it. Calls that are being held are released first. Raises KeyError for an unknown name."""
        records = self.snapshots[name]
        self._load(records)
        self._rewrite_file()

    def reset(self) -> None:
        """As freshly started: no objects, no keys, no faults, first ids again. Snapshots are kept."""
        self._begin_epoch()
        self.faults.clear()
        self.wording = Wording(CATALOGUE, self.config.wording)
        self.log.clear()
        self.books.clear()
        self.keys.clear()
        self.webhooks.clear()
        self.clock.rewind()
        self.chance.seed(self.config.seed)
        self.tuning = Tuning.of(self.config)
        self.limits = Limits(self.tuning, self.clock)
        self.ids.counters.clear()
        self._equip()
        self._rewrite_file()

    def shut(self) -> None:
        """Nothing waits any more: not at the gate, not in a latency, not in a long poll."""
        self._begin_epoch()
        self.gate.close()
        self.webhooks.log.shut()

    async def close(self) -> None:
        self.shut()
        await self.webhooks.close()
        if self.file is not None:
            self.file.close()

    def _load(self, records: Iterable[Record]) -> bool:
        kept = list(records)
        if not kept:
            return False
        self._begin_epoch()
        counters = {id_: orjson.loads(body) for id_, body in of_kind(kept, "counters")}
        self.ids.restore(counters["ids"])
        self.clock.offset = counters["clock"]
        self.books.restore(kept)
        self.keys.restore(of_kind(kept, KeyEntry.KIND))
        self.webhooks.restore(kept)
        return True

    def _begin_epoch(self) -> None:
        """Calls that are being held vanish instead of changing a world that is no longer theirs."""
        self.epoch += 1
        self.agenda.clear()
        self.gate.release()

    def _rewrite_file(self) -> None:
        self.journal.forget()
        if self.file is not None:
            self.file.replace(self.records())


def _empty_twin(config: SimulatorConfig) -> SimulatorConfig:
    return replace(config, livemode=not config.livemode, auto_accounts=False, auto_charges=False, default_funds=0)


def _mode(live: bool) -> str:
    return "live" if live else "test"
