"""Answers of the router and to failures of the ledger itself."""

import re

import httpx
import psycopg
import pytest
from starlette.applications import Starlette

from infrastructure.web.problems import KINDS
from infrastructure.web.routes import OPERATIONS
from tests.infrastructure.web.conftest import Shop

GUARDED = [op for op in OPERATIONS if op.path.startswith("/v1/")]


def filled(path: str) -> str:
    return re.sub(r"{\w+}", "x", path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/orders/",
        "/v1//orders",
        "/v1%2Forders",
        "/favicon.ico",
        "/v1/orders/a/b",
        "/%00",
    ],
)
async def test_unknown_path_is_not_found(offline_client: httpx.AsyncClient, path: str) -> None:
    answer = await offline_client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", sorted({op.path for op in OPERATIONS}))
async def test_wrong_method_is_answered_with_allowed_ones(
    offline_client: httpx.AsyncClient, path: str
) -> None:
    offered = {op.method for op in OPERATIONS if op.path == path}
    answer = await offline_client.delete(filled(path))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == offered | (
        {"HEAD"} if "GET" in offered else set()
    )


async def test_head_is_answered_like_get(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid("x", x=1)
    await shop.refund("x", "x")
    for path in (filled(op.path) for op in OPERATIONS if op.method == "GET"):
        got, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.headers["content-type"]) == (
            got.status_code,
            got.headers["content-type"],
        ), path


async def test_unknown_query_parameter_of_v1_is_refused(offline_client: httpx.AsyncClient) -> None:
    for op in GUARDED:
        answer = await offline_client.request(op.method, f"{filled(op.path)}?verbose=1")
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_query_parameter"), (
            op.path
        )


async def test_internal_error_reveals_no_details(app: Starlette, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as person:
        person.execute("alter table seller_transfers rename column seller_id to a_secret_name")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as client:
        answer = await client.get(
            "/v1/transfers", headers={"Authorization": "Bearer a-token-of-the-tests"}
        )
    assert answer.status_code == 500
    problem = answer.json()
    assert (problem["code"], problem["title"]) == ("internal_error", KINDS["internal_error"].title)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "a_secret_name" not in answer.text
    assert "Traceback" not in answer.text
    assert problem["instance"].startswith("urn:uuid:")


async def test_database_outage_is_answered_with_503(offline_client: httpx.AsyncClient) -> None:
    answer = await offline_client.get("/v1/transfers")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
