"""Descriptions and examples of the OpenAPI document: every member and every parameter has both."""

from collections.abc import Iterator

from jsonschema import Draft202012Validator

from infrastructure.web.member_names import MEMBERS
from infrastructure.web.openapi import document
from infrastructure.web.routes import OPERATIONS
from tests.support.json_types import Json

DOCUMENT = document(OPERATIONS)
SCHEMAS = DOCUMENT["components"]["schemas"]


def members() -> Iterator[tuple[str, Json]]:
    for name, schema in SCHEMAS.items():
        for member, described in schema.get("properties", {}).items():
            yield f"{name}.{member}", described


def parameters() -> Iterator[tuple[str, Json]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            for parameter in operation.get("parameters", []):
                yield f"{method} {path} {parameter['name']}", parameter


def test_every_member_has_description_and_example() -> None:
    """A new name gets its line in `member_names`, or a description where the model is."""
    lacking = [
        name
        for name, member in members()
        if not member.get("description") or not member.get("examples")
    ]
    assert lacking == []


def test_every_parameter_has_description_and_example() -> None:
    lacking = [
        name
        for name, parameter in parameters()
        if not parameter.get("description") or "example" not in parameter
    ]
    assert lacking == []


def test_every_example_of_a_member_is_valid() -> None:
    wrong = {
        name: str(error)[:200]
        for name, member in members()
        for example in member["examples"]
        for error in Draft202012Validator(
            {**member, "components": DOCUMENT["components"]}
        ).iter_errors(example)
    }
    assert wrong == {}


def test_every_example_of_a_parameter_is_valid() -> None:
    wrong = {
        name: str(error)[:200]
        for name, parameter in parameters()
        for error in Draft202012Validator(
            {**parameter["schema"], "components": DOCUMENT["components"]}
        ).iter_errors(parameter["example"])
    }
    assert wrong == {}


def test_every_operation_has_a_tag_and_a_summary() -> None:
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            assert operation["tags"]
            assert operation["summary"].endswith(".")


def test_no_description_of_a_name_is_unused() -> None:
    used = {name for full, _ in members() for name in (full, full.split(".")[1])}
    used |= {parameter["name"] for _, parameter in parameters()}
    assert sorted(set(MEMBERS) - used) == []
