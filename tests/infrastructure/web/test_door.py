"""What holds for every call: who may call, what a body may be, and what the router itself refuses."""

import asyncio
import re

import httpx
import psycopg
import pytest

from infrastructure.web.app import application_of
from infrastructure.web.problems import KINDS
from infrastructure.web.routes import OPERATIONS

GUARDED = [op for op in OPERATIONS if op.path.startswith("/v1/")]
OPEN = [op for op in OPERATIONS if not op.path.startswith("/v1/")]


def filled(path):
    return re.sub(r"{\w+}", "x", path)


@pytest.fixture
async def uninvited(unopened, connect):
    """A client without the token."""
    async with connect(application_of(unopened)) as client:
        yield client


# --- who may call -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", GUARDED, ids=lambda op: f"{op.method} {op.path}")
async def test_v1_call_requires_token(uninvited, op):
    answer = await uninvited.request(op.method, filled(op.path))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer wrong", "Basic a-token-of-the-tests", "a-token-of-the-tests", "Bearer a-token-of-the-tests2",
     "Bearer a-token-of-the-test", b"Bearer \xe9\xff"],
)  # fmt: skip
async def test_wrong_token_is_refused(uninvited, header):
    answer = await uninvited.get("/v1/transfers", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "a-token-of-the-tests" not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_auth_scheme_is_case_insensitive(uninvited, scheme):
    answer = await uninvited.get("/v1/transfers?limit=0", headers={"Authorization": f"{scheme} a-token-of-the-tests"})
    assert answer.status_code == 422


async def test_unknown_path_is_hidden_without_token(uninvited):
    assert (await uninvited.get("/v1/nothing")).status_code == 401
    assert (await uninvited.delete("/v1/transfers")).status_code == 401


@pytest.mark.parametrize("op", OPEN, ids=lambda op: f"{op.method} {op.path}")
async def test_call_outside_v1_needs_no_token(uninvited, op):
    assert (await uninvited.request(op.method, op.path)).status_code != 401


async def test_unset_token_allows_all_but_cross_site_calls(unopened, without, connect):
    async with connect(application_of(without(unopened, api_token=None))) as client:
        assert (await client.get("/v1/transfers?limit=0")).status_code == 422
        assert (await client.get("/v1/transfers?limit=0", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 422
        for site in ("cross-site", "same-site"):
            answer = await client.post("/v1/orders", content=b"{}", headers={"Sec-Fetch-Site": site})
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"order", b"\xff", b"\xef\xbb\xbf{}", b'{"order_id": "\\ud800"}', b'{"order_id": "\xed\xa0\x80"}',
     b"[" * 1_000, b'{"amount": ' + b"9" * 5_000 + b"}"],
)  # fmt: skip
async def test_malformed_json_is_refused(at_the_door, body):
    answer = await at_the_door.post("/v1/orders", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
async def test_content_type_other_than_json_is_refused(at_the_door, media_type):
    answer = await at_the_door.post("/v1/orders", content=b"{}", headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_json_content_type_is_recognised_in_all_spellings(at_the_door):
    for media_type in ("application/json", "APPLICATION/JSON; charset=utf-8", "application/json;charset=utf-8"):
        assert (await at_the_door.post("/v1/orders", content="{}", headers={"Content-Type": media_type})).status_code == 422


async def test_oversized_declared_body_is_not_read(at_the_door):
    read = []

    async def body():
        read.append(True)
        yield b"{}"

    answer = await at_the_door.post("/v1/orders", content=body(), headers={"Content-Length": str(8 * (1 << 20) + 1)})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert not read


async def test_body_without_length_is_read_up_to_limit(at_the_door):
    chunks = 0

    async def body():
        nonlocal chunks
        while True:
            chunks += 1
            yield b" " * 65_536

    answer = await at_the_door.post("/v1/orders", content=body())
    assert answer.status_code == 413
    assert chunks == 8 * 16 + 1


async def test_false_content_length_does_not_bypass_limit(at_the_door):
    async def body():
        for _ in range(17):
            yield b" " * 65_536

    answer = await at_the_door.post("/v1/orders", content=body(), headers={"Content-Length": "2"})
    assert answer.status_code == 413


async def test_slow_body_times_out(at_the_door, monkeypatch):
    monkeypatch.setattr("infrastructure.web.request_body.BODY_WITHIN_SECONDS", 0.01)

    async def body():
        yield b"{"
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        answer = await at_the_door.post("/v1/orders", content=body())
    assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")


# --- the router -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/orders/", "/v1//orders", "/v1%2Forders", "/favicon.ico", "/v1/orders/a/b", "/%00"]
)
async def test_unknown_path_is_not_found(at_the_door, path):
    answer = await at_the_door.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", sorted({op.path for op in OPERATIONS}))
async def test_wrong_method_is_answered_with_allowed_ones(at_the_door, path):
    offered = {op.method for op in OPERATIONS if op.path == path}
    answer = await at_the_door.delete(filled(path))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == offered | ({"HEAD"} if "GET" in offered else set())


async def test_head_is_answered_like_get(client, shop):
    await shop.paid("x", x=1)
    await shop.refund("x", "x")
    for path in (filled(op.path) for op in OPERATIONS if op.method == "GET"):
        got, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"]), path


async def test_unknown_query_parameter_of_v1_is_refused(at_the_door):
    for op in GUARDED:
        answer = await at_the_door.request(op.method, f"{filled(op.path)}?verbose=1")
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_query_parameter"), op.path


# --- our own faults ---------------------------------------------------------------------------------------------------


async def test_internal_error_reveals_no_details(app, database_url):
    with psycopg.connect(database_url, autocommit=True) as person:
        person.execute("alter table seller_transfers rename column seller_id to a_secret_name")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as client:
        answer = await client.get("/v1/transfers", headers={"Authorization": "Bearer a-token-of-the-tests"})
    assert answer.status_code == 500
    problem = answer.json()
    assert (problem["code"], problem["title"]) == ("internal_error", KINDS["internal_error"].title)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "a_secret_name" not in answer.text
    assert "Traceback" not in answer.text
    assert problem["instance"].startswith("urn:uuid:")


async def test_database_outage_is_answered_with_503(at_the_door):
    answer = await at_the_door.get("/v1/transfers")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
