"""The control interface of the simulated Stripe."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest

from infrastructure.simulators.stripe import (
    KIND,
    ControlRefused,
    SimulatorConfig,
    SimulatorControl,
    create_simulator,
    running_simulator,
    serve_simulator,
    simulator_process,
)
from tests.infrastructure.simulators.stripe.conftest import OpenCaller, StripeCaller


async def test_same_seed_and_calls_give_same_answers(api_at: OpenCaller) -> None:
    stories = []
    for _ in range(2):
        async with running_simulator(
            SimulatorConfig(manners=KIND, seed=7, virtual_start=1.8e9)
        ) as (
            simulator,
            control,
        ):
            api = api_at(simulator.url)
            transfer = await api.made(**{"metadata[a]": "b"})
            await api.reverse(transfer["id"], 400)
            stories.append([await control.ledger(), (await api.get("/v1/events")).json()])
    assert stories[0] == stories[1]
    assert stories[0][0]["transfers"][0]["id"] == "tr_1Q7sim00000001"


async def test_control_lists_its_routes() -> None:
    async with (
        running_simulator() as (simulator, _),
        httpx.AsyncClient(base_url=simulator.url, trust_env=False) as http,
    ):
        listed = (await http.get("/_sim")).json()["data"]
        assert {"POST /_sim/fund", "GET /_sim/ledger", "DELETE /_sim/faults"} <= set(listed)
        assert len(listed) > 30


async def test_snapshot_restores_objects_and_keys(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await api.transfer(key="k1")
    await control.snapshot("one")
    before = await control.ledger()
    await api.transfer(key="k2")
    await control.external_reversal(before["transfers"][0]["id"])
    await control.restore("one")
    assert await control.ledger() == before
    assert (await api.transfer(key="k1")).headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in (await api.transfer(key="k2")).headers
    with pytest.raises(ControlRefused, match="there is no 'two'"):
        await control.restore("two")


async def test_reset_restarts_ids(api: StripeCaller, control: SimulatorControl) -> None:
    first = await api.transfer(key="k1")
    await control.fault("status", status=500)
    await control.reset()
    again = await api.transfer(key="k1")
    assert again.json() == first.json()
    assert "idempotent-replayed" not in again.headers
    assert await control.requests("transfers.create") == (await control.requests())


async def test_log_shows_calls_in_order_with_outcome(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await api.transfer(key="k1")
    await api.transfer(key="k1")
    await api.transfer(key="k2", amount=0)
    await control.fault("reset_after_commit", key="k3")
    with pytest.raises(httpx.TransportError):
        await api.transfer(key="k3")
    shown = [
        (call["key"], call["status"], call["outcome"], call["replayed"])
        for call in await control.requests()
    ]
    assert shown == [
        ("k1", 200, "answered", False),
        ("k1", 200, "answered", True),
        ("k2", 400, "answered", False),
        ("k3", None, "connection reset", False),
    ]
    assert len(await control.requests("transfers.*", key="k1")) == 2
    assert await control.requests("reversals.*") == []


async def test_external_transfer_has_no_ledger_metadata(
    api: StripeCaller, control: SimulatorControl
) -> None:
    made = await control.external_transfer("acct_seller", 700, "usd")
    assert (made["amount"], made["metadata"], made["transfer_group"]) == (700, {}, None)
    assert (await api.get(f"/v1/transfers/{made['id']}")).json() == made


async def test_external_reversal_obeys_same_rules(
    api: StripeCaller, control: SimulatorControl
) -> None:
    transfer = await api.made()
    with pytest.raises(ControlRefused, match="greater than unreversed amount"):
        await control.external_reversal(transfer["id"], 2001)


REFUSED = {
    "a fraction of a cent": ("fund", {"currency": "usd", "amount": 1.5}),
    "a negative amount": ("fund", {"currency": "usd", "amount": -1}),
    "no amount": ("fund", {"currency": "usd"}),
    "an unknown account": ("drain", {"currency": "usd", "amount": 1, "account": "acct_missing"}),
    "a payout of nothing": ("payouts", {"account": "acct_1", "currency": "usd"}),
    "an id that is none": ("accounts", {"id": "seller"}),
    "a field that accounts lack": ("accounts", {"id": "acct_1", "mood": "good"}),
    "a clock that goes back": ("clock", {"seconds": -1}),
    "an unknown transfer": ("reversals", {"transfer": "tr_nothing"}),
    "an unknown error": ("wording", {"no_such_error": {"status": 400}}),
    "an unknown part of an error": ("wording", {"no_such_transfer": {"mood": "bad"}}),
    "a list": ("fund", []),
}


@pytest.mark.parametrize(("path", "body"), REFUSED.values(), ids=REFUSED)
async def test_invalid_control_call_is_refused_and_changes_nothing(
    api: StripeCaller, control: SimulatorControl, path: str, body: object
) -> None:
    await control.fund("usd", 1)
    before = await control.ledger()
    answer = await api.http.post(f"/_sim/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert await control.ledger() == before


async def test_web_page_cannot_control_simulator(
    api: StripeCaller, control: SimulatorControl
) -> None:
    answer = await api.http.post("/_sim/reset", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 400


async def test_simulator_listens_on_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback"):
        await serve_simulator(host="0.0.0.0")


async def test_simulator_runs_as_its_own_process(api_at: OpenCaller) -> None:
    async with simulator_process(manners="kind") as process:
        assert process.url.startswith("http://127.0.0.1:")
        assert (await api_at(process.url).made())["amount"] == 2000


async def test_simulator_process_reports_failed_start(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 1 before it listened"):
        async with simulator_process(state_file=tmp_path / "no" / "such" / "folder"):
            pass


async def test_simulator_runs_without_socket() -> None:
    """Under httpx's in-process transport, for tests that need no connection faults."""
    transport = httpx.ASGITransport(create_simulator(SimulatorConfig(manners=KIND)))
    async with httpx.AsyncClient(transport=transport, base_url="http://stripe") as http:
        answer = await http.get("/v1/transfers", headers={"Authorization": "Bearer sk_1"})
        assert answer.json() == {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": "/v1/transfers",
        }


