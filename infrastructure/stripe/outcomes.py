"""The one mapping from what the SDK raises to what it means for the money.

The rule behind it: an outcome is definite only when Stripe itself said so, in a body we could read. Everything else
is `Unknown`, because a lost answer, a proxy's error page and a half-written body all look the same from here,
and in each of them the money may have moved.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
import stripe

from domain.provider_call.outcome import Failure, Hindrance, NotExecuted, Rejected, Unknown
from infrastructure.redaction import EXCERPT, clean
from infrastructure.stripe.error_wording import says_already_reversed

LACKS_CAPABILITY = "insufficient_capabilities_for_transfer"
"""About the seller's account, not about our key, although it is reported as 403 as well as 400."""


def outcome_of(error: BaseException) -> Failure:
    """What an exception out of a call to Stripe means. Total: it never raises."""
    match error:
        case stripe.APIConnectionError(__cause__=BaseException() as cause):
            return outcome_of(cause)
        case stripe.APIConnectionError():
            return Unknown("connection", clean(error.user_message or "No connection to Stripe"))
        case stripe.StripeError():
            return _of_answer(error)
        case asyncio.CancelledError():
            return Unknown("cancelled", "The call was cancelled before its answer came")
        case TimeoutError():
            return Unknown("timeout", _said("No whole answer within the time limit", error))
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return Unknown("unreadable", _said("The answer broke off or is not HTTP", error))
        case aiohttp.ClientError() | OSError():
            return Unknown("connection", _said("The connection to Stripe failed", error))
    # A mistake of ours, and nobody knows whether it struck before or after the money moved. So it is Unknown like a
    # lost answer (same key, looked up before anybody gives up), but under a name that no network fault ever has.
    return Unknown(f"bug:{type(error).__name__}", _said("A fault of this program, not of the network", error))


class _Answer(NamedTuple):
    """The few fields of an error answer that matter; nothing else of it is kept."""

    status: int
    type: str
    code: str | None
    param: str | None
    message: str
    limiter: str | None
    should_retry: str | None
    replayed: bool
    request_id: str | None

    @property
    def stored(self) -> bool:
        return self.replayed or self.should_retry == "false"


def _of_answer(error: stripe.StripeError) -> Failure:
    answer = _read(error)
    if answer is None:
        return _unreadable(error)
    # By code, whatever the status: taken for a rejection, a key in use would be followed by a second key.
    if answer.code == "idempotency_key_in_use":
        return NotExecuted(Hindrance.KEY_IN_USE, answer.message, answer.request_id)
    if answer.type == "idempotency_error":
        return Unknown("idempotency_error", answer.message, answer.status, answer.request_id, answer.replayed)
    if answer.code != LACKS_CAPABILITY and (hindrance := _hindrance(answer)):
        return NotExecuted(hindrance, answer.message, answer.request_id)
    if answer.status in (400, 402, 404) or (answer.status == 403 and answer.code == LACKS_CAPABILITY):
        return Rejected(
            answer.status,
            answer.code,
            answer.message,
            answer.stored,
            param=answer.param,
            request_id=answer.request_id,
            says_reversed=says_already_reversed(answer.message),
        )
    return Unknown(f"http_{answer.status}", answer.message, answer.status, answer.request_id, answer.replayed)


def _hindrance(answer: _Answer) -> Hindrance | None:
    match answer.status:
        case 400 | 429 if answer.code == "rate_limit":  # 400 is how limits were told in older API versions
            return Hindrance.RATE_LIMITED
        case 429:
            return Hindrance.RATE_LIMITED if answer.limiter else Hindrance.LOCK_TIMEOUT
        case 401:
            return Hindrance.UNAUTHORIZED
        case 403:
            return Hindrance.FORBIDDEN
    return None


def _read(error: stripe.StripeError) -> _Answer | None:
    """None unless the body is Stripe's `{"error": {"type": …}}`: others' errors say nothing about our money."""
    body = error.json_body
    fields = body.get("error") if isinstance(body, dict) else None
    if not isinstance(fields, dict) or error.http_status is None or not _text(fields, "type"):
        return None
    headers = error.headers or {}
    return _Answer(
        status=error.http_status,
        type=_text(fields, "type") or "",
        code=_text(fields, "code"),
        param=_text(fields, "param"),
        message=_text(fields, "message") or f"HTTP {error.http_status} without a message",
        limiter=_text(headers, "stripe-rate-limited-reason"),
        should_retry=_text(headers, "stripe-should-retry"),
        replayed=is_replay(headers),
        request_id=request_id(headers),
    )


def _unreadable(error: stripe.StripeError) -> Unknown:
    status = error.http_status
    failed = status is not None and not 200 <= status < 300
    start = clean(" ".join((error.http_body or "").split()), EXCERPT)
    return Unknown(
        f"http_{status}" if failed else "unreadable",
        f"HTTP {status} with a body that is not Stripe's: {start or '(empty)'}",
        status,
        request_id(_headers_of_unreadable(error)),
    )


def _headers_of_unreadable(error: stripe.StripeError) -> Mapping[str, object]:
    # When the body is not JSON, the SDK hands the headers over in the place of the parsed body.
    if error.headers or isinstance(error.json_body, dict) or not isinstance(error.json_body, Mapping):
        return error.headers or {}
    return error.json_body


def request_id(headers: Mapping[str, object]) -> str | None:
    return _text(headers, "request-id")


def is_replay(headers: Mapping[str, object]) -> bool:
    return (_text(headers, "idempotent-replayed") or "").lower() == "true"


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return clean(value) if isinstance(value, str) and value else None


def _said(what: str, error: BaseException) -> str:
    # str, never repr: the repr of some aiohttp errors lists the request's headers, the API key among them
    return clean(f"{what} ({type(error).__name__}: {str(error) or 'no details'}).")
