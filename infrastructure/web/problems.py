"""Problem details (RFC 9457) for calls that cannot be served, each with a stable `code`.

The table `KINDS` is the only place that maps a code to its HTTP status. Domain errors have their
own code.
"""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import uuid4

import orjson
import psycopg
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from domain.errors import ConstraintBroken, LedgerError
from infrastructure.redaction import hide

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"

log = structlog.get_logger()


class ProblemKind(NamedTuple):
    """HTTP status and title of a problem code."""

    status: int
    title: str


KINDS: Mapping[str, ProblemKind] = {
    "bad_http": ProblemKind(400, "Not a request in HTTP/1.1"),
    "head_too_slow": ProblemKind(408, "The head of the request took too long"),
    "head_too_large": ProblemKind(431, "The head of the request is too large"),
    "bad_json": ProblemKind(400, "The body is not JSON"),
    "incomplete_body": ProblemKind(400, "The body ended too early"),
    "unknown_query_parameter": ProblemKind(400, "Unknown query parameter"),
    "repeated_query_parameter": ProblemKind(400, "Repeated query parameter"),
    "idempotency_key": ProblemKind(400, "Idempotency-Key is not used"),
    "bad_cursor": ProblemKind(400, "Not a cursor of this ledger"),
    "instant_and_position": ProblemKind(400, "An instant and a position together"),
    "position_not_reached": ProblemKind(400, "A position in the future"),
    "bad_period": ProblemKind(400, "A period that ends before it begins"),
    "period_too_long": ProblemKind(400, "Too many movements for one answer"),
    "bad_signature": ProblemKind(400, "The signature is missing or wrong"),
    "livemode_mismatch": ProblemKind(400, "Live and test are mixed"),
    "unauthorized": ProblemKind(401, "A token is needed"),
    "cross_site": ProblemKind(403, "Called from another site"),
    "unknown_host": ProblemKind(403, "Called under a foreign name"),
    "forbidden_role": ProblemKind(403, "The token's role may not do this"),
    "forged_form": ProblemKind(403, "The form is not from this session"),
    "forbidden_actor": ProblemKind(403, "The token may not act under this name"),
    "not_found": ProblemKind(404, "Not found"),
    "webhook_not_configured": ProblemKind(404, "This webhook is not configured"),
    "method_not_allowed": ProblemKind(405, "Method not allowed"),
    "body_too_slow": ProblemKind(408, "The body took too long"),
    "content_differs": ProblemKind(409, "The same id with other content"),
    "import_differs": ProblemKind(409, "Differs from the imported transfers"),
    "exceeds_order": ProblemKind(409, "The amount is larger than the amount left"),
    "contradiction": ProblemKind(409, "Contradicts what is recorded"),
    "call_in_flight": ProblemKind(409, "A call to Stripe is in progress"),
    "nothing_to_retry": ProblemKind(409, "Nothing to retry"),
    "nothing_to_read": ProblemKind(409, "Nothing to read"),
    "nothing_to_resolve": ProblemKind(409, "Nothing to resolve"),
    "not_adoptable": ProblemKind(409, "The finding cannot be adopted"),
    "nothing_to_replay": ProblemKind(409, "Nothing to replay"),
    "nothing_to_decide": ProblemKind(409, "Nothing to decide"),
    "ends_with_its_cause": ProblemKind(409, "The alarm ends with its cause"),
    "alarm_seen_again": ProblemKind(409, "The alarm was raised again"),
    "evidence_differs": ProblemKind(409, "The evidence does not fit"),
    "illegal_transition": ProblemKind(409, "The life cycle forbids it"),
    "psp_not_configured": ProblemKind(409, "No payment provider is configured"),
    "psp_refused": ProblemKind(409, "The payment provider refused"),
    "order_not_paid": ProblemKind(409, "The order has no confirmed payment yet"),
    "refused": ProblemKind(409, "The request is not possible in the present state"),
    "body_too_large": ProblemKind(413, "The body is too large"),
    "unsupported_media_type": ProblemKind(415, "Only JSON is accepted"),
    "invalid_request": ProblemKind(422, "The request is not valid"),
    "bad_money": ProblemKind(422, "Not an amount or a currency"),
    "internal_error": ProblemKind(500, "A fault of the ledger"),
    "does_not_tie_out": ProblemKind(500, "The statement does not add up"),
    "not_ready": ProblemKind(503, "Not ready"),
    "too_many_large_bodies": ProblemKind(503, "Too many large bodies at once"),
    "too_many_followers": ProblemKind(503, "Too many calls wait for facts"),
    "stripe_silent": ProblemKind(503, "Stripe did not answer"),
    "psp_silent": ProblemKind(503, "The payment provider did not answer"),
    "database_unavailable": ProblemKind(503, "The database cannot answer now"),
    "newer_release": ProblemKind(503, "A newer release is needed"),
    "conflict": ProblemKind(503, "Too many writers at once"),
}


