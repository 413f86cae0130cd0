"""The OpenAPI 3.1 document, made from the table of operations."""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from infrastructure.access import Role
from infrastructure.web.described import describe_parameter, describe_schemas
from infrastructure.web.links import links_of
from infrastructure.web.middleware import REQUEST_ID, REQUEST_ID_PATTERN
from infrastructure.web.operation import REPLAYED, ApiOperation, is_required
from infrastructure.web.problems import KINDS, MEDIA_TYPE
from infrastructure.web.request_body import LARGEST_BODY
from infrastructure.web.requests import ID_PATTERN, RetryIn

Json = dict[str, Any]

OF_EVERY_CALL = ("internal_error", "not_ready", "bad_http", "head_too_slow", "head_too_large")
OF_GUARDED_CALLS = (
    "unauthorized",
    "cross_site",
    "unknown_host",
    "forbidden_role",
    "newer_release",
    "unknown_query_parameter",
    "repeated_query_parameter",
    "idempotency_key",
    "database_unavailable",
    "conflict",
)
OF_CALLS_WITH_A_BODY = (
    "incomplete_body",
    "body_too_slow",
    "body_too_large",
    "too_many_large_bodies",
)
OF_CALLS_WITH_JSON = ("bad_json", "unsupported_media_type", "invalid_request")

REFERENCE = "#/components/schemas/{model}"
PATH_PARAMETERS: Mapping[str, Json] = {
    "transfer_id": {"type": "string", "format": "uuid"},
    "order_id": {"type": "string", "pattern": ID_PATTERN},
    "refund_id": {"type": "string", "pattern": ID_PATTERN},
    "seller_id": {"type": "string", "pattern": ID_PATTERN},
    "dispute_id": {"type": "string", "pattern": ID_PATTERN},
    "finding_id": {"type": "string", "pattern": ID_PATTERN},
    "job_id": {"type": "string", "pattern": ID_PATTERN},
    "inbox_id": {"type": "string", "pattern": r"^[0-9]{1,18}$"},
    "kind": {"type": "string", "pattern": ID_PATTERN},
    "subject": {"type": "string", "pattern": ID_PATTERN},
}
PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `detail` names fault, expectation and remedy.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "reasons": {"type": "array", "items": {"type": "string"}},
    },
}


HEADERS: Json = {
    "Ledger-Mode": {"schema": {"enum": ["simulator", "test", "live"]}},
    REQUEST_ID: {
        "description": "Id of the call, for its log lines. A caller may send its own.",
        "schema": {"type": "string", "pattern": REQUEST_ID_PATTERN},
    },
    REPLAYED: {
        "description": "The call repeats an earlier one, and has changed nothing.",
        "schema": {"const": "true"},
    },
}


def document(operations: Sequence[ApiOperation]) -> Json:
    """Build the document as a JSON value."""
    paths: dict[str, Json] = {}
    for op in operations:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Transfer ledger",
            "version": version("transfer-ledger"),
            "description": "Amounts are integers in minor units. Times are RFC 3339 in UTC. A call "
            "is repeated safely by the id in its body or path; Idempotency-Key is refused.",
        },
        "paths": paths,
        "components": {
            "schemas": _described({**_schemas(operations), "Problem": PROBLEM}),
            "headers": HEADERS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of LEDGER_API_TOKENS, whose role `x-roles` of the "
                    "operation must list, or one of LEDGER_API_TOKEN, which has every right.",
                }
            },
        },
    }


def codes(op: ApiOperation) -> tuple[str, ...]:
    """List the codes of all problems that this operation can answer."""
    listed: Iterable[str] = (*OF_EVERY_CALL, *op.problems)
    if op.guarded:
        listed = (*listed, *OF_GUARDED_CALLS)
    if op.body is not None or op.raw is not None:
        listed = (*listed, *OF_CALLS_WITH_A_BODY)
    if op.body is not None:
        listed = (*listed, *OF_CALLS_WITH_JSON)
    if op.body is not None and issubclass(op.body, RetryIn):
        listed = (*listed, "forbidden_actor")
    if op.query.model_fields or _names_in(op.path):
        listed = (*listed, "invalid_request")
    return tuple(dict.fromkeys(listed))


