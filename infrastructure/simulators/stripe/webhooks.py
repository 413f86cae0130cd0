"""Which events go to which webhook endpoints, and what became of each delivery."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
from typing import Any

import orjson

from infrastructure.simulators.common.delivery_log import DeliveryLog
from infrastructure.simulators.common.webhook_sender import Courier, Delivery, Outcome
from infrastructure.simulators.stripe.books import Books
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.journal import Journal, Record, of_kind
from infrastructure.simulators.stripe.rows import Event
from infrastructure.simulators.stripe.webhook_body import stripe_letter
from infrastructure.simulators.stripe.webhook_endpoints import Endpoint

ENDPOINTS_AT_MOST = 16
"""Stripe's own limit per account [P]."""


class Webhooks:
    def __init__(self, books: Books, journal: Journal, config: SimulatorConfig) -> None:
        self._books = books
        self._journal = journal
        self._config = config
        self._chance = random.Random(config.seed)
        self._numbers = count(1)
        self._couriers: dict[str, Courier[Endpoint, Event]] = {}
        self._retired: list[Courier[Endpoint, Event]] = []
        self.log = DeliveryLog(lambda: self.outstanding, books.clock)

    def add(self, description: Any) -> Endpoint:
        """Raises ValueError when the description is not an endpoint, the id is taken or there are too many."""
        endpoint = Endpoint.model_validate(description)
        endpoint.id = endpoint.id or self._books.ids.next("we")
        if endpoint.id in self._couriers or len(self._couriers) >= ENDPOINTS_AT_MOST:
            raise ValueError(f"{endpoint.id} is taken or there are already {ENDPOINTS_AT_MOST} endpoints: remove one")
        courier = Courier(
            endpoint,
            partial(stripe_letter, self._books),
            self._books.clock,
            self._chance,
            self._report,
            self._config.deliver,
        )
        self._couriers[endpoint.id] = courier
        self._write_down(endpoint)
        return endpoint

    def change(self, id_: str, changes: dict[str, Any]) -> Endpoint:
        """Replace settings; `knobs` are merged. Raises KeyError for an unknown endpoint, ValueError for a bad value."""
        courier = self._couriers[id_]
        before = courier.endpoint.model_dump()
        knobs = {**before["knobs"], **changes.get("knobs", {})}
        courier.endpoint = Endpoint.model_validate({**before, **changes, "knobs": knobs, "id": id_})
        self._write_down(courier.endpoint)
        courier.wake()
        return courier.endpoint

    async def remove(self, id_: str) -> None:
        """Nothing more is sent there. Raises KeyError for an unknown endpoint."""
        courier = self._couriers.pop(id_)
        self._journal.note("endpoint", id_, None)
        await courier.close()

    def listing(self) -> list[dict[str, Any]]:
        return [
            {**courier.endpoint.model_dump(mode="json"), "outstanding": courier.outstanding}
            for courier in self._couriers.values()
        ]

    def enlist(self, event: Event, after: float) -> None:
        """Queue the event for everyone who listens; `wake` sends it, once the change is durable."""
        listeners = [courier for courier in self._couriers.values() if courier.endpoint.hears(event)]
        event.pending_webhooks = len(listeners)
        for courier in listeners:
            knobs = courier.endpoint.knobs
            events = [event, self._twin(event)] if knobs.twin_events else [event]
            for each in events * (1 + knobs.duplicates):
                self._enlist_one(courier, each, after)

    def _enlist_one(self, courier: Courier[Endpoint, Event], event: Event, after: float) -> None:
        knobs = courier.endpoint.knobs
        dropped = any(fnmatchcase(event.type, pattern) for pattern in knobs.drop)
        if dropped or self._chance.random() < knobs.drop_probability:
            self.log.dropped(courier.endpoint, event)
            return
        number = next(self._numbers)
        courier.enqueue(event, number, after)
        self._journal.note("delivery", f"{courier.endpoint.id}|{event.id}|{number}", True)

    def _twin(self, event: Event) -> Event:
        twin = replace(event, id=self._books.ids.next("evt"), seq=self._books.events.next_seq(), taken_by=[])
        return self._books.events.add(twin)

    def wake(self) -> None:
        for courier in self._couriers.values():
            courier.wake()

    def flush(self, shuffle_seed: int | None = None, types: str = "*") -> int:
        """Send what is queued now (of the types, a glob), optionally in a random order; returns how many."""
        if shuffle_seed is not None:
            for courier in self._couriers.values():
                courier.shuffle(shuffle_seed)
        return sum(courier.flush(types) for courier in self._couriers.values())

    @property
    def outstanding(self) -> int:
        return sum(courier.outstanding for courier in self._couriers.values())

    def _report(self, endpoint: Endpoint, delivery: Delivery[Event], outcome: Outcome) -> None:
        if outcome.delivered:
            self._taken(delivery.event, endpoint.id)
        if outcome.final:
            self._journal.note("delivery", f"{endpoint.id}|{delivery.event.id}|{delivery.number}", False)
            self._journal.commit()
        self.log.tried(endpoint, delivery, outcome)

    def _taken(self, event: Event, endpoint: str) -> None:
        """Once for each endpoint, however many copies of the event it takes."""
        if endpoint not in event.taken_by:
            event.taken_by.append(endpoint)
            event.pending_webhooks -= 1
            self._books.events.touch(event)

    def clear(self) -> None:
        """Forget all endpoints and send nothing more; `dispose` then closes their connections."""
        self._retired.extend(self._couriers.values())
        for courier in self._couriers.values():
            courier.stop()
        self._couriers.clear()
        self._chance.seed(self._config.seed)
        self.log.outcomes.clear()

    async def dispose(self) -> None:
        while self._retired:
            await self._retired.pop().close()

    async def close(self) -> None:
        for courier in self._couriers.values():
            await courier.close()
        await self.dispose()

    def _write_down(self, endpoint: Endpoint) -> None:
        self._journal.note("endpoint", endpoint.id, endpoint.model_dump(mode="json"))

    def records(self) -> Iterator[Record]:
        for courier in self._couriers.values():
            yield "endpoint", courier.endpoint.id, courier.endpoint.model_dump_json().encode()

    def restore(self, records: Iterable[Record]) -> None:
        """Endpoints, and the deliveries that were still owed."""
        kept = list(records)
        self.clear()
        for _, body in of_kind(kept, "endpoint"):
            if body != b"null":
                self.add(orjson.loads(body))
        owed = [id_ for id_, still in of_kind(kept, "delivery") if still == b"true"]
        for id_ in owed:
            self._journal.note("delivery", id_, False)  # it gets a new number below
        for endpoint, event_id, _ in (id_.split("|") for id_ in owed):
            event = self._books.events.get(event_id)
            if event is not None and endpoint in self._couriers:
                self._enlist_one(self._couriers[endpoint], event, 0.0)
