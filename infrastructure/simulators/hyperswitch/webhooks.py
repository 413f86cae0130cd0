"""Hyperswitch's outgoing webhooks: one address, signed bytes that never change, and 16 retries over
a day."""

from copy import deepcopy
from typing import Any

import orjson
from pydantic import Field

from infrastructure.hyperswitch.signature import HEADER, sign
from infrastructure.simulators.common.delivery_settings import DeliverySettings, WebhookTarget
from infrastructure.simulators.common.webhook_sender import WebhookRequest, WebhookSender
from infrastructure.simulators.common.webhooks import ProviderWebhooks
from infrastructure.simulators.hyperswitch.rows import PspEventRow

MINUTE, HOUR = 60.0, 3600.0
RETRY_SCHEDULE = (MINUTE, *[5 * MINUTE] * 2, *[10 * MINUTE] * 5, *[HOUR] * 5, *[6 * HOUR] * 3)
WRONG_KEY = "somebody_else"


class PspDeliverySettings(DeliverySettings):
    """Faults of the deliveries. A wrong signature stays wrong on each retry: the same bytes are
    sent again."""

    timeout: float = Field(default=5.0, gt=0)
    retry_schedule: tuple[float, ...] = RETRY_SCHEDULE
    unsigned: int = Field(default=0, ge=0)
    """Number of the next events that carry no signature."""
    extra_fields: bool = False
    """Add members that no version has had until now, to the envelope and to the object."""


class PspWebhookEndpoint(WebhookTarget):
    """The profile's `webhook_url` and `payment_response_hash_key`. Without a key there is no
    signature."""

    id: str = "webhook"
    secret: str | None = None
    delivery: PspDeliverySettings = Field(default=PspDeliverySettings(), alias="knobs")


class PspWebhooks(ProviderWebhooks[PspWebhookEndpoint, PspEventRow]):
    def compose(self, target: PspWebhookEndpoint, event: PspEventRow) -> WebhookRequest:
        return event.request

    @property
    def _sender(self) -> WebhookSender[PspWebhookEndpoint, PspEventRow] | None:
        return next(iter(self._senders.values()), None)

    def configure(self, changes: dict[str, Any]) -> PspWebhookEndpoint:
        """Set or change address, key and `knobs`. Queued deliveries keep their bytes. Raises
        ValueError for a bad value."""
        sender = self._sender
        before = {} if sender is None else sender.endpoint.model_dump()
        knobs = {**before.get("knobs", {}), **changes.get("knobs", {})}
        endpoint = PspWebhookEndpoint.model_validate({**before, **changes, "knobs": knobs})
        sender = sender or self._add_sender(endpoint)
        sender.endpoint = endpoint
        sender.wake()
        return endpoint

    def enqueue(self, event: PspEventRow) -> None:
        """Write the bytes of the webhook and queue them; `wake` sends them."""
        sender = self._sender
        if sender is None:
            return
        event.request = _webhook_request(sender.endpoint, event)
        if self._drops(sender.endpoint, event):
            return
        for _ in range(1 + sender.endpoint.delivery.duplicates):
            self.resend(event)

    def resend(self, event: PspEventRow) -> None:
        """Queue the same bytes once more, or for the first time after a dropped delivery."""
        if self._sender is not None:
            self._sender.enqueue(event, next(self._numbers), 0.0)


def _webhook_request(endpoint: PspWebhookEndpoint, event: PspEventRow) -> WebhookRequest:
    settings = endpoint.delivery
    body = orjson.dumps(_with_extra_fields(event) if settings.extra_fields else event.envelope)
    headers = {"Content-Type": "application/json", "User-Agent": "Hyperswitch (simulator)"}
    key = endpoint.secret
    if settings.unsigned:
        settings.unsigned -= 1
        key = None
    elif settings.bad_signatures:
        settings.bad_signatures -= 1
        key = WRONG_KEY
    if key:
        headers[HEADER] = sign(body, key)
    return WebhookRequest(body, headers)


def _with_extra_fields(event: PspEventRow) -> dict[str, Any]:
    more = deepcopy(event.envelope)
    for part in (more, more["content"], more["content"]["object"]):
        part["a_member_of_a_later_version"] = {"nested": [1, "two", None]}
    return more
