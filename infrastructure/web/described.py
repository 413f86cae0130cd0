"""Descriptions, examples and known values of the OpenAPI document, from the table of names."""

from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure.web.member_names import MEMBERS, Described

Json = dict[str, Any]
_REFERENCE = "#/components/schemas/"


def describe_schemas(schemas: Mapping[str, Json]) -> None:
    """Add description and example to each member of each schema that has none."""
    for name, schema in schemas.items():
        for member, described in schema.get("properties", {}).items():
            _describe(described, described_member(name, member), schemas)


def describe_parameter(parameter: Json, query: str) -> Json:
    """Return a parameter with description and example. `query`: the name of its model."""
    known = described_member(query, parameter["name"])
    if known is None:
        return parameter
    example = known.example
    if parameter["schema"].get("type") == "string" and not isinstance(example, str):
        example = str(example)
    return {"description": known.text, "example": example, **parameter}


def described_member(schema: str, member: str) -> Described | None:
    """Return the description of a member of a schema; None if its name is not known."""
    return MEMBERS.get(f"{schema}.{member}") or MEMBERS.get(member)


def _describe(member: Json, known: Described | None, schemas: Mapping[str, Json]) -> None:
    if known is None:
        return
    member.setdefault("description", known.text)
    nullable = {"type": "null"} in member.get("anyOf", [])
    if known.values:
        member["enum"] = [*map(str, known.values), *([None] if nullable else [])]
    if "examples" not in member:
        made = known.example if known.example is not None else _example(member, schemas)
        member["examples"] = [made]


def _example(schema: Json, schemas: Mapping[str, Json]) -> Any:
    """Make an example of a member that consists of other schemas."""
    if "$ref" in schema:
        named = schema["$ref"].removeprefix(_REFERENCE)
        return _object(named, schemas)
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas)]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], schemas)
    return None


def _object(name: str, schemas: Mapping[str, Json]) -> Any:
    schema = schemas[name]
    if "properties" not in schema:
        return schema.get("enum", [None])[0]
    return dict(_members(name, schema, schemas))


def _members(name: str, schema: Json, schemas: Mapping[str, Json]) -> Iterator[tuple[str, Any]]:
    for member, described in schema["properties"].items():
        known = described_member(name, member)
        made = known.example if known is not None else None
        yield member, made if made is not None else _example(described, schemas)
