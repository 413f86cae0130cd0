"""Webhook endpoints, and the signed bodies that Stripe sends to them."""

import hashlib
import hmac
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field

from infrastructure.simulators.common.delivery_settings import DeliverySettings, WebhookTarget
from infrastructure.simulators.common.webhook_sender import WebhookRequest
from infrastructure.simulators.stripe.books import SimulatedStripeBooks
from infrastructure.simulators.stripe.render import event_json
from infrastructure.simulators.stripe.rows import StripeEventRow

OLD = 3600
"""Age of an old timestamp in seconds: beyond the usual tolerance of 300."""
WRONG_SECRET = "whsec_somebody_else"


class StripeDeliverySettings(DeliverySettings):
    """Delivery settings with the faults that only Stripe has."""

    old_timestamps: int = Field(default=0, ge=0)
    """Number of the next deliveries that carry a valid signature an hour old."""
    twin_events: bool = False
    """Each change is described by two different Event objects, as sometimes at Stripe."""


class WebhookEndpoint(WebhookTarget):
    """`connect` endpoints get the connected accounts' events, others the platform's own."""

    KIND: ClassVar[str] = "endpoint"

    secrets: list[str] = Field(min_length=1)
    types: list[str] = Field(default=["*"])
    connect: bool = False
    payload: Literal["snapshot", "thin"] = "snapshot"
    delivery: StripeDeliverySettings = Field(default=StripeDeliverySettings(), alias="knobs")

    def subscribes_to(self, event: StripeEventRow) -> bool:
        return self.connect == (event.account is not None) and any(
            fnmatchcase(event.type, one) for one in self.types
        )


def endpoint_json(books: SimulatedStripeBooks, endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Show an endpoint as Stripe's list does. `application` marks those for connected accounts."""
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "api_version": None,
        "application": "ca_simulator" if endpoint.connect else None,
        "description": None,
        "enabled_events": endpoint.types,
        "livemode": books.config.livemode,
        "metadata": {},
        "status": "enabled",
        "url": endpoint.url,
    }


def webhook_request(
    books: SimulatedStripeBooks, endpoint: WebhookEndpoint, event: StripeEventRow
) -> WebhookRequest:
    """Return the event in its present state, with a new signature for each attempt."""
    thin = endpoint.payload == "thin"
    body = (
        thin_body(event, books.config.livemode) if thin else orjson.dumps(event_json(books, event))
    )
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": _signature(books, endpoint, body),
        "User-Agent": "Stripe/1.0 (simulator)",
    }
    return WebhookRequest(body, headers)


def _signature(books: SimulatedStripeBooks, endpoint: WebhookEndpoint, body: bytes) -> str:
    """Return the Stripe-Signature header: one v1 for each secret that is valid during a
    rotation."""
    settings, secrets, timestamp = endpoint.delivery, endpoint.secrets, int(books.clock.unmoved())
    if settings.bad_signatures:
        settings.bad_signatures -= 1
        secrets = [WRONG_SECRET]
    elif settings.old_timestamps:
        settings.old_timestamps -= 1
        timestamp -= OLD
    signed = f"{timestamp}.".encode() + body
    macs = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return f"t={timestamp}," + ",".join(f"v1={mac}" for mac in macs)


def thin_body(event: StripeEventRow, livemode: bool) -> bytes:
    """Return the v2 notification of the same event, which names the object instead of carrying
    it."""
    subject = orjson.loads(event.object)
    created = datetime.fromtimestamp(event.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    body: dict[str, Any] = {
        "id": event.id,
        "object": "v2.core.event",
        "type": f"v1.{event.type}",
        "created": created,
        "livemode": livemode,
        "context": event.account,
        "reason": _reason(event),
        "related_object": {
            "id": subject.get("id"),
            "type": subject["object"],
            "url": _url(subject),
        },
    }
    return orjson.dumps(body)


def _reason(event: StripeEventRow) -> dict[str, Any] | None:
    """Return the request that caused the event; None for a change made in the dashboard."""
    if event.request_id is None:
        return None
    return {
        "type": "request",
        "request": {"id": event.request_id, "idempotency_key": event.idempotency_key},
    }


def _url(subject: dict[str, Any]) -> str:
    match subject["object"]:
        case "balance":
            return "/v1/balance"
        case "capability":
            return f"/v1/accounts/{subject['account']}/capabilities/{subject['id']}"
        case kind:
            return f"/v1/{kind}s/{subject.get('id')}"
