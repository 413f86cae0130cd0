"""The state file: a stopped or killed simulator forgets nothing."""

import asyncio
import random
import sqlite3
from pathlib import Path

import httpx
import pytest

from infrastructure.simulators.stripe import (
    KIND,
    SimulatorConfig,
    running_simulator,
    serve_simulator,
    simulator_process,
)
from tests.infrastructure.simulators.stripe.conftest import OpenCaller


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "stripe.sqlite3"


async def test_restart_restores_all_objects_and_keys(file: Path, api_at: OpenCaller) -> None:
    async with running_simulator(SimulatorConfig(manners=KIND, state_file=file)) as (
        simulator,
        control,
    ):
        api = api_at(simulator.url)
        first = await api.transfer(key="k1", **{"metadata[ü]": "ß", "transfer_group": "g"})
        transfer = first.json()
        await api.reverse(transfer["id"], 400, key="r1")
        await control.drain("eur")
        refusal = await api.transfer(key="k2", currency="eur")
        events = (await api.get("/v1/events")).json()
        last = (await api.get("/v1/transfers")).headers["request-id"]
        ledger = await control.ledger()
    async with running_simulator(SimulatorConfig(manners=KIND, state_file=file)) as (
        simulator,
        control,
    ):
        api = api_at(simulator.url)
        assert await control.ledger() == ledger
        heard = await api.get("/v1/events")
        assert heard.json() == events
        assert (
            heard.headers["request-id"] > last
        )  # reads are not written down, their ids are not given again
        again = await api.transfer(key="k1", **{"metadata[ü]": "ß", "transfer_group": "g"})
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        assert (
            again.headers["original-request"]
            == first.headers["request-id"]
            != again.headers["request-id"]
        )
        assert (await api.transfer(key="k2", currency="eur")).json() == refusal.json()
        assert (await api.get("/v1/transfers", {"transfer_group": "g"})).json()["data"][0][
            "amount_reversed"
        ] == 400
        assert (await api.made())["id"] not in {each["id"] for each in ledger["transfers"]}
        assert await control.violations() == []


async def test_restart_restores_charges_clock_and_dropped_keys(
    file: Path, api_at: OpenCaller
) -> None:
    config = SimulatorConfig(manners=KIND, state_file=file, virtual_start=1.8e9)
    async with running_simulator(config) as (simulator, control):
        api = api_at(simulator.url)
        await control.create_charge("ch_1", "usd", 3000, available_in=3600)
        await api.made(source_transaction="ch_1")
        await api.transfer(key="k1")
        await control.fault("drop_key", key="k1", times=1)
        await api.transfer(key="k1", amount=0)
        await control.advance_clock(1800)
    async with running_simulator(config) as (simulator, control):
        assert "idempotent-replayed" not in (await api_at(simulator.url).transfer(key="k1")).headers
        assert (await control.ledger())["balances"]["acct_seller"]["pending"] == {"usd": 2000}
        assert await control.advance_clock(1800) == 1.8e9 + 3600
        assert (await control.ledger())["balances"]["acct_seller"]["pending"] == {"usd": 0}


async def test_undelivered_event_is_retried_after_restart(file: Path, api_at: OpenCaller) -> None:
    config = SimulatorConfig(manners=KIND, state_file=file)
    async with running_simulator(config) as (simulator, control):
        await control.add_webhook_endpoint(
            "http://127.0.0.1:9/", ["whsec_1"], knobs={"retry_schedule": [0.01]}
        )
        await api_at(simulator.url).made()
        await control.change_webhook_endpoint("we_1Qsim00000001", knobs={"paused": True})
        await api_at(simulator.url).made()
    heard = asyncio.Queue[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await heard.put(head)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with running_simulator(config) as (simulator, control):
        await control.change_webhook_endpoint("we_1Qsim00000001", url=url, knobs={"paused": False})
        await asyncio.wait_for(heard.get(), 10)
    server.close()


async def test_killed_simulator_keeps_every_answered_call(file: Path, api_at: OpenCaller) -> None:
    """Calls run while the process is killed at a random moment; every answered one must be found
    again, once."""
    chance = random.Random(5)
    answered: dict[str, str] = {}
    async with simulator_process(state_file=file, manners="kind") as process:
        api = api_at(process.url)

        async def pay(number: int) -> None:
            for attempt in range(1000):
                key = f"k{number}-{attempt}"
                try:
                    answered[key] = (await api.transfer(key=key)).json()["id"]
                except (httpx.TransportError, ValueError):
                    return

        calls = [asyncio.create_task(pay(number)) for number in range(8)]
        await asyncio.sleep(0.2 + chance.random() * 0.2)
        await process.kill()
        await asyncio.gather(*calls)
    async with simulator_process(state_file=file, manners="kind") as process:
        api = api_at(process.url)
        assert answered
        assert {key: (await api.transfer(key=key)).json()["id"] for key in answered} == answered
        check = (await api.http.get("/_sim/invariants")).json()
        assert check == {"ok": True, "violations": []}


async def test_call_killed_after_commit_is_made_once(file: Path, api_at: OpenCaller) -> None:
    async with simulator_process(state_file=file, manners="kind") as process:
        api = api_at(process.url)
        hold = {
            "match": {"operation": "transfers.create"},
            "action": {"kind": "hold", "point": "after_commit"},
        }
        await api.http.post("/_sim/faults", json=hold)
        call = asyncio.create_task(api.transfer(key="k1"))
        await api.http.get("/_sim/waiting")
        await process.kill()
        await asyncio.wait([call])
        assert isinstance(call.exception(), httpx.TransportError)
    async with simulator_process(state_file=file, manners="kind") as process:
        api = api_at(process.url)
        again = await api.transfer(key="k1")
        assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        assert len((await api.http.get("/_sim/ledger")).json()["transfers"]) == 1


async def test_state_file_belongs_to_one_simulator(file: Path) -> None:
    async with running_simulator(SimulatorConfig(manners=KIND, state_file=file)):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await serve_simulator(SimulatorConfig(manners=KIND, state_file=file))


async def test_reset_empties_state_file(file: Path, api_at: OpenCaller) -> None:
    async with running_simulator(SimulatorConfig(manners=KIND, state_file=file)) as (
        simulator,
        control,
    ):
        await api_at(simulator.url).transfer(key="k1")
        await control.reset()
    async with running_simulator(SimulatorConfig(manners=KIND, state_file=file)) as (
        simulator,
        control,
    ):
        assert (await control.ledger())["transfers"] == []
        assert "idempotent-replayed" not in (await api_at(simulator.url).transfer(key="k1")).headers
