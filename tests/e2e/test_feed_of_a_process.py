"""The feed of a `serve` process: a stream and a long poll see the facts of its workers, and end
with the process."""

import asyncio
import json
import signal

import httpx

from tests.e2e.conftest import Processes
from tests.support.ledger_view import eventually


async def test_open_stream_and_long_poll_end_with_the_process(
    processes: Processes, kindness: None
) -> None:
    process = await processes.start()
    web = await processes.talk(process)
    await web.order("o1", 1_000, anna=900)
    async with httpx.AsyncClient(base_url=process.url, trust_env=False, timeout=30) as http:
        accept = {"Accept": "text/event-stream"}
        async with http.stream("GET", "/v1/facts", headers=accept) as answer:
            lines = answer.aiter_lines()
            await web.pay("o1", 1_000)
            facts = []
            async with asyncio.timeout(20):
                async for line in lines:
                    if line.startswith("data: "):
                        facts.append(json.loads(line.removeprefix("data: ")))
                    if facts and facts[-1]["fact"] == "Completed":
                        break
            last = facts[-1]["position"]
            poll = asyncio.create_task(http.get(f"/v1/facts?after={last + 1_000}&wait=60"))
            await asyncio.sleep(0)  # the poll is sent before the next call, which is answered
            assert (await http.get("/healthz")).status_code == 200
            process.send(signal.SIGTERM)
            rest = [line async for line in lines if line.startswith("data: ")]
            assert (await poll).json()["data"] == []
    assert await process.ended() == 0
    assert [fact["position"] for fact in facts] == list(range(1, last + 1))
    assert rest == [] or json.loads(rest[0].removeprefix("data: "))["position"] == last + 1
    given_up = ("graceful shutdown exceeded", "Traceback", "CancelledError")
    assert not [line for line in process.lines if any(word in line for word in given_up)]


async def test_process_executes_a_bulk_job(processes: Processes, kindness: None) -> None:
    process = await processes.start()
    web = await processes.talk(process)
    by_mia = {"actor": "mia", "reason": "a test"}
    async with httpx.AsyncClient(base_url=process.url, trust_env=False, timeout=30) as http:
        (await http.post("/v1/pause", json=by_mia)).raise_for_status()
    await web.order("o1", 1_000, anna=900)
    await web.pay("o1", 1_000)

    async def is_paid() -> bool:
        return bool((await web.get("/v1/transfers", status="pending"))["data"])

    await eventually(is_paid, "the order has a transfer")
    body = {**by_mia, "job_id": "j1", "filter": {"status": "pending"}}
    async with httpx.AsyncClient(base_url=process.url, trust_env=False, timeout=30) as http:
        (await http.post("/v1/bulk/retries", json=body)).raise_for_status()

    async def has_ended() -> bool:
        return bool((await web.get("/v1/bulk/j1"))["status"] == "ended")

    await eventually(has_ended, "the job has ended")
    job = await web.get("/v1/bulk/j1")
    assert (job["total"], job["done"], job["refused"]) == (1, 1, 0)
