"""Request bodies of the HTTP API: JSON only, of limited size, within limited time."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from infrastructure.web.request_body import BodyBudget


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"order", b"\xff", b"\xef\xbb\xbf{}", b'{"order_id": "\\ud800"}', b'{"order_id": "\xed\xa0\x80"}',
     b"[" * 1_000, b'{"amount": ' + b"9" * 5_000 + b"}"],
)  # fmt: skip
async def test_malformed_json_is_refused(offline_client: httpx.AsyncClient, body: bytes) -> None:
    answer = await offline_client.post("/v1/orders", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
async def test_content_type_other_than_json_is_refused(
    offline_client: httpx.AsyncClient, media_type: str
) -> None:
    answer = await offline_client.post(
        "/v1/orders", content=b"{}", headers={"Content-Type": media_type}
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_json_content_type_is_recognised_in_all_spellings(
    offline_client: httpx.AsyncClient,
) -> None:
    for media_type in (
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/json;charset=utf-8",
    ):
        assert (
            await offline_client.post(
                "/v1/orders", content="{}", headers={"Content-Type": media_type}
            )
        ).status_code == 422


async def test_oversized_declared_body_is_not_read(offline_client: httpx.AsyncClient) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b"{}"

    answer = await offline_client.post(
        "/v1/orders", content=body(), headers={"Content-Length": str(8 * (1 << 20) + 1)}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert not read


async def test_body_without_length_is_read_up_to_limit(offline_client: httpx.AsyncClient) -> None:
    chunks = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal chunks
        while True:
            chunks += 1
            yield b" " * 65_536

    answer = await offline_client.post("/v1/orders", content=body())
    assert answer.status_code == 413
    assert chunks == 8 * 16 + 1


async def test_false_content_length_does_not_bypass_limit(
    offline_client: httpx.AsyncClient,
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 65_536

    answer = await offline_client.post(
        "/v1/orders", content=body(), headers={"Content-Length": "2"}
    )
    assert answer.status_code == 413


async def test_slow_body_times_out(
    offline_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.web.request_body.BODY_WITHIN_SECONDS", 0.01)

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        answer = await offline_client.post("/v1/orders", content=body())
    assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")


async def test_large_bodies_at_once_share_a_budget(
    offline_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.web.request_body._budget", BodyBudget(2 * 65_536))
    open_, goes_on = asyncio.Event(), asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield b" " * 65_536
        yield b" " * 2 * 65_536  # takes the whole budget
        open_.set()
        await goes_on.wait()

    holder = asyncio.create_task(offline_client.post("/v1/orders", content=held()))
    await open_.wait()
    large = await offline_client.post("/v1/orders", content=b" " * 3 * 65_536)
    assert (large.status_code, large.json()["code"]) == (503, "too_many_large_bodies")
    small = await offline_client.post("/v1/orders", content=b" " * 65_536)
    assert small.json()["code"] == "bad_json"
    goes_on.set()
    assert (await holder).json()["code"] == "bad_json"
    assert (await offline_client.post("/v1/orders", content=b" " * 2 * 65_536)).status_code == 400


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/webhooks/stripe", {}),
        ("/webhooks/stripe", {"Stripe-Signature": "nonsense"}),
        ("/webhooks/hyperswitch", {}),
        ("/webhooks/hyperswitch", {"X-Webhook-Signature-512": "short"}),
    ],
)
async def test_body_without_a_possible_signature_is_not_read(
    offline_client: httpx.AsyncClient, path: str, header: dict[str, str]
) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b"{}"

    answer = await offline_client.post(path, content=body(), headers=header)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_signature")
    assert not read
