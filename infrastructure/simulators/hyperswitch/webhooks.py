"""Hyperswitch's outgoing webhooks: one address, signed bytes that never change, and 16 retries over a day."""

from __future__ import annotations

import random
from copy import deepcopy
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from infrastructure.hyperswitch.signature import HEADER, sign
from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.delivery_log import DeliveryLog
from infrastructure.simulators.common.delivery_settings import DeliveryKnobs
from infrastructure.simulators.common.webhook_sender import Courier, Letter
from infrastructure.simulators.hyperswitch.rows import Announcement

MINUTE, HOUR = 60.0, 3600.0
RETRY_SCHEDULE = (MINUTE, *[5 * MINUTE] * 2, *[10 * MINUTE] * 5, *[HOUR] * 5, *[6 * HOUR] * 3)
WRONG_KEY = "somebody_else"


class Knobs(DeliveryKnobs):
    """What can go wrong with the deliveries. What is signed wrongly stays so on each retry: the same bytes are sent again."""

    timeout: float = Field(default=5.0, gt=0)
    retry_schedule: tuple[float, ...] = RETRY_SCHEDULE
    unsigned: int = Field(default=0, ge=0)
    """So many of the next events carry no signature."""
    extra_fields: bool = False
    """Members that no version had until now, in the envelope and in the object."""


class Webhook(BaseModel):
    """The profile's `webhook_url` and `payment_response_hash_key`; without a key nothing is signed."""

    model_config = ConfigDict(extra="forbid")

    id: str = "webhook"
    url: str
    secret: str | None = None
    knobs: Knobs = Knobs()


class Webhooks:
    def __init__(self, seed: int, clock: SimClock) -> None:
        self._clock = clock
        self._chance = random.Random(seed)
        self._numbers = count(1)
        self._courier: Courier[Webhook, Announcement] | None = None
        self._retired: list[Courier[Webhook, Announcement]] = []
        self.log = DeliveryLog(lambda: self.outstanding, clock)

    def configure(self, changes: dict[str, Any]) -> Webhook:
        """Set or change address, key and knobs; what is under way keeps its bytes. Raises ValueError for a bad value."""
        before = {} if self._courier is None else self._courier.endpoint.model_dump()
        knobs = {**before.get("knobs", {}), **changes.get("knobs", {})}
        webhook = Webhook.model_validate({**before, **changes, "knobs": knobs})
        if self._courier is None:
            self._courier = Courier(webhook, lambda _, event: event.letter, self._clock, self._chance, self.log.tried)
        self._courier.endpoint = webhook
        self._courier.wake()
        return webhook

    @property
    def outstanding(self) -> int:
        """Deliveries that are queued (retries included) or under way."""
        return 0 if self._courier is None else self._courier.outstanding

    def enlist(self, event: Announcement) -> None:
        """Write the letter and queue it; `wake` sends it."""
        if self._courier is None:
            return
        webhook = self._courier.endpoint
        event.letter = _written(webhook, event)
        dropped = any(fnmatchcase(event.type, pattern) for pattern in webhook.knobs.drop)
        if dropped or self._chance.random() < webhook.knobs.drop_probability:
            self.log.dropped(webhook, event)
            return
        for _ in range(1 + webhook.knobs.duplicates):
            self.resend(event)

    def resend(self, event: Announcement) -> None:
        """Queue the very bytes once more, or for the first time when they were lost."""
        if self._courier is not None:
            self._courier.enqueue(event, next(self._numbers), 0.0)

    def wake(self) -> None:
        if self._courier is not None:
            self._courier.wake()

    def flush(self, shuffle_seed: int | None = None, types: str = "*") -> int:
        """Send what is queued now (of the types, a glob), optionally in a random order; returns how many."""
        if self._courier is None:
            return 0
        if shuffle_seed is not None:
            self._courier.shuffle(shuffle_seed)
        return self._courier.flush(types)

    def clear(self) -> None:
        """Forget the address and send nothing more; `close` then closes the connections."""
        if self._courier is not None:
            self._courier.stop()
            self._retired.append(self._courier)
        self._courier = None
        self.log.outcomes.clear()

    async def close(self) -> None:
        if self._courier is not None:
            self._retired.append(self._courier)
            self._courier = None
        while self._retired:
            await self._retired.pop().close()


def _written(webhook: Webhook, event: Announcement) -> Letter:
    knobs = webhook.knobs
    body = orjson.dumps(_with_extra_fields(event) if knobs.extra_fields else event.envelope)
    headers = {"Content-Type": "application/json", "User-Agent": "Hyperswitch (simulator)"}
    key = webhook.secret
    if knobs.unsigned:
        knobs.unsigned -= 1
        key = None
    elif knobs.bad_signatures:
        knobs.bad_signatures -= 1
        key = WRONG_KEY
    if key:
        headers[HEADER] = sign(body, key)
    return Letter(body, headers)


def _with_extra_fields(event: Announcement) -> dict[str, Any]:
    more = deepcopy(event.envelope)
    for part in (more, more["content"], more["content"]["object"]):
        part["a_member_of_a_later_version"] = {"nested": [1, "two", None]}
    return more
