"""Speed of webhook intake over HTTP, as a ratio to a bare handler. A webhook is durable before its
response.

The bare handler checks the same signature and inserts one row per request. Both run as processes
under the same load.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import NamedTuple

from infrastructure.hyperswitch.signature import HEADER, sign
from scripts.bench.append import scratch_database

SECRET = "a secret of the bench"
PROGRAM = __package__.rpartition(".")[0]
CONNECTIONS = 64
MOST_PER_SECOND = 12_000
START_WITHIN = 60.0
ROUNDS = 3


class IntakeSpeed(NamedTuple):
    """Webhooks per second."""

    ours: float
    bare: float


async def intake_ratio(database_url: str, seconds: float) -> IntakeSpeed:
    """Measure both sides in turns, in three rounds of `seconds` each."""
    with scratch_database(database_url) as url:
        port, bare_port = free_port(), free_port()
        common = {"DATABASE_URL": url, "HYPERSWITCH_WEBHOOK_SECRETS": SECRET}
        ours_env = {**common, "LEDGER_PORT": str(port), "STRIPE_API_BASE": "http://127.0.0.1:9"}
        async with (
            ledger_process(["-m", PROGRAM, "serve"], ours_env, port),
            ledger_process(
                ["-m", f"{__package__}.bare_handler"],
                {**common, "LEDGER_PORT": str(bare_port)},
                bare_port,
            ),
        ):
            ours = bare = 0.0
            numbers = count()
            for _ in range(ROUNDS):
                bare += await _per_second(bare_port, seconds, numbers)
                ours += await _per_second(port, seconds, numbers)
    return IntakeSpeed(ours / ROUNDS, bare / ROUNDS)


@asynccontextmanager
async def ledger_process(
    arguments: list[str], environment: Mapping[str, str], port: int
) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _listening(port)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(port: int) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return


async def _per_second(port: int, seconds: float, numbers: "count[int]") -> float:
    """Measure one side. The requests are made beforehand, as making them would limit the rate."""
    several = [
        [_request(next(numbers)) for _ in range(int(MOST_PER_SECOND * seconds / CONNECTIONS))]
        for _ in range(CONNECTIONS)
    ]
    end = time.perf_counter() + seconds
    began = time.perf_counter()
    done = await asyncio.gather(*(_connection(port, end, requests) for requests in several))
    return sum(done) / (time.perf_counter() - began)


async def _connection(port: int, end: float, requests: Iterable[bytes]) -> int:
    """Send requests over one keep-alive connection. A client library would be the bottleneck of the
    measurement."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    for request in requests:
        if time.perf_counter() >= end:
            break
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"a webhook got the response {head.splitlines()[0].decode()}")
        await reader.readexactly(_length(head))
        done += 1
    writer.close()
    await writer.wait_closed()
    return done


def _request(number: int) -> bytes:
    refund = {
        "refund_id": f"ref_{number}",
        "payment_id": "pay_1",
        "amount": 1000,
        "currency": "USD",
        "status": "succeeded",
    }
    event = {
        "merchant_id": "m",
        "event_id": f"evt_{number}",
        "event_type": "mandate_active",
        "content": {"object": refund},
    }
    body = json.dumps(event).encode()
    head = (
        "POST /webhooks/hyperswitch HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{HEADER}: {sign(body, SECRET)}\r\n\r\n"
    )
    return head.encode() + body


def _length(head: bytes) -> int:
    lines = (
        line.split(b":", 1)
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return int(next(lines)[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
