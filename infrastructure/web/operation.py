"""One call, from the request to the response: read, validate, serve, answer. Operations see only typed values."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import unquote
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request
from starlette.responses import Response

from infrastructure.postgres.as_of import AsOfQueries
from infrastructure.postgres.fact_reader import FactReader
from infrastructure.postgres.read_models import ReadModels
from infrastructure.service import Service
from infrastructure.web.auth import GUARDED
from infrastructure.web.metrics import Metrics
from infrastructure.web.middleware import OPERATION
from infrastructure.web.problems import Problem, answer, problem_of
from infrastructure.web.request_body import whole_body
from infrastructure.web.requests import EXPECTED, ID_PATTERN, Parameters

MOST_ERRORS = 10
"""Errors named in one answer."""

B = TypeVar("B")
Q = TypeVar("Q")
Model = TypeVar("Model", bound=BaseModel)
_ID = re.compile(ID_PATTERN)


@dataclass(frozen=True, slots=True)
class Backend:
    """What operations work with."""

    service: Service
    reads: ReadModels
    history: FactReader
    past: AsOfQueries
    metrics: Metrics
    document: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """A call that has passed validation."""

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
    def past(self) -> AsOfQueries:
        return self.backend.past

    def id(self, name: str) -> str:
        """A caller's id out of the path. Raises Problem when it is none."""
        given = unquote(self.request.path_params[name])
        if not _ID.fullmatch(given):
            raise Problem("invalid_request", f"{name} in the path is no id; {EXPECTED[ID_PATTERN]}.")
        return given

    def transfer_id(self) -> UUID:
        """The transfer's id out of the path. Raises Problem when there can be no such transfer."""
        given = self.request.path_params["transfer_id"]
        try:
            known = UUID(given)
        except ValueError:
            known = None
        if known is None or str(known) != given.lower():
            raise Problem(
                "not_found", f"There is no transfer {given[:128]!r}; transfers are named by UUIDs, see GET /v1/transfers."
            )
        return known


@dataclass(frozen=True, slots=True)
class Reply:
    """What an operation answers: `content` is one of `views`."""

    status: int
    content: object


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: the single source for routing, validation and the OpenAPI document."""

    method: str
    path: str
    serve: Callable[[Call[Any, Any]], Awaitable[Reply | Response]]
    summary: str
    replies: Mapping[int, type[object] | str]
    """By status: the view, or the media type of what is no JSON."""
    problems: Sequence[str] = ()
    """The codes this operation adds to those that every one of its kind has."""
    body: type[BaseModel] | None = None
    query: type[Parameters] = Parameters
    raw: str | None = None
    """What the body is, where it is read by the operation itself."""

    @property
    def guarded(self) -> bool:
        """Whether it needs the token. Only those are strict about query parameters: probes and senders add their own."""
        return self.path.startswith(GUARDED)


def endpoint(op: Op) -> Callable[[Request], Awaitable[Response]]:
    """The operation as Starlette's router calls it. Never raises: every error is a problem."""

    async def serve(request: Request) -> Response:
        request.scope[OPERATION] = op.path
        try:
            reply = await op.serve(await _call(op, request))
        except Exception as error:
            return answer(problem_of(error))
        return reply if isinstance(reply, Response) else _response(reply)

    return serve


async def _call(op: Op, request: Request) -> Call[BaseModel | None, Parameters]:
    backend = getattr(request.app.state, "backend", None)
    if not isinstance(backend, Backend):
        raise Problem("not_ready", "The ledger is starting or stopping; try again in a moment.")
    query = _query(op, request) if op.guarded else op.query()
    body = await _body(op.body, request) if op.body is not None else None
    return Call(backend, request, body, query)


def _response(reply: Reply) -> Response:
    content = orjson.dumps(reply.content, option=orjson.OPT_UTC_Z)
    return Response(content, reply.status, media_type="application/json")


# --- reading ----------------------------------------------------------------------------------------------------------


def _query(op: Op, request: Request) -> Parameters:
    given = request.query_params.multi_items()
    names = [name for name, _ in given]
    known = ", ".join(op.query.names()) or "none"
    for name in names:
        if name not in op.query.names():
            raise Problem("unknown_query_parameter", f"{name[:64]!r} is no query parameter of this call; expected {known}.")
        if names.count(name) > 1:
            raise Problem("repeated_query_parameter", f"{name!r} is given more than once; send it once.")
    try:
        return op.query.model_validate(dict(given))
    except ValidationError as invalid:
        raise _misfit("query", invalid) from None


async def _body(model: type[Model], request: Request) -> Model:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem("unsupported_media_type", f"The body is sent as {media_type[:64]!r}; send application/json.")
    # a call whose members are all optional may come without a body
    raw = await whole_body(request) or (b"" if _required(model) else b"{}")
    try:
        return model.model_validate_json(raw)
    except ValidationError as invalid:
        raise _misfit("body", invalid) from None


def _required(model: type[BaseModel]) -> bool:
    return any(member.is_required() for member in model.model_fields.values())


def _misfit(where: str, invalid: ValidationError) -> Problem:
    errors = invalid.errors(include_url=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return Problem("bad_json", f"The body is no JSON text in UTF-8: {errors[0]['msg']}.")
    named = [{"in": where, "at": _place(where, error), "detail": _expectation(error)} for error in errors[:MOST_ERRORS]]
    place = f"{named[0]['at']} in the {where}" if named[0]["at"] else f"The {where}"
    detail = f"{place} does not fit: {named[0]['detail']}; see /openapi.json for what is expected."
    return Problem("invalid_request", detail, more={"errors": named})


def _place(where: str, error: ErrorDetails) -> str:
    """A JSON Pointer into the body, or the parameter's name."""
    if where == "query":
        return str(error["loc"][0])
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')[:128]}" for step in error["loc"])


def _expectation(error: ErrorDetails) -> str:
    pattern = error.get("ctx", {}).get("pattern")
    said = EXPECTED.get(pattern, error["msg"]) if isinstance(pattern, str) else error["msg"]
    return said.removeprefix("Value error, ")