def _operation(op: ApiOperation) -> Json:
    described: Json = {
        "operationId": op.serve.__name__,
        "summary": op.summary,
        "tags": [op.path.split("/")[2] if op.guarded else op.path.split("/")[1]],
        "responses": {
            str(status): _reply(op, status, content) for status, content in op.replies.items()
        }
        | _problems(op),
    }
    if parameters := _in_path(op.path) + _in_query(op.query) + _in_headers(op):
        described["parameters"] = parameters
    if op.body is not None:
        schema = {"$ref": REFERENCE.format(model=op.body.__name__)}
        described["requestBody"] = {
            "required": is_required(op.body),
            "content": {"application/json": {"schema": schema}},
        }
    if op.raw is not None:
        said = (
            f"The raw body, exactly as signed, at most {LARGEST_BODY} bytes. An empty one is kept."
        )
        described["requestBody"] = {"required": False, "description": said, "content": {op.raw: {}}}
    if op.guarded:
        described["security"] = [{"token": []}]
        described["x-roles"] = [role for role in Role if role in op.allowed]
    return described


def _reply(op: ApiOperation, status: int, content: type[object] | str) -> Json:
    links, named = links_of(op.serve.__name__), ["Ledger-Mode", REQUEST_ID]
    if op.is_repeatable and status == 200:
        named.append(REPLAYED)
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in named}
    if isinstance(content, str):
        return {"description": "Success.", "headers": headers, "content": {content: {}}}
    schema = {"$ref": REFERENCE.format(model=content.__name__)}
    return {
        "description": "Success.",
        "headers": headers,
        "content": {
            "application/json": {"schema": schema},
            **({op.streams: {"schema": {"type": "string"}}} if op.streams else {}),
        },
        **({"links": links} if links else {}),
    }


def _problems(op: ApiOperation) -> Json:
    by_status: dict[int, list[str]] = {}
    for code in codes(op):
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {str(status): _problem(named) for status, named in sorted(by_status.items())}


def _problem(named: Sequence[str]) -> Json:
    said = "; ".join(f"`{code}`: {KINDS[code].title}" for code in named)
    return {
        "description": said,
        "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }


def _names_in(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _in_path(path: str) -> list[Json]:
    return [
        describe_parameter(
            {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}, ""
        )
        for name in _names_in(path)
    ]


def _in_query(query: type[BaseModel]) -> list[Json]:
    schema = TypeAdapter(query).json_schema(ref_template=REFERENCE)
    needed = schema.get("required", [])
    return [
        describe_parameter(
            {
                "name": name,
                "in": "query",
                "schema": _without_null(member),
                **({"required": True} if name in needed else {}),
            },
            query.__name__,
        )
        for name, member in schema.get("properties", {}).items()
    ]


def _without_null(schema: Json) -> Json:
    """Return the schema of a parameter: a parameter may be absent, but is never null."""
    match schema:
        case {"anyOf": [present, {"type": "null"}]}:
            return {**present, **{name: schema[name] for name in ("title",) if name in schema}}
    return schema


def _in_headers(op: ApiOperation) -> list[Json]:
    return [
        describe_parameter(
            {
                "name": name,
                "in": "header",
                "required": name in op.headers,
                "schema": {"type": "string", "pattern": pattern},
            },
            "",
        )
        for name, pattern in {**op.headers, **op.optional_headers}.items()
    ]


def _schemas(operations: Sequence[ApiOperation]) -> Json:
    bodies = {op.body for op in operations if op.body is not None} | {op.query for op in operations}
    _, sent = models_json_schema(
        [(model, "validation") for model in _by_name(bodies)], ref_template=REFERENCE
    )
    views = {
        content
        for op in operations
        for content in op.replies.values()
        if not isinstance(content, str)
    }
    mode: JsonSchemaMode = "serialization"
    adapters = [(view.__name__, mode, TypeAdapter[object](view)) for view in _by_name(views)]
    _, answered = TypeAdapter.json_schemas(adapters, ref_template=REFERENCE)
    return {**sent["$defs"], **answered["$defs"]}


def _described(schemas: Json) -> Json:
    described = deepcopy(schemas)
    describe_schemas(described)
    return described


def _by_name(types: Iterable[Any]) -> list[Any]:
    return sorted(types, key=lambda kind: str(kind.__name__))
