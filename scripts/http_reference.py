"""Reference of the HTTP interface as Markdown, made from an OpenAPI document."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
CODE = re.compile(r"`(\w+)`: ([^;]+)")
HEAD = """# HTTP API

<!-- written by `dev.py docs` from the OpenAPI document; edit the code, not this page -->

The running service describes itself at `/openapi.json`. Calls under `/v1` need
`Authorization: Bearer TOKEN`
(`LEDGER_API_TOKEN`), unless none is set and the service listens on loopback only. Amounts are
integers in minor units, times are RFC 3339 in UTC.

Errors are RFC 9457 problems (`application/problem+json`): `code` is stable, and `detail` names the
fault, the expectation and the remedy. Answers have the header `Ledger-Mode`: `simulator`, `test` or
`live`.
"""


def reference(document: Json) -> str:
    """Write the page: an index, the operations by tag, the members of all models."""
    operations = [
        (method.upper(), path, described[method])
        for path, described in document["paths"].items()
        for method in METHODS
        if method in described
    ]
    common = set.intersection(*(set(_problems(op)) for _, path, op in operations if "/v1/" in path))
    everywhere = set.intersection(*(set(_problems(op)) for _, _, op in operations))
    tags: dict[str, list[tuple[str, str, Json]]] = {}
    for entry in operations:
        tags.setdefault(entry[2].get("tags", ["other"])[0], []).append(entry)
    lines = [HEAD, *_index(tags), *_common(operations, common)]
    for tag, entries in tags.items():
        lines += [f"## {tag[:1].upper()}{tag[1:]}", ""]
        for method, path, op in entries:
            lines += _operation(method, path, op, common if "/v1/" in path else everywhere)
    lines += ["## Models", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _model(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _index(tags: Mapping[str, Sequence[tuple[str, str, Json]]]) -> Iterator[str]:
    yield "| call | purpose |"
    yield "|---|---|"
    for entries in tags.values():
        for method, path, op in entries:
            call = f"{method} {path}"
            yield f"| [`{call}`](#{_anchor(call)}) | {_cell(op['summary'])} |"
    yield ""


def _common(operations: Sequence[tuple[str, str, Json]], common: set[str]) -> Iterator[str]:
    titles = {code: title for _, _, op in operations for code, title in _problems(op).items()}
    yield "## Problems of every call under `/v1`"
    yield ""
    yield from (f"- `{code}`: {titles[code]}" for code in sorted(common))
    yield ""


def _operation(method: str, path: str, op: Json, common: set[str]) -> Iterator[str]:
    yield from (f"### `{method} {path}`", "", op["summary"], "")
    if "description" in op:
        yield from (op["description"], "")
    if op.get("parameters"):
        yield "| parameter | in | type | meaning |"
        yield "|---|---|---|---|"
        yield from map(_parameter, op["parameters"])
        yield ""
    for content in _contents(op.get("requestBody", {})):
        yield from (f"Body: {content}.", "")
    own = {code for code in _problems(op) if code not in common}
    for status, answer in op["responses"].items():
        if status.startswith("2"):
            yield f"- {status}: {' or '.join(_contents(answer)) or answer['description']}"
        elif named := [code for code, _ in CODE.findall(answer["description"]) if code in own]:
            yield f"- {status}: {', '.join(f'`{code}`' for code in named)}"
    yield ""


def _parameter(parameter: Json) -> str:
    needed = " (required)" if parameter.get("required") else ""
    schema = parameter.get("schema", {})
    meaning = _cell(parameter.get("description") or schema.get("description", ""))
    return f"| `{parameter['name']}`{needed} | {parameter['in']} | {_type(schema)} | {meaning} |"


def _contents(carrier: Json) -> list[str]:
    """Describe the bodies of a request or answer: their models, or else their media types."""
    return [
        _type(content["schema"]) if content.get("schema") else f"`{media}`"
        for media, content in carrier.get("content", {}).items()
    ]


def _problems(op: Json) -> dict[str, str]:
    return {
        code: title
        for status, answer in op["responses"].items()
        if not status.startswith("2")
        for code, title in CODE.findall(answer.get("description", ""))
    }


def _model(name: str, schema: Json) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if "description" in schema:
        yield from (" ".join(schema["description"].split()), "")
    members = schema.get("properties")
    if not members:
        if "properties" not in schema:
            yield from (_type(schema), "")
        return
    needed = schema.get("required", [])
    yield "| member | type | meaning |"
    yield "|---|---|---|"
    for member, described in members.items():
        mark = "" if member in needed else " (optional)"
        meaning = _cell(described.get("description", ""))
        yield f"| `{member}`{mark} | {_type(described)} | {meaning} |"
    yield ""


def _type(schema: Json) -> str:
    """Describe a type in a few words."""
    match schema:
        case {"$ref": str(target)}:
            name = target.rsplit("/", 1)[-1]
            return f"[{name}](#{_anchor(name)})"
        case {"anyOf": choices} | {"oneOf": choices} if "type" not in schema:
            return " or ".join(dict.fromkeys(map(_type, choices)))
        case {"allOf": [only]}:
            return _type(only)
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"type": "array"}:
            return f"list of {_type(schema.get('items', {}))}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {_type(values)}"
        case {"type": "string", "format": str(form)}:
            return {"date-time": "time", "uuid": "UUID"}.get(form, form)
        case {"type": "string"}:
            return "text"
        case {"type": str(kind)}:
            return kind
        case {"type": list(kinds)}:
            return " or ".join(map(str, kinds))
    return "any value"


def _anchor(heading: str) -> str:
    """Return the anchor that Markdown viewers give to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
