"""One API call, from the request to the response: read, validate, serve, answer. Operations get
typed values only."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import unquote
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request
from starlette.responses import Response
from structlog.contextvars import bound_contextvars

from infrastructure.access import Caller, Role
from infrastructure.postgres.read_side.as_of import AsOfQueries
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.postgres.read_side.read_models import ReadModels
from infrastructure.service import Service
from infrastructure.traces import span
from infrastructure.web.auth import GUARDED, acting, caller_of, require_role
from infrastructure.web.metrics import Metrics
from infrastructure.web.middleware import OPERATION
from infrastructure.web.problems import Problem, answer, problem_of
from infrastructure.web.request_body import whole_body
from infrastructure.web.requests import EXPECTED, ID_PATTERN, Parameters, RetryIn

KEY, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
BOUND = ("order_id", "refund_id", "payment_id")
"""Members of a body that are ids for the log lines."""
MOST_ERRORS = 10
"""Limit of errors named in one answer."""

B = TypeVar("B")
Q = TypeVar("Q")
Model = TypeVar("Model", bound=BaseModel)
_ID = re.compile(ID_PATTERN)
READERS, DECIDERS = frozenset({Role.OPERATOR, Role.AUDITOR}), frozenset({Role.OPERATOR})
"""Roles that may call an operation which names none: one that reads, and one that changes."""
CHECKOUT = frozenset({Role.CHECKOUT})
CHECKOUT_OR_READERS = CHECKOUT | READERS


@dataclass(frozen=True, slots=True)
class Backend:
    """Parts of the service that operations use."""

    service: Service
    reads: ReadModels
    history: FactReader
    past: AsOfQueries
    metrics: Metrics
    document: bytes


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[B, Q]):
    """A validated call."""

    backend: Backend
    request: Request
    body: B
    query: Q

    @property
    def service(self) -> Service:
        return self.backend.service

    @property
    def reads(self) -> ReadModels:
        return self.backend.reads

    @property
    def caller(self) -> Caller:
        return caller_of(self.request)

    @property
    def past(self) -> AsOfQueries:
        return self.backend.past

    def id(self, name: str) -> str:
        """Return the caller's id in the path. Raises Problem when it is not an id."""
        given = unquote(self.request.path_params[name])
        if not _ID.fullmatch(given):
            raise Problem(
                "invalid_request", f"{name} in the path is not an id; {EXPECTED[ID_PATTERN]}."
            )
        return given

    def transfer_id(self) -> UUID:
        """Return the transfer's id in the path. Raises Problem when it cannot be the id of a
        transfer."""
        given = self.request.path_params["transfer_id"]
        try:
            known = UUID(given)
        except ValueError:
            known = None
        if known is None or str(known) != given.lower():
            raise Problem(
                "not_found",
                f"There is no transfer {given[:128]!r}; a transfer's id is a UUID, see GET "
                "/v1/transfers.",
            )
        return known


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of an operation: `content` is a class of `responses`. `fresh`: no repetition,
    although its status is that of one."""

    status: int
    content: object
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation: the single source for routing, validation and the OpenAPI document."""

    method: str
    path: str
    serve: Callable[[ApiCall[Any, Any]], Awaitable[Reply | Response]]
    summary: str
    replies: Mapping[int, type[object] | str]
    """By status: the response class, or the media type of an answer that is not JSON."""
    problems: Sequence[str] = ()
    """Codes of problems that only this operation has."""
    body: type[BaseModel] | None = None
    query: type[Parameters] = Parameters
    raw: str | None = None
    """Media type of a body that the operation reads itself."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Required headers, each with the pattern of its value."""
    optional_headers: Mapping[str, str] = field(default_factory=dict)
    streams: str | None = None
    """Media type of a stream that the caller may accept instead of JSON."""
    roles: frozenset[Role] | None = None
    """Roles that may call it, if they differ from `READERS` and `DECIDERS`."""

    @property
    def is_repeatable(self) -> bool:
        """True if a repetition is recognized: it is answered with 200 instead of 201 or 202."""
        return self.method == "POST" and len({200, 201, 202} & set(self.replies)) > 1

    @property
    def allowed(self) -> frozenset[Role]:
        """Roles whose tokens may call it, if it is guarded."""
        usual = READERS if self.method == "GET" else DECIDERS
        return usual if self.roles is None else self.roles

    @property
    def guarded(self) -> bool:
        """True if the call needs the token. Only these calls refuse unknown query parameters:
        probes and webhook senders add their own."""
        return self.path.startswith(GUARDED)