@pytest.mark.parametrize("seed", range(5))
async def test_random_concurrent_calls_conserve_money(
    api: StripeCaller, control: SimulatorControl, seed: int
) -> None:
    """Random calls, repeats and faults on a few transfers; the books must agree with the answers
    afterwards."""
    chance = random.Random(seed)
    await control.fault("latency", between=[0, 5], seed=seed)
    await control.fault("reset_after_commit", probability=0.1, seed=seed)
    await control.fault("reset_before_commit", probability=0.1, seed=seed + 1)
    await control.fault("stored_500_then_created", probability=0.05, seed=seed + 2)
    transfers = [
        (await control.external_transfer(f"acct_{n}", 1000, "usd"))["id"] for n in range(3)
    ]
    heard: dict[str, str] = {}

    async def act(number: int) -> None:
        key, target, amount = f"k{number}", chance.choice(transfers), chance.randint(1, 400)
        for _ in range(3):
            try:
                answer = await (
                    api.reverse(target, amount, key=key)
                    if number % 4
                    else api.transfer(key=key, amount=amount)
                )
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                assert heard.setdefault(key, answer.json()["id"]) == answer.json()["id"]

    for start in range(0, 60, 12):
        await asyncio.gather(*(act(number) for number in range(start, start + 12)))
        if chance.random() < 0.3:
            await control.pay_out("acct_0", "usd", 1)
    ledger = await control.ledger()
    reversals = {row["id"] for transfer in ledger["transfers"] for row in transfer["reversals"]}
    assert set(heard.values()) <= reversals | {transfer["id"] for transfer in ledger["transfers"]}
    assert len(set(heard.values())) == len(heard)
    assert await control.violations() == []