class Problem(Exception):
    """Error that ends a call. `detail` is one sentence: the fault, the expectation, the remedy."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        self.code, self.detail, self.headers, self.more = (
            code,
            detail,
            dict(headers or {}),
            dict(more or {}),
        )
        super().__init__(detail)


def psp_not_configured() -> Problem:
    """Build the problem that the call needs a payment provider, and the settings name none."""
    detail = (
        "No payment provider is configured: set HYPERSWITCH_BASE_URL and HYPERSWITCH_API_KEY, or "
        "report payments and refunds that were made elsewhere."
    )
    return Problem("psp_not_configured", detail)


def answer(problem: Problem) -> Response:
    """Return the problem as a response."""
    kind = KINDS[problem.code]
    retry = {"Retry-After": RETRY_AFTER_SECONDS} if kind.status == 503 else {}
    return _response(
        kind.status, problem.code, kind.title, problem.detail, retry | problem.headers, problem.more
    )


def body_of(code: str, detail: str) -> bytes:
    """Return the body of a problem, for an answer that the application does not make."""
    kind = KINDS[code]
    return bytes(_response(kind.status, code, kind.title, detail, {}, {}).body)


def _response(
    status: int,
    code: str,
    title: str,
    detail: str,
    headers: Mapping[str, str],
    more: Mapping[str, object],
) -> Response:
    members = {"type": f"urn:problem-type:transfer-ledger:{code}", "title": title, "status": status}
    content = orjson.dumps({**members, "code": code, "detail": hide(detail), **more})
    return Response(content, status, headers=dict(headers), media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """Map an error to the problem for the caller. Faults of the ledger are logged under an id that
    the caller gets too."""
    match error:
        case Problem():
            return error
        case ConstraintBroken():
            return _fault(error)
        case LedgerError() if error.code in KINDS:
            return Problem(error.code, str(error))
        case psycopg.OperationalError():  # psycopg_pool's time-outs are such errors too
            log.warning("the database did not answer a call", error=" ".join(str(error).split()))
            return Problem(
                "database_unavailable",
                "The database does not answer; nothing was stored, so try again later.",
            )
        case ClientDisconnect():
            # the caller has hung up, so the answer reaches no one, and there is nothing to log
            return Problem("incomplete_body", "The connection ended before the answer.")
        case _:
            return _fault(error)


def _fault(error: Exception) -> Problem:
    instance = f"urn:uuid:{uuid4()}"
    log.error("a call failed", instance=instance, exc_info=error)
    detail = (
        f"The ledger has a fault; its log has the details under {instance}, and repeating the "
        "call is safe."
    )
    return Problem("internal_error", detail, more={"instance": instance})


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer for unknown paths and methods, with the router's headers (Allow)."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return answer(
                Problem(
                    "not_found",
                    f"There is no operation {where}; /openapi.json lists all operations.",
                )
            )
        case 405:
            return answer(
                Problem(
                    "method_not_allowed",
                    f"The method of {where} is not allowed; the header Allow lists the allowed "
                    "methods.",
                    headers=headers,
                )
            )
        case status:
            return _response(
                status,
                f"http_{status}",
                error.detail,
                f"{where} failed: {error.detail}.",
                headers,
                {},
            )


async def on_exception(request: Request, error: Exception) -> Response:
    """Answer for errors outside of an operation."""
    return answer(problem_of(error))
