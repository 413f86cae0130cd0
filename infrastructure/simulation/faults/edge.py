"""Answers of a provider's edge, which come before a request is executed."""

import random

import orjson

from infrastructure.simulation.faults.kinds import FaultKind
from infrastructure.simulation.network import ReceivedAnswer

K = FaultKind
AT_STRIPE: dict[str, tuple[int, str, str | None]] = {
    K.RATE_LIMITED: (429, "invalid_request_error", "rate_limit"),
    K.LOCK_TIMEOUT: (429, "invalid_request_error", "lock_timeout"),
    K.SERVER_ERROR: (500, "api_error", None),
    K.UNAVAILABLE: (503, "api_error", None),
    K.UNAUTHORIZED: (401, "invalid_request_error", None),
    K.FORBIDDEN: (403, "invalid_request_error", None),
    K.KEY_IN_USE: (409, "idempotency_error", "idempotency_key_in_use"),
}
"""Status, type and code of each kind (see infrastructure/simulators/stripe/errors.py)."""
AT_PSP: dict[str, tuple[int, str, str | None]] = {
    K.RATE_LIMITED: (429, "invalid_request", None),
    K.LOCK_TIMEOUT: (422, "invalid_request", "HE_00"),
    K.SERVER_ERROR: (500, "api", "HE_00"),
    K.UNAVAILABLE: (503, "api", "HE_00"),
    K.UNAUTHORIZED: (401, "invalid_request", "IR_01"),
    K.FORBIDDEN: (403, "invalid_request", "IR_17"),
}
PROXY_PAGE = b"<html><body><h1>Service unavailable</h1></body></html>"


def answer_of_edge(provider: str, kind: str, chance: random.Random) -> ReceivedAnswer | None:
    """Return the answer that a fault makes; None for a fault of another kind."""
    shape = (AT_STRIPE if provider == "stripe" else AT_PSP).get(kind)
    if shape is None:
        return None
    status, type_, code = shape
    headers = {"content-type": "application/json"}
    if kind == K.RATE_LIMITED and provider == "stripe":
        headers["stripe-rate-limited-reason"] = "endpoint-rate"
    if kind in (K.RATE_LIMITED, K.UNAVAILABLE) and chance.random() < 0.5:
        headers["retry-after"] = "3"
    if kind == K.UNAVAILABLE and chance.random() < 0.5:
        return ReceivedAnswer(PROXY_PAGE, status, {**headers, "content-type": "text/html"})
    error = {"type": type_, "code": code, "message": f"simulated {kind}"}
    return ReceivedAnswer(orjson.dumps({"error": error}), status, headers)
