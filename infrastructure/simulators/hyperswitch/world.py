"""The state of one simulated Hyperswitch, in memory only."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import orjson

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.fault_actions import Error
from infrastructure.simulators.common.rate_limits import TokenBucket
from infrastructure.simulators.common.refusal import Refusal, fill
from infrastructure.simulators.common.request import Answer, ApiRequest, LogEntry
from infrastructure.simulators.common.world import SimulatorWorld
from infrastructure.simulators.hyperswitch.books import SimulatedPspBooks
from infrastructure.simulators.hyperswitch.catalogue import CATALOGUE
from infrastructure.simulators.hyperswitch.config import Behaviour, HyperswitchConfig
from infrastructure.simulators.hyperswitch.webhooks import PspWebhooks

FAULTS_OF_KEYS = frozenset(
    ("stored_500_then_created", "stored_500_not_created", "drop_key", "duplicate_ignoring_key")
)
"""Impossible here: Hyperswitch stores no answers under a key."""


class PspWorld(SimulatorWorld[HyperswitchConfig]):
    """One simulated Hyperswitch."""

    def __init__(self, config: HyperswitchConfig) -> None:
        super().__init__(
            config, SimClock(config.virtual_start, config.clock), CATALOGUE, FAULTS_OF_KEYS
        )
        self.books = SimulatedPspBooks(config, self.clock, self.ids)
        self.webhooks: PspWebhooks = PspWebhooks(config.seed, self.clock, config.deliver)
        self.equip()

    def equip(self) -> None:
        super().equip()
        config = self.config
        self.behaviours = {"payments": config.payments, "refunds": config.refunds}
        self._bucket = None if config.rate is None else TokenBucket(self.clock, config.rate)
        if config.webhook is not None:
            self.webhooks.configure(dict(config.webhook))

    def admit(self) -> None:
        """Count a request. Raises Refusal above the rate limit."""
        if self._bucket is not None and not self._bucket.take():
            raise Refusal("rate_limited")

    def schedule(self, kind: str, settle: Callable[[str], None]) -> None:
        """Settle a new payment or refund as its behaviour says: now, later, or never."""
        status, after = self.behaviours[kind].becomes, self.behaviours[kind].after
        if status is None:
            return
        if after is None:
            settle(status)
            return
        self.scheduler.after(after, partial(self._settle, settle, status))

    def _settle(self, settle: Callable[[str], None], status: str) -> None:
        settle(status)
        self.commit()

    def behave(self, kind: str, behaviour: Behaviour) -> None:
        """Set the behaviour of new objects. Raises KeyError for anything but `payments` and
        `refunds`."""
        if kind not in self.behaviours:
            raise KeyError(kind)
        self.behaviours[kind] = behaviour

    def commit(self) -> None:
        """Hand the events since the last commit to the webhooks."""
        events = self.books.announced[:]
        self.books.announced.clear()
        for event in events:
            self.webhooks.enqueue(event)
        self.webhooks.wake()

    def refused(self, refusal: Refusal, request: ApiRequest, stored: bool) -> Answer:
        """Return the answer to a refusal in its present wording. Hyperswitch stores no answer."""
        shape = self.wording.shape(refusal.name)
        return _error(shape.status, shape.type, shape.code, fill(shape.message, refusal.values))

    def injected(self, action: Error, request: ApiRequest) -> Answer:
        return _error(action.status, action.type, action.code, action.message)

    def headers(self, request: ApiRequest, status: int) -> dict[str, str]:
        return {"x-request-id": request.request_id}

    def log_details(self, request: ApiRequest, answer: Answer | None) -> LogEntry:
        return {"target": request.target, **request.sent}

    def ledger(self) -> dict[str, object]:
        books = self.books
        return {
            "payments": [asdict(payment) for payment in books.payments.values()],
            "refunds": [asdict(refund) for refund in books.refunds.values()],
            "disputes": [asdict(dispute) for dispute in books.disputes.values()],
            "violations": list(books.violations()),
        }

    def clear(self) -> None:
        self.books.clear()
        self.webhooks.clear()


def _error(status: int, type_: str, code: str | None, message: str) -> Answer:
    error = {"type": type_, "message": message, "code": code}
    return Answer(
        status,
        orjson.dumps(
            {"error": {name: value for name, value in error.items() if value is not None}}
        ),
    )
