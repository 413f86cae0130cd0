"""What Stripe writes to a webhook endpoint: the event as it is now, signed anew for each try."""

from __future__ import annotations

import orjson

from infrastructure.simulators.common.webhook_sender import Letter
from infrastructure.simulators.stripe.books import Books
from infrastructure.simulators.stripe.render import event_json
from infrastructure.simulators.stripe.rows import Event
from infrastructure.simulators.stripe.webhook_endpoints import OLD, Endpoint, signature, thin_body

WRONG_SECRET = "whsec_somebody_else"


def stripe_letter(books: Books, endpoint: Endpoint, event: Event) -> Letter:
    body = _body(books, endpoint, event)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": _signature(books, endpoint, body),
        "User-Agent": "Stripe/1.0 (simulator)",
    }
    return Letter(body, headers)


def _body(books: Books, endpoint: Endpoint, event: Event) -> bytes:
    if endpoint.payload == "thin":
        return thin_body(event, books.config.livemode)
    return orjson.dumps(event_json(books, event))


def _signature(books: Books, endpoint: Endpoint, body: bytes) -> str:
    knobs = endpoint.knobs
    secrets, timestamp = endpoint.secrets, books.clock.seconds()
    if knobs.bad_signatures:
        knobs.bad_signatures -= 1
        secrets = [WRONG_SECRET]
    elif knobs.old_timestamps:
        knobs.old_timestamps -= 1
        timestamp -= OLD
    return signature(secrets, body, timestamp)
