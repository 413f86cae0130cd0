"""What holds for every call: who may call, what a body may be, and what the router itself refuses."""

import json
import re

import httpx
import psycopg
import pytest

from infrastructure.web.app import application_of
from infrastructure.web.operations import OPERATIONS
from infrastructure.web.problems import KINDS

GUARDED = [op for op in OPERATIONS if op.path.startswith("/v1/")]
OPEN = [op for op in OPERATIONS if not op.path.startswith("/v1/")]


def filled(path):
    return re.sub(r"{\w+}", "x", path)


# --- who may call -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", GUARDED, ids=lambda op: f"{op.method} {op.path}")
async def test_every_call_under_v1_needs_the_token(stranger, op):
    answer = await stranger.request(op.method, filled(op.path))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer wrong", "Basic a-token-of-the-tests", "a-token-of-the-tests", "Bearer a-token-of-the-tests2",
     "Bearer a-token-of-the-test", b"Bearer \xe9\xff"],
)  # fmt: skip
async def test_anything_but_the_token_is_refused(stranger, header):
    answer = await stranger.get("/v1/transfers", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "a-token-of-the-tests" not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(stranger, scheme):
    assert (await stranger.get("/v1/transfers", headers={"Authorization": f"{scheme} a-token-of-the-tests"})).status_code == 200


async def test_without_the_token_nobody_learns_which_paths_exist(stranger):
    assert (await stranger.get("/v1/nothing")).status_code == 401
    assert (await stranger.delete("/v1/transfers")).status_code == 401


@pytest.mark.parametrize("op", OPEN, ids=lambda op: f"{op.method} {op.path}")
async def test_no_other_call_needs_the_token(stranger, op):
    assert (await stranger.request(op.method, op.path)).status_code != 401


async def test_with_no_token_set_calls_need_none_unless_another_sites_page_makes_them(service, without, connect):
    async with connect(application_of(without(service, api_token=None))) as client:
        assert (await client.get("/v1/transfers")).status_code == 200
        assert (await client.get("/v1/transfers", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200
        for site in ("cross-site", "same-site"):
            answer = await client.post("/v1/orders", content=b"{}", headers={"Sec-Fetch-Site": site})
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"order", b"\xff", b"\xef\xbb\xbf{}", b'{"order_id": "\\ud800"}', b'{"order_id": "\xed\xa0\x80"}',
     b"[" * 1_000, b'{"amount": ' + b"9" * 5_000 + b"}"],
)  # fmt: skip
async def test_what_is_no_json_is_refused(client, body):
    answer = await client.post("/v1/orders", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
async def test_only_json_is_understood(client, media_type):
    answer = await client.post("/v1/orders", content=b"{}", headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["application/json", "APPLICATION/JSON; charset=utf-8", "application/json;charset=utf-8"])
async def test_json_is_recognised_however_it_is_written(client, shop, media_type):
    body = json.dumps(shop.an_order())
    assert (await client.post("/v1/orders", content=body, headers={"Content-Type": media_type})).status_code == 201


async def test_a_body_that_declares_itself_too_large_is_not_even_read(client):
    read = []

    async def body():
        read.append(True)
        yield b"{}"

    answer = await client.post("/v1/orders", content=body(), headers={"Content-Length": str((1 << 20) + 1)})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert not read


async def test_a_body_without_a_length_is_read_no_further_than_the_limit(client):
    chunks = 0

    async def body():
        nonlocal chunks
        while True:
            chunks += 1
            yield b" " * 65_536

    answer = await client.post("/v1/orders", content=body())
    assert answer.status_code == 413
    assert chunks == 17


async def test_a_lying_length_does_not_help(client):
    async def body():
        for _ in range(17):
            yield b" " * 65_536

    answer = await client.post("/v1/orders", content=body(), headers={"Content-Length": "2"})
    assert answer.status_code == 413


async def test_a_body_that_does_not_arrive_in_time_is_given_up(client, monkeypatch):
    import asyncio

    monkeypatch.setattr("infrastructure.web.limits.BODY_WITHIN_SECONDS", 0.01)

    async def body():
        yield b"{"
        await asyncio.Event().wait()

    answer = await client.post("/v1/orders", content=body())
    assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")


# --- the router -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/orders/", "/v1//orders", "/v1%2Forders", "/favicon.ico", "/v1/orders/a/b", "/%00"]
)
async def test_an_unknown_path_is_not_found(client, path):
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", sorted({op.path for op in OPERATIONS}))
async def test_a_method_that_is_not_offered_is_answered_with_those_that_are(client, path):
    offered = {op.method for op in OPERATIONS if op.path == path}
    answer = await client.delete(filled(path))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == offered | ({"HEAD"} if "GET" in offered else set())


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op.method == "GET"], ids=lambda op: op.path)
async def test_head_answers_as_get(client, shop, op):
    await shop.paid("x", x=1)
    await shop.refund("x", "x")
    path = filled(op.path)
    got, head = await client.get(path), await client.head(path)
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_parameters_are_known_to_each_call_of_v1(client, shop):
    await shop.order("o1")
    for method, path in (("GET", "/v1/orders/o1"), ("POST", "/v1/orders/o1/paid"), ("GET", "/v1/sellers/ada/balance")):
        answer = await client.request(method, f"{path}?verbose=1")
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_query_parameter")


# --- our own faults ---------------------------------------------------------------------------------------------------


async def test_a_fault_of_ours_tells_nothing_of_its_inside(app, database_url):
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


async def test_while_the_database_is_away_calls_are_answered_with_503(client, service):
    await service.pool.close()
    answer = await client.get("/v1/transfers")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
