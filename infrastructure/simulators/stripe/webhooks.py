"""Stripe's webhooks: endpoints, and the deliveries that each endpoint has yet to get."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import orjson

from infrastructure.simulators.common.webhook_sender import (
    Delivery,
    DeliveryResult,
    WebhookRequest,
    WebhookSender,
)
from infrastructure.simulators.common.webhooks import ProviderWebhooks
from infrastructure.simulators.stripe.books import SimulatedStripeBooks
from infrastructure.simulators.stripe.rows import StripeEventRow
from infrastructure.simulators.stripe.state_file import Record, Records, WriteBuffer
from infrastructure.simulators.stripe.webhook_endpoints import (
    WebhookEndpoint,
    endpoint_json,
    webhook_request,
)

Sender: TypeAlias = WebhookSender[WebhookEndpoint, StripeEventRow]

ENDPOINTS_AT_MOST = 16
"""Stripe's own limit per account [P]."""


class StripeWebhooks(ProviderWebhooks[WebhookEndpoint, StripeEventRow]):
    def __init__(self, books: SimulatedStripeBooks, buffer: WriteBuffer) -> None:
        super().__init__(books.config.seed, books.clock, books.config.deliver)
        self._books = books
        self._buffer = buffer
        books.webhook_endpoints = self._as_stripe_shows

    def _as_stripe_shows(self) -> list[dict[str, Any]]:
        return [endpoint_json(self._books, sender.endpoint) for sender in self._senders.values()]

    def compose(self, target: WebhookEndpoint, event: StripeEventRow) -> WebhookRequest:
        return webhook_request(self._books, target, event)

    def add(self, description: Any) -> WebhookEndpoint:
        """Add an endpoint. Raises ValueError when the description is wrong, the id is taken, or
        there are too many."""
        endpoint = WebhookEndpoint.model_validate(description)
        endpoint.id = endpoint.id or self._books.ids.next("we")
        if endpoint.id in self._senders or len(self._senders) >= ENDPOINTS_AT_MOST:
            raise ValueError(
                f"{endpoint.id} is taken or there are already {ENDPOINTS_AT_MOST} endpoints; "
                "remove one"
            )
        self._add_sender(endpoint)
        self._save(endpoint)
        return endpoint

    def change(self, id_: str, changes: dict[str, Any]) -> WebhookEndpoint:
        """Replace settings; `knobs` are merged. Raises KeyError for an unknown endpoint, ValueError
        for a bad value."""
        sender = self._senders[id_]
        before = sender.endpoint.model_dump()
        knobs = {**before["knobs"], **changes.get("knobs", {})}
        sender.endpoint = WebhookEndpoint.model_validate(
            {**before, **changes, "knobs": knobs, "id": id_}
        )
        self._save(sender.endpoint)
        sender.wake()
        return sender.endpoint

    async def remove(self, id_: str) -> None:
        """Remove an endpoint and its deliveries. Raises KeyError for an unknown endpoint."""
        sender = self._senders.pop(id_)
        self._buffer.put(WebhookEndpoint.KIND, id_, None)
        await sender.close()

    def listing(self) -> list[dict[str, Any]]:
        senders = self._senders.values()
        return [
            {**sender.endpoint.model_dump(mode="json"), "outstanding": sender.outstanding}
            for sender in senders
        ]

    def enqueue(self, event: StripeEventRow, after: float) -> None:
        """Queue the event for each subscribed endpoint; `wake` sends the event, once the change is
        durable."""
        senders = [
            sender for sender in self._senders.values() if sender.endpoint.subscribes_to(event)
        ]
        event.pending_webhooks = len(senders)
        for sender in senders:
            settings = sender.endpoint.delivery
            events = [event, self._twin(event)] if settings.twin_events else [event]
            for each in events * (1 + settings.duplicates):
                self._enqueue_one(sender, each, after)

    def _enqueue_one(self, sender: Sender, event: StripeEventRow, after: float) -> None:
        if self._drops(sender.endpoint, event):
            return
        number = next(self._numbers)
        sender.enqueue(event, number, after)
        self._buffer.put("delivery", f"{sender.endpoint.id}|{event.id}|{number}", True)

    def _twin(self, event: StripeEventRow) -> StripeEventRow:
        twin = replace(
            event, id=self._books.ids.next("evt"), seq=self._books.events.next_seq(), taken_by=[]
        )
        return self._books.events.add(twin)

    def report(
        self, target: WebhookEndpoint, delivery: Delivery[StripeEventRow], result: DeliveryResult
    ) -> None:
        if result.delivered:
            self._mark_delivered(delivery.event, target.id)
        if result.final:
            self._buffer.put(
                "delivery", f"{target.id}|{delivery.event.id}|{delivery.number}", False
            )
            self._buffer.commit()
        super().report(target, delivery, result)

    def _mark_delivered(self, event: StripeEventRow, endpoint: str) -> None:
        """Count each endpoint once, however many copies of the event the endpoint gets."""
        if endpoint not in event.taken_by:
            event.taken_by.append(endpoint)
            event.pending_webhooks -= 1
            self._books.events.save(event)

    def clear(self) -> None:
        super().clear()
        self._random.seed(self._books.config.seed)

    def _save(self, endpoint: WebhookEndpoint) -> None:
        self._buffer.put(WebhookEndpoint.KIND, endpoint.id, endpoint.model_dump(mode="json"))

    def records(self) -> Iterator[Record]:
        for sender in self._senders.values():
            yield (
                WebhookEndpoint.KIND,
                sender.endpoint.id,
                sender.endpoint.model_dump_json().encode(),
            )

    def restore(self, records: Records) -> None:
        """Restore the endpoints and their outstanding deliveries."""
        self.clear()
        for _, body in records.get(WebhookEndpoint.KIND, ()):
            if body != b"null":
                self.add(orjson.loads(body))
        outstanding = [id_ for id_, flag in records.get("delivery", ()) if flag == b"true"]
        for id_ in outstanding:
            self._buffer.put("delivery", id_, False)  # the delivery gets a new number below
        for endpoint, event_id, _ in (id_.split("|") for id_ in outstanding):
            event = self._books.events.get(event_id)
            if event is not None and endpoint in self._senders:
                self._enqueue_one(self._senders[endpoint], event, 0.0)
