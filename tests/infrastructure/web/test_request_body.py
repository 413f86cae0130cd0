"""Request bodies of the HTTP API: JSON only, of limited size, within limited time."""

import asyncio

import pytest


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
