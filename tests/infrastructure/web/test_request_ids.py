"""Ids of requests, and the marks of repeated ones."""

import httpx
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tests.infrastructure.web.conftest import Shop


@pytest.mark.parametrize("path", ["/healthz", "/v1/transfers?limit=0", "/nothing", "/v1/nothing"])
async def test_every_answer_has_a_request_id_of_its_own(
    offline_client: httpx.AsyncClient, path: str
) -> None:
    first, second = [(await offline_client.get(path)).headers for _ in range(2)]
    assert first["x-request-id"].startswith("req_")
    assert first["x-request-id"] != second["x-request-id"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("3f2c9d7e-1b", True),
        ("a.b_c-d12", True),
        ("x" * 128, True),
        ("short", False),
        ("x" * 129, False),
        ("with spaces in", False),
        ('quote"and{brace}', False),
        ("ünicode-id", False),
    ],
)
async def test_request_id_of_the_caller_is_kept_if_it_is_sane(
    offline_client: httpx.AsyncClient, given: str, kept: bool
) -> None:
    answer = await offline_client.get("/healthz", headers=[(b"X-Request-Id", given.encode())])
    assert (answer.headers["x-request-id"] == given) == kept
    assert len(answer.headers.get_list("x-request-id")) == 1


async def test_log_line_of_a_call_names_its_request_id(offline_client: httpx.AsyncClient) -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        await offline_client.get("/v1/transfers", headers={"X-Request-Id": "seen-in-the-log"})
        await offline_client.get("/healthz")
    assert [line["request_id"] for line in lines if "request_id" in line] == ["seen-in-the-log"]


async def test_repetition_is_marked_as_replayed(client: httpx.AsyncClient, shop: Shop) -> None:
    refund = {"refund_id": "r1", "order_id": "o1", "settled": True}
    for path, body, status in (
        ("/v1/orders", shop.an_order(), 201),
        ("/v1/orders/o1/paid", {}, 200),
        ("/v1/refunds", refund, 202),
    ):
        first = await client.post(path, json=body)
        assert (first.status_code, "idempotent-replayed" in first.headers) == (status, False)
        again = await client.post(path, json=body)
        assert again.status_code == 200
        assert again.headers.get("idempotent-replayed") == ("true" if status != 200 else None)


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/pause"])
async def test_idempotency_key_is_refused_in_one_sentence(
    offline_client: httpx.AsyncClient, path: str
) -> None:
    """It is never ignored: the caller would count on it."""
    answer = await offline_client.post(path, json={}, headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key")
    assert "by the id in its body or path" in answer.json()["detail"]