def endpoint(op: ApiOperation) -> Callable[[Request], Awaitable[Response]]:
    """Wrap the operation for Starlette's router. Never raises: every error becomes a problem."""

    async def serve(request: Request) -> Response:
        request.scope[OPERATION] = op.path
        try:
            require_role(request, op.allowed)
            call = await _call(op, request)
            ids = _ids_of(call)
            with bound_contextvars(**ids), span(f"{op.method} {op.path}", ids):
                reply = await op.serve(call)
        except Exception as error:
            return answer(problem_of(error))
        if isinstance(reply, Response):
            return reply
        response = _response(reply)
        if op.is_repeatable and reply.status == 200 and not reply.fresh:
            response.headers[REPLAYED] = "true"
        return response

    return serve


def _ids_of(call: ApiCall[BaseModel | None, Parameters]) -> dict[str, str]:
    """Return the ids in the path and the body, for the log lines of the request."""
    in_body = {name: getattr(call.body, name, None) for name in BOUND}
    known = {name: str(value) for name, value in in_body.items() if value is not None}
    return known | {name: str(value) for name, value in call.request.path_params.items()}


async def _call(op: ApiOperation, request: Request) -> ApiCall[BaseModel | None, Parameters]:
    backend = getattr(request.app.state, "backend", None)
    if not isinstance(backend, Backend):
        raise Problem("not_ready", "The ledger is starting or stopping; try again in a moment.")
    if op.guarded and KEY in request.headers:
        raise Problem(
            "idempotency_key",
            f"The header {KEY} has no use here: a call is repeated safely by the id in its body or "
            "path; leave the header out.",
        )
    query = _query(op, request) if op.guarded else op.query()
    body = await _body(op.body, request) if op.body is not None else None
    if isinstance(body, RetryIn):
        body = body.model_copy(update={"actor": acting(caller_of(request), body.actor)})
    return ApiCall(backend, request, body, query)


def _response(reply: Reply) -> Response:
    content = orjson.dumps(reply.content, option=orjson.OPT_UTC_Z)
    return Response(content, reply.status, media_type="application/json")


# --- reading --------------------------------------------------------------------------------------


def _query(op: ApiOperation, request: Request) -> Parameters:
    given = request.query_params.multi_items()
    names = [name for name, _ in given]
    known = ", ".join(op.query.names()) or "none"
    for name in names:
        if name not in op.query.names():
            raise Problem(
                "unknown_query_parameter",
                f"{name[:64]!r} is not a query parameter of this call; expected {known}.",
            )
        if names.count(name) > 1:
            raise Problem(
                "repeated_query_parameter", f"{name!r} is given more than once; send it once."
            )
    try:
        return op.query.model_validate(dict(given))
    except ValidationError as invalid:
        raise _misfit("query", invalid) from None


async def _body(model: type[Model], request: Request) -> Model:
    media_type = (
        request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    )
    if media_type != "application/json":
        raise Problem(
            "unsupported_media_type",
            f"The body has the media type {media_type[:64]!r}; send application/json.",
        )
    # a call whose members are all optional may come without a body
    raw = await whole_body(request) or (b"" if is_required(model) else b"{}")
    try:
        return model.model_validate_json(raw)
    except ValidationError as invalid:
        raise _misfit("body", invalid) from None


def is_required(model: type[BaseModel]) -> bool:
    """Return whether a call needs a body: whether one of its members is required."""
    return any(member.is_required() for member in model.model_fields.values())


def _misfit(where: str, invalid: ValidationError) -> Problem:
    errors = invalid.errors(include_url=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return Problem("bad_json", f"The body is not a JSON text in UTF-8: {errors[0]['msg']}.")
    named = [
        {"in": where, "at": _place(where, error), "detail": _expectation(error)}
        for error in errors[:MOST_ERRORS]
    ]
    place = f"{named[0]['at']} in the {where}" if named[0]["at"] else f"The {where}"
    detail = f"{place} is not valid: {named[0]['detail']}; see /openapi.json for the expected form."
    return Problem("invalid_request", detail, more={"errors": named})


def _place(where: str, error: ErrorDetails) -> str:
    """Return a JSON Pointer into the body, or the parameter's name."""
    if where == "query":
        return str(error["loc"][0])
    return "".join(
        f"/{str(step).replace('~', '~0').replace('/', '~1')[:128]}" for step in error["loc"]
    )


def _expectation(error: ErrorDetails) -> str:
    pattern = error.get("ctx", {}).get("pattern")
    said = EXPECTED.get(pattern, error["msg"]) if isinstance(pattern, str) else error["msg"]
    return said.removeprefix("Value error, ")
