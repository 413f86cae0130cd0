"""The state of one simulated Stripe: books, idempotency keys, webhooks, limits, state file."""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.fault_actions import Error
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Answer, ApiRequest, LogEntry
from infrastructure.simulators.common.world import SimulatorWorld
from infrastructure.simulators.stripe.admission import AdmissionLimits
from infrastructure.simulators.stripe.books import SimulatedStripeBooks
from infrastructure.simulators.stripe.config import RuntimeSettings, SimulatorConfig
from infrastructure.simulators.stripe.errors import CATALOGUE, UNIDENTIFIED, error_body
from infrastructure.simulators.stripe.idempotency import IdempotencyKeys
from infrastructure.simulators.stripe.manners import Manners
from infrastructure.simulators.stripe.render import reversal_json, transfer_json
from infrastructure.simulators.stripe.settlement import settle
from infrastructure.simulators.stripe.state_file import (
    Record,
    StateFile,
    StoreGroup,
    WriteBuffer,
    by_kind,
    kept_json,
)
from infrastructure.simulators.stripe.webhooks import StripeWebhooks

REPLAYED = "Idempotent-Replayed"
LIMITED_BY = "Stripe-Rate-Limited-Reason"
NOTICE = "This is a sandbox; the simulator sends this notice as Stripe does in test mode."


