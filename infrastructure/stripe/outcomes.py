"""Mapping from the exceptions of the Stripe SDK to outcomes of a call.

An outcome is definite only when Stripe itself reports it in a readable body. Every other outcome is
`Unknown`: a lost answer, a proxy's error page and a half-written body cannot be told apart, and in
each case the money may have moved.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
import stripe

from domain.provider_call.outcome import Failure, Hindrance, NotExecuted, Rejected, Unknown
from infrastructure.redaction import EXCERPT, clean
from infrastructure.stripe.error_wording import (
    claim_about_source,
    says_already_reversed,
    says_no_funds,
)

LACKS_CAPABILITY = "insufficient_capabilities_for_transfer"
"""An error of the seller's account, not of our key, although Stripe reports the error as 403 as
well as 400."""


def outcome_of(error: BaseException) -> Failure:
    """Return the outcome of a call to Stripe that ended with this exception. Never raises."""
    match error:
        case stripe.APIConnectionError(__cause__=BaseException() as cause):
            return outcome_of(cause)
        case stripe.APIConnectionError():
            return Unknown("connection", clean(error.user_message or "No connection to Stripe"))
        case stripe.StripeError():
            return _outcome_of_answer(error)
        case asyncio.CancelledError():
            return Unknown("cancelled", "The call was cancelled before its answer came")
        case TimeoutError():
            return Unknown("timeout", _message("No complete answer within the time limit", error))
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return Unknown("unreadable", _message("The answer broke off or is not HTTP", error))
        case aiohttp.ClientError() | OSError():
            return Unknown("connection", _message("The connection to Stripe failed", error))
    # A bug of this program, which may have occurred before or after the money moved. So the outcome
    # is Unknown as for a lost answer (same key, a look-up before the last attempt), but under a
    # name that no network fault has.
    return Unknown(
        f"bug:{type(error).__name__}",
        _message("A fault of this program, not of the network", error),
    )


class _ErrorAnswer(NamedTuple):
    """The fields of an error answer that decide the outcome."""

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


def _outcome_of_answer(error: stripe.StripeError) -> Failure:
    answer = _error_answer(error)
    if answer is None:
        return _unreadable(error)
    # By code, for every status: a key in use that counted as a rejection would be followed by a
    # second key.
    if answer.code == "idempotency_key_in_use":
        return NotExecuted(Hindrance.KEY_IN_USE, answer.message, answer.request_id)
    if answer.type == "idempotency_error":
        return Unknown(
            "idempotency_error", answer.message, answer.status, answer.request_id, answer.replayed
        )
    if answer.code != LACKS_CAPABILITY and (hindrance := _hindrance(answer)):
        return NotExecuted(hindrance, answer.message, answer.request_id)
    if answer.status in (400, 402, 404) or (
        answer.status == 403 and answer.code == LACKS_CAPABILITY
    ):
        return Rejected(
            answer.status,
            answer.code,
            answer.message,
            answer.stored,
            param=answer.param,
            request_id=answer.request_id,
            says_reversed=says_already_reversed(answer.message),
            says_no_funds=says_no_funds(answer.message),
            says_source=claim_about_source(answer.message),
        )
    return Unknown(
        f"http_{answer.status}", answer.message, answer.status, answer.request_id, answer.replayed
    )


def _hindrance(answer: _ErrorAnswer) -> Hindrance | None:
    match answer.status:
        case 400 | 429 if (
            answer.code == "rate_limit"
        ):  # older API versions report rate limits as 400
            return Hindrance.RATE_LIMITED
        case 429:
            return Hindrance.RATE_LIMITED if answer.limiter else Hindrance.LOCK_TIMEOUT
        case 401:
            return Hindrance.UNAUTHORIZED
        case 403:
            return Hindrance.FORBIDDEN
    return None


def _error_answer(error: stripe.StripeError) -> _ErrorAnswer | None:
    """Return Stripe's error, or None for any body but `{"error": {"type": …}}`: a proxy's error
    says nothing about the money."""
    body = error.json_body
    fields = body.get("error") if isinstance(body, dict) else None
    if not isinstance(fields, dict) or error.http_status is None or not _text(fields, "type"):
        return None
    headers = error.headers or {}
    return _ErrorAnswer(
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
    # When the body is not JSON, the SDK passes the headers in the place of the parsed body.
    if (
        error.headers
        or isinstance(error.json_body, dict)
        or not isinstance(error.json_body, Mapping)
    ):
        return error.headers or {}
    return error.json_body


def request_id(headers: Mapping[str, object]) -> str | None:
    return _text(headers, "request-id")


def is_replay(headers: Mapping[str, object]) -> bool:
    return (_text(headers, "idempotent-replayed") or "").lower() == "true"


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return clean(value) if isinstance(value, str) and value else None


def _message(summary: str, error: BaseException) -> str:
    # str, never repr: the repr of some aiohttp errors contains the request's headers with the API
    # key
    return clean(f"{summary} ({type(error).__name__}: {str(error) or 'no details'}).")
