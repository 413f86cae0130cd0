"""Endpoints of webhooks: check, store, answer. The inbox worker handles the stored webhook later;
no sender waits for that.

A call whose signature header is missing or malformed is refused before its body is read. The
signature covers the raw body, so it is checked before the body is interpreted. Every signed webhook
is kept. An unreadable one is stored under the hash of its bytes, with an alarm.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import orjson

from application.webhooks.entitlement import is_told_by_account
from application.webhooks.handler import NOT_READABLE, UNREADABLE_TYPE, WebhookAlarm
from infrastructure.hyperswitch import signature as hyperswitch
from infrastructure.stripe import signature as stripe
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.problems import Problem, problem_of
from infrastructure.web.request_body import whole_body
from infrastructure.web.requests import Parameters
from infrastructure.web.responses import Received

LONGEST_EVENT_ID, LONGEST_EVENT_TYPE = 255, 128

Webhook = ApiCall[None, Parameters]


class ReceivedEvent(NamedTuple):
    """The stored part of a webhook."""

    event_id: str
    event_type: str
    body: bytes


async def receive_hyperswitch(call: Webhook) -> Reply:
    return await _received(call, "hyperswitch", _from_hyperswitch)


async def receive_stripe(call: Webhook) -> Reply:
    return await _received(call, "stripe", _from_stripe)


async def _from_hyperswitch(call: Webhook) -> ReceivedEvent:
    secrets = _configured(
        call.service.settings.hyperswitch_webhook_secrets, "HYPERSWITCH_WEBHOOK_SECRETS"
    )
    header = call.request.headers.get(hyperswitch.HEADER)
    hyperswitch.check_form(header)
    body = await whole_body(call.request)
    hyperswitch.verify(body, header, secrets)
    envelope = _envelope(body)
    return _event(body, envelope.get("event_id"), envelope.get("event_type"))


async def _from_stripe(call: Webhook) -> ReceivedEvent:
    settings = call.service.settings
    secrets = _configured(settings.stripe_webhook_secrets, "STRIPE_WEBHOOK_SECRETS")
    header = call.request.headers.get(stripe.HEADER)
    stripe.check_form(header)
    body = await whole_body(call.request)
    stripe.verify(body, header, secrets, call.service.clock.now())
    envelope = _envelope(body)
    livemode = envelope.get("livemode")
    other_mode = isinstance(livemode, bool) and livemode != (settings.mode == "live")
    # Stripe sends the test events of connected accounts to live Connect endpoints as well, and
    # would repeat a refused one for days: it is stored, and ignored later
    if other_mode and not is_told_by_account(envelope):
        modes = (
            f"The event has livemode {str(livemode).lower()}, but the ledger's key is of mode "
            f"{settings.mode}"
        )
        raise Problem(
            "livemode_mismatch",
            f"{modes}; nothing was stored, send the event to the ledger of its own mode.",
        )
    # an event without livemode may be about real money or not: it is kept, but never handled
    return _event(
        body, envelope.get("id"), envelope.get("type") if isinstance(livemode, bool) else None
    )


def _configured(secrets: tuple[str, ...], name: str) -> tuple[str, ...]:
    if not secrets:
        raise Problem(
            "webhook_not_configured",
            f"This webhook cannot be verified, because {name} is not set; set it and start again.",
        )
    return secrets


def _envelope(body: bytes) -> Mapping[str, object]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _event(body: bytes, event_id: object, event_type: object) -> ReceivedEvent:
    by_hash = f"sha256:{hashlib.sha256(body).hexdigest()}"
    return ReceivedEvent(
        _name(event_id, LONGEST_EVENT_ID) or by_hash,
        _name(event_type, LONGEST_EVENT_TYPE) or UNREADABLE_TYPE,
        body,
    )


def _name(value: object, longest: int) -> str | None:
    """Return a name that can be stored and shown, None for any other value."""
    return (
        value
        if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()
        else None
    )


async def _received(
    call: Webhook, provider: str, read: Callable[[Webhook], Awaitable[ReceivedEvent]]
) -> Reply:
    try:
        event = await read(call)
        new = await call.service.inbox.put(provider, *event, call.service.clock.now())
        if new and event.event_type == UNREADABLE_TYPE:
            await _raise_alarm(call, provider, event)
    except Exception as error:
        problem = problem_of(error)
        call.backend.metrics.received(provider, problem.code)
        raise problem from error
    call.backend.metrics.received(provider, "stored" if new else "duplicate")
    return Reply(200, Received(True))


async def _raise_alarm(call: Webhook, provider: str, event: ReceivedEvent) -> None:
    """Raise an alarm: the webhook was signed, so it means something."""
    await call.service.alarms.raise_alarm(
        WebhookAlarm.UNREADABLE, f"{provider}:{event.event_id}", NOT_READABLE
    )