class StripeWorld(SimulatorWorld[SimulatorConfig]):
    """One simulated Stripe."""

    def __init__(self, config: SimulatorConfig) -> None:
        super().__init__(config, SimClock(config.virtual_start, config.clock), CATALOGUE)
        self.file = None if config.state_file is None else StateFile(config.state_file)
        self.buffer = WriteBuffer(None if self.file is None else self.file.write)
        self.settings = RuntimeSettings.of(config)
        self.limits = AdmissionLimits(self.settings, self.clock)
        self.random = random.Random(config.seed)
        self.books = SimulatedStripeBooks(config, self.clock, self.ids, self.buffer)
        self._other_mode = SimulatedStripeBooks(
            _empty_twin(config), self.clock, self.ids, WriteBuffer()
        )
        self.keys = IdempotencyKeys(self.clock, self.buffer, config.idempotency_ttl)
        self.webhooks: StripeWebhooks = StripeWebhooks(self.books, self.buffer)
        self._state = StoreGroup(self.books, self.keys, self.webhooks)
        self.snapshots: dict[str, list[Record]] = {}
        self.equip()
        if self.file is not None and self._load(self.file.read()):
            self.ids.skip_unwritten()
            self.buffer.commit()

    def equip(self) -> None:
        super().equip()
        for endpoint in self.config.webhook_endpoints:
            self.webhooks.add(endpoint)

    def commit(self, announce_after: float = 0.0) -> None:
        """Make the changes since the last commit durable, all or none, and hand their events to the
        webhooks."""
        if not self.books.announced and not self.buffer:
            return
        self.buffer.put("counters", "ids", self.ids.counters)
        self.buffer.put("counters", "clock", self.clock.offset)
        self.buffer.put("counters", "payouts", self.books.next_payouts)
        self.buffer.put("counters", "manners", list(self.books.manners))
        events = self.books.announced[:]
        self.books.announced.clear()
        for event in events:
            self.webhooks.enqueue(event, announce_after)
        self.buffer.commit()
        self.webhooks.wake()

    def settle(self) -> None:
        """Execute the changes that are due by now."""
        self.scheduler.catch_up()
        settle(self.books)

    def advance(self, seconds: float) -> float:
        """Move the clock forward and execute the changes that became due. Raises ValueError on a
        negative step."""
        now = super().advance(seconds)
        self.settle()
        self.buffer.put("counters", "clock", self.clock.offset)
        self.webhooks.wake()
        return now

    def tune(self, changes: Mapping[str, Any]) -> None:
        """Change runtime settings. Raises ValueError for an unknown setting or a bad value."""
        self.settings = self.settings.changed(changes)
        self.limits.apply(self.settings)

    def books_of(self, request: ApiRequest) -> SimulatedStripeBooks:
        """Return the books that the request's key can see. In the other mode they are empty."""
        return self._other_mode if request.other_mode else self.books

    def refused(self, refusal: Refusal, request: ApiRequest, stored: bool) -> Answer:
        shape = self.wording.shape(refusal.name)
        if request.other_mode and self.books.has(refusal.values.get("id")):
            shape = replace(
                shape, message=shape.message + self.wording.shape("exists_in_other_mode").message
            )
        livemode = self.config.livemode
        modes = {"mode": _mode(livemode), "key_mode": _mode(livemode != request.other_mode)}
        values = {**modes, **refusal.values, "request_id": request.request_id}
        headers = {}
        should_retry = (
            shape.should_retry if shape.should_retry is not None or not stored else "false"
        )
        if should_retry:
            headers["Stripe-Should-Retry"] = should_retry
        if "reason" in refusal.values:
            headers[LIMITED_BY] = str(refusal.values["reason"])
        return Answer(
            shape.status, kept_json(error_body(shape, values, request.request_id)), headers
        )

    def injected(self, action: Error, request: ApiRequest) -> Answer:
        error = {
            "type": action.type,
            "code": action.code,
            "message": action.message,
            "param": action.param,
        }
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request.request_id}"
        body = orjson.dumps(
            {"error": {name: value for name, value in error.items() if value is not None}}
        )
        return Answer(
            action.status, body, {"Stripe-Should-Retry": "false"} if action.stored else {}
        )

    def headers(self, request: ApiRequest, status: int) -> dict[str, str]:
        if status in UNIDENTIFIED:
            return {}
        headers = {
            "Request-Id": request.request_id,
            "Stripe-Version": request.version or self.config.api_version,
        }
        if self.books.manners.notice and not self.config.livemode:
            headers["Stripe-Notice"] = NOTICE
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
            headers["Original-Request"] = request.original or request.request_id
        if request.account is not None:
            headers["Stripe-Account"] = request.account
        return headers

    def log_details(self, request: ApiRequest, answer: Answer | None) -> LogEntry:
        headers = answer.headers if answer else {}
        return {
            "account": request.account,
            "transfer": request.transfer,
            "destination": request.destination,
            "replayed": REPLAYED in headers,
            "reason": headers.get(LIMITED_BY),
            "answered_at": self.clock.now(),
        }

    def ledger(self) -> dict[str, Any]:
        """Return every transfer with all its reversals (not only the ten newest), oldest first, and
        every balance."""
        books, transfers = self.books, []
        for transfer in books.transfers:
            reversals = [
                reversal_json(books, books.reversals.by_id[id_]) for id_ in transfer.reversals
            ]
            transfers.append({**transfer_json(books, transfer), "reversals": reversals})
        return {
            "transfers": transfers,
            "balances": books.balances.by_holder(),
            "keys": len(self.keys),
        }

    def records(self) -> Iterator[Record]:
        """Yield the whole state, as in the state file and in snapshots."""
        yield "counters", "ids", orjson.dumps(self.ids.counters)
        yield "counters", "clock", orjson.dumps(self.clock.offset)
        yield "counters", "payouts", orjson.dumps(self.books.next_payouts)
        yield "counters", "manners", orjson.dumps(list(self.books.manners))
        yield from self._state.records()

    def take_snapshot(self, name: str) -> int:
        self.snapshots[name] = list(self.records())
        return len(self.snapshots[name])

    def restore_snapshot(self, name: str) -> None:
        """Restore the snapshot. Stopped requests are released first. Raises KeyError for an unknown
        name."""
        self._load(self.snapshots[name])
        self._rewrite_file()

    def reset(self) -> None:
        """Return to the state of a fresh start. Snapshots are kept."""
        self.settings = RuntimeSettings.of(self.config)
        self.limits = AdmissionLimits(self.settings, self.clock)
        super().reset()
        self.books.begin()
        self._rewrite_file()

    def clear(self) -> None:
        self._state.clear()
        self.random.seed(self.config.seed)

    async def close(self) -> None:
        await super().close()
        if self.file is not None:
            self.file.close()

    def _load(self, records: Iterable[Record]) -> bool:
        groups = by_kind(records)
        if not groups:
            return False
        self.begin_epoch()
        counters = {id_: orjson.loads(body) for id_, body in groups["counters"]}
        self.ids.restore(counters["ids"])
        self.clock.offset = counters["clock"]
        self.books.next_payouts = counters["payouts"]
        self.books.manners = Manners(*counters["manners"])
        self._state.restore(groups)
        return True

    def _rewrite_file(self) -> None:
        self.buffer.discard()
        if self.file is not None:
            self.file.write(self.records(), clear=True)


def _empty_twin(config: SimulatorConfig) -> SimulatorConfig:
    return replace(
        config,
        livemode=not config.livemode,
        auto_accounts=False,
        auto_charges=False,
        manners=config.manners._replace(funds=0),
    )


def _mode(live: bool) -> str:
    return "live" if live else "test"
