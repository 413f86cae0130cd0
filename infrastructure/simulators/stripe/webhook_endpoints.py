"""Webhook endpoints: who listens to what, and how badly the simulator treats them."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from infrastructure.simulators.common.delivery_settings import DeliveryKnobs
from infrastructure.simulators.stripe.rows import Event

OLD = 3600
"""How many seconds before now an old timestamp is: beyond the usual tolerance of 300."""


class Knobs(DeliveryKnobs):
    """What can go wrong with Stripe's deliveries besides."""

    old_timestamps: int = Field(default=0, ge=0)
    """So many of the next deliveries carry a valid signature an hour old."""
    twin_events: bool = False
    """Each change is described by two different Event objects, as Stripe sometimes does."""


class Endpoint(BaseModel):
    """`connect` endpoints hear the connected accounts' events, others the platform's own."""

    model_config = ConfigDict(extra="forbid")
    KIND: ClassVar[str] = "endpoint"

    id: str = ""
    url: str
    secrets: list[str] = Field(min_length=1)
    types: list[str] = ["*"]
    connect: bool = False
    payload: Literal["snapshot", "thin"] = "snapshot"
    knobs: Knobs = Knobs()

    def hears(self, event: Event) -> bool:
        return self.connect == (event.account is not None) and any(fnmatchcase(event.type, one) for one in self.types)


def signature(secrets: list[str], body: bytes, timestamp: int) -> str:
    """The Stripe-Signature header: one v1 for each secret that is valid during a rotation."""
    signed = f"{timestamp}.".encode() + body
    macs = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return f"t={timestamp}," + ",".join(f"v1={mac}" for mac in macs)


def thin_body(event: Event, livemode: bool) -> bytes:
    """The v2 notification of the same event: names the object instead of carrying it."""
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
        "related_object": {"id": subject.get("id"), "type": subject["object"], "url": _url(subject)},
    }
    return orjson.dumps(body)


def _reason(event: Event) -> dict[str, Any] | None:
    """None for what no request of ours has caused."""
    if event.request_id is None:
        return None
    return {"type": "request", "request": {"id": event.request_id, "idempotency_key": event.idempotency_key}}


def _url(subject: dict[str, Any]) -> str:
    match subject["object"]:
        case "balance":
            return "/v1/balance"
        case "capability":
            return f"/v1/accounts/{subject['account']}/capabilities/{subject['id']}"
        case kind:
            return f"/v1/{kind}s/{subject.get('id')}"
