"""The OpenAPI document against the routes."""

import re

import httpx
import jsonschema
import pytest
from jsonschema import Draft202012Validator
from starlette.routing import Route

from infrastructure.service import Service
from infrastructure.web.app import application_of
from infrastructure.web.console.visit import ROOT
from infrastructure.web.problems import KINDS
from infrastructure.web.routes import OPERATIONS
from tests.infrastructure.web.conftest import Shop
from tests.support.json_types import Json


@pytest.fixture
async def document(offline_client: httpx.AsyncClient) -> Json:
    shown: Json = (await offline_client.get("/openapi.json")).json()
    return shown


async def test_openapi_document_matches_routes(offline_service: Service, document: Json) -> None:
    app = application_of(offline_service)
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    routed = {
        (m, r.path)
        for r in app.routes
        if isinstance(r, Route) and not r.path.startswith(ROOT)
        for m in (r.methods or ())
        if m != "HEAD"
    }
    assert described == routed == {(op.method, op.path) for op in OPERATIONS}


async def test_openapi_document_names_every_public_call(document: Json) -> None:
    promised = """
        POST /v1/orders · POST /v1/orders/{order_id}/payment · POST /v1/orders/{order_id}/paid · POST /v1/refunds
        · GET /v1/orders/{order_id} · GET /v1/refunds/{refund_id} · GET /v1/transfers · GET /v1/transfers/{transfer_id}
        · GET /v1/transfers/{transfer_id}/history · GET /v1/facts · POST /v1/transfers/{transfer_id}/retry
        · GET /v1/orders/{order_id}/history · GET /v1/sellers/{seller_id}/statement
        · GET /v1/sellers/{seller_id}/balance · POST /webhooks/hyperswitch · POST /webhooks/stripe
        · GET /healthz · GET /readyz · GET /metrics · GET /openapi.json"""
    for method, path in (call.split() for call in promised.split("·")):
        assert method.lower() in document["paths"][path]


async def test_openapi_references_resolve_to_valid_schemas(document: Json) -> None:
    for reference in re.findall(r"'\$ref': '#/([^']+)'", str(document)):
        found = document
        for step in reference.split("/"):
            found = found[step]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_openapi_document_states_limits_of_money_and_ids(document: Json) -> None:
    order = document["components"]["schemas"]["OrderIn"]
    assert (order["properties"]["amount"]["minimum"], order["properties"]["amount"]["maximum"]) == (
        1,
        2**53 - 1,
    )
    assert order["properties"]["order_id"]["pattern"] == "^[!-~]{1,128}$"
    assert order["additionalProperties"] is False
    (limit,) = (
        p for p in document["paths"]["/v1/transfers"]["get"]["parameters"] if p["name"] == "limit"
    )
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"], limit["schema"]["default"]) == (
        1,
        500,
        50,
    )


async def test_openapi_schema_accepts_same_bodies_as_app(
    document: Json, client: httpx.AsyncClient, shop: Shop
) -> None:
    whole = document["components"]["schemas"]["OrderIn"] | {"components": document["components"]}
    allowed = Draft202012Validator(whole)
    order = shop.an_order()
    allowed.validate(order)
    assert (await client.post("/v1/orders", json=order)).status_code == 201
    changes: list[Json] = [
        {"amount": 0},
        {"amount": 2**53},
        {"amount": "1"},
        {"order_id": "a b"},
        {"currency": "euro"},
        {"x": 1},
        {"shares": []},
    ]
    for change in changes:
        with pytest.raises(jsonschema.ValidationError):
            allowed.validate(order | change)
        assert (await client.post("/v1/orders", json=order | change)).status_code == 422


def test_operation_ids_are_unique() -> None:
    names = [op.serve.__name__ for op in OPERATIONS]
    assert len(set(names)) == len(names)


def test_operation_problems_are_catalogued() -> None:
    assert {code for op in OPERATIONS for code in op.problems} <= set(KINDS)


async def test_operation_requires_token_only_when_guarded(document: Json) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            assert ("security" in operation) == path.startswith("/v1/")
