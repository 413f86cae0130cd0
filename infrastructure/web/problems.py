"""What is answered when a call cannot be served: problem details (RFC 9457), each with a stable `code`.

The table below is the one place that says which status a code has; domain errors bring their own code.
"""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import uuid4

import orjson
import psycopg
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from domain.errors import ConstraintBroken, LedgerError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"

log = structlog.get_logger()


class Kind(NamedTuple):
    """One sort of problem."""

    status: int
    title: str


KINDS: Mapping[str, Kind] = {
    "bad_json": Kind(400, "The body is not JSON"),
    "incomplete_body": Kind(400, "The body ended too early"),
    "unknown_query_parameter": Kind(400, "Unknown query parameter"),
    "repeated_query_parameter": Kind(400, "Repeated query parameter"),
    "bad_cursor": Kind(400, "Not a cursor of ours"),
    "instant_and_position": Kind(400, "An instant and a position together"),
    "position_not_reached": Kind(400, "A position still to come"),
    "bad_period": Kind(400, "A period that ends before it begins"),
    "period_too_long": Kind(400, "Too many movements for one answer"),
    "bad_signature": Kind(400, "The signature is missing or wrong"),
    "livemode_mismatch": Kind(400, "Live and test are mixed up"),
    "unauthorized": Kind(401, "A token is needed"),
    "cross_site": Kind(403, "Called from another site"),
    "not_found": Kind(404, "Not found"),
    "webhook_not_configured": Kind(404, "This webhook is not configured"),
    "method_not_allowed": Kind(405, "Method not allowed"),
    "body_too_slow": Kind(408, "The body took too long"),
    "content_differs": Kind(409, "The same id with other content"),
    "import_differs": Kind(409, "Not what was imported"),
    "exceeds_order": Kind(409, "More than is left"),
    "contradiction": Kind(409, "Contradicts what is recorded"),
    "call_in_flight": Kind(409, "A call to Stripe is under way"),
    "nothing_to_retry": Kind(409, "Nothing to retry"),
    "nothing_to_resolve": Kind(409, "Nothing to resolve"),
    "evidence_differs": Kind(409, "The evidence proves something else"),
    "illegal_transition": Kind(409, "The life cycle forbids it"),
    "psp_not_configured": Kind(409, "There is no payment provider to ask"),
    "psp_refused": Kind(409, "The payment provider refused"),
    "refused": Kind(409, "Refused"),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "Only JSON is understood"),
    "invalid_request": Kind(422, "The request does not fit"),
    "bad_money": Kind(422, "Not an amount or a currency"),
    "internal_error": Kind(500, "A fault of ours"),
    "does_not_tie_out": Kind(500, "A statement that its movements do not explain"),
    "not_ready": Kind(503, "Not ready"),
    "stripe_silent": Kind(503, "Stripe could not be asked"),
    "psp_silent": Kind(503, "The payment provider has not answered"),
    "database_unavailable": Kind(503, "The database cannot answer now"),
    "conflict": Kind(503, "Too many writers at once"),
}


class Problem(Exception):
    """Ends a call with this problem. `detail` is one sentence: what was wrong, what was expected, what to do."""

    def __init__(
        self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, more: Mapping[str, object] | None = None
    ) -> None:
        self.code, self.detail, self.headers, self.more = code, detail, dict(headers or {}), dict(more or {})
        super().__init__(detail)


def psp_not_configured() -> Problem:
    """What is asked for needs the payment provider, and the settings name none."""
    detail = "No payment provider is configured: set HYPERSWITCH_BASE_URL and HYPERSWITCH_API_KEY, or tell what was done there."
    return Problem("psp_not_configured", detail)


def answer(problem: Problem) -> Response:
    """The problem as a response."""
    kind = KINDS[problem.code]
    retry = {"Retry-After": RETRY_AFTER_SECONDS} if kind.status == 503 else {}
    return _response(kind.status, problem.code, kind.title, problem.detail, retry | problem.headers, problem.more)


def _response(
    status: int, code: str, title: str, detail: str, headers: Mapping[str, str], more: Mapping[str, object]
) -> Response:
    members = {"type": f"urn:problem-type:transfer-ledger:{code}", "title": title, "status": status}
    content = orjson.dumps({**members, "code": code, "detail": detail, **more})
    return Response(content, status, headers=dict(headers), media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """What a caller is told of an error. What is our own fault is logged under an id that the caller is given."""
    match error:
        case Problem():
            return error
        case ConstraintBroken():
            return _fault(error)
        case LedgerError() if error.code in KINDS:
            return Problem(error.code, str(error))
        case psycopg.OperationalError():  # psycopg_pool's time-outs are such errors too
            log.warning("a call met a database that does not answer", error=" ".join(str(error).split()))
            return Problem("database_unavailable", "The database does not answer now; nothing was stored, so try again later.")
        case _:
            return _fault(error)


def _fault(error: Exception) -> Problem:
    instance = f"urn:uuid:{uuid4()}"
    log.error("a call failed", instance=instance, exc_info=error)
    detail = f"Something failed on our side; it is in our log under {instance}, and calling again is safe."
    return Problem("internal_error", detail, more={"instance": instance})


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the router itself refuses: unknown paths and methods. Its headers (Allow) are kept."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return answer(Problem("not_found", f"There is nothing at {where}; /openapi.json lists what there is."))
        case 405:
            return answer(Problem("method_not_allowed", f"{where} is not offered; see Allow for what is.", headers=headers))
        case status:
            return _response(status, f"http_{status}", error.detail, f"{where} failed: {error.detail}.", headers, {})


async def on_exception(request: Request, error: Exception) -> Response:
    """The last resort, for what fails outside of an operation."""
    return answer(problem_of(error))
