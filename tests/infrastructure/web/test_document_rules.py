"""Rules of the OpenAPI document that no field states alone: they refuse the same calls as the
service does, and its links lead somewhere."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from domain.money import CURRENCIES
from infrastructure.hyperswitch import signature as hyperswitch
from infrastructure.stripe import signature as stripe
from infrastructure.web import requests
from infrastructure.web.http_protocol import REFUSALS
from infrastructure.web.links import LINKS
from infrastructure.web.openapi import document
from infrastructure.web.pagination import CURSOR_PATTERN, cursor_at, place_of
from infrastructure.web.problems import KINDS, Problem
from infrastructure.web.routes import OPERATIONS
from tests.support.json_types import Json

DOCUMENT = document(OPERATIONS)
BY_NAME = {op.serve.__name__: op for op in OPERATIONS}
WHO = {"actor": "mia", "reason": "a test"}
PARTS = [{"seller_id": "anna", "amount": 1}]
REFUND = {"refund_id": "r1", "order_id": "o1"}


def allowed(model: type[requests.Body], body: Json) -> bool:
    schema = DOCUMENT["components"]["schemas"][model.__name__]
    whole = {**schema, "components": DOCUMENT["components"]}
    return bool(Draft202012Validator(whole).is_valid(body))


def accepted(model: type[requests.Body], body: Json) -> bool:
    try:
        model.model_validate(body)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("model", "body", "right"),
    [
        (requests.RefundIn, REFUND, True),
        (requests.RefundIn, {**REFUND, "psp_refund_id": "ref_1"}, False),
        (requests.RefundIn, {**REFUND, "psp_refund_id": "ref_1", "settled": False}, False),
        (requests.RefundIn, {**REFUND, "psp_refund_id": "ref_1", "settled": True}, True),
        (requests.RefundIn, {**REFUND, "psp_refund_id": None, "settled": False}, True),
        (requests.DecideIn, WHO, False),
        (requests.DecideIn, {**WHO, "allocation": PARTS}, True),
        (requests.DecideIn, {**WHO, "allocation": [], "amount": 5}, True),
        (requests.DecideIn, {**WHO, "allocation": None, "dismiss": False}, False),
        (requests.DecideIn, {**WHO, "dismiss": True}, True),
        (requests.DecideIn, {**WHO, "dismiss": True, "allocation": None, "amount": None}, True),
        (requests.DecideIn, {**WHO, "dismiss": True, "allocation": PARTS}, False),
        (requests.DecideIn, {**WHO, "dismiss": True, "amount": 5}, False),
        (requests.PauseIn, WHO, True),
        (requests.PauseIn, {**WHO, "seller_id": "anna"}, True),
        (requests.PauseIn, {**WHO, "work": "reversing", "seller_id": None}, True),
        (requests.PauseIn, {**WHO, "work": "reversing", "seller_id": "anna"}, False),
        (requests.RetryIn, {**WHO, "actor": "Stripe:evt_1"}, False),
        (requests.RetryIn, {**WHO, "actor": "a stripe: of paint"}, True),
    ],
)  # fmt: skip
def test_document_and_service_allow_same_bodies(
    model: type[requests.Body], body: Json, right: bool
) -> None:
    assert (allowed(model, body), accepted(model, body)) == (right, right)


def test_document_lists_every_currency() -> None:
    assert set(DOCUMENT["components"]["schemas"]["Currency"]["enum"]) == CURRENCIES


def test_every_cursor_of_the_ledger_fits_its_pattern() -> None:
    for year in (1970, 2026, 8_700):
        place = datetime(year, 5, 4, 3, 2, 1, 9, UTC), UUID(int=2**128 - year)
        assert re.fullmatch(CURSOR_PATTERN, cursor_at(*place))
        assert place_of(cursor_at(*place)) == place
    with pytest.raises(Problem, match="is not a cursor"):
        place_of(cursor_at(datetime(1970, 1, 1, tzinfo=UTC) - timedelta(days=1), UUID(int=1)))


def test_signatures_fit_the_patterns_of_their_headers() -> None:
    made = stripe.sign(b"{}", "secret", datetime.now(UTC))
    for header in (made, f"{made},v1={'0' * 64}", made.replace(",v1=", f",v0={'0' * 64},v1=")):
        assert re.fullmatch(stripe.PATTERN, header)
    assert re.fullmatch(hyperswitch.PATTERN, hyperswitch.sign(b"{}", "secret"))


def test_links_name_operations_their_parameters_and_members_of_answers() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for source, links in LINKS.items():
        content = next(iter(BY_NAME[source].replies.values()))
        assert not isinstance(content, str)
        for link in links:
            target = DOCUMENT["paths"][BY_NAME[link.to].path][BY_NAME[link.to].method.lower()]
            assert set(link.parameters) <= {one["name"] for one in target.get("parameters", [])}
            for expression in [*link.parameters.values(), *(link.body or {}).values()]:
                if str(expression).startswith("$response.body#/"):
                    assert found(schemas, schemas[content.__name__], str(expression))


def found(schemas: Json, schema: Json, expression: str) -> bool:
    for step in expression.partition("#/")[2].split("/"):
        schema = schema["items"] if step == "0" else schema["properties"].get(step)
        if "$ref" in (schema or {}):
            schema = schemas[schema["$ref"].rpartition("/")[2]]
    return bool(schema)


def test_refusals_of_the_http_protocol_are_problems() -> None:
    codes = {"bad_http", "head_too_slow", "head_too_large"}
    assert set(REFUSALS) == {KINDS[code].status for code in codes}
    for status in map(str, REFUSALS):
        for op in OPERATIONS:
            responses = DOCUMENT["paths"][op.path][op.method.lower()]["responses"]
            assert set(responses[status]["content"]) == {"application/problem+json"}
