"""Idempotency keys: repeated, refused and forgotten answers."""

import asyncio

import pytest

from infrastructure.simulators.stripe import RunningSimulator, SimulatorControl
from tests.infrastructure.simulators.stripe.conftest import ErrorOf, StripeCaller

DAY = 86_400


async def count(control: SimulatorControl) -> int:
    return len((await control.ledger())["transfers"])


async def test_same_key_and_body_repeat_the_answer(
    api: StripeCaller, control: SimulatorControl
) -> None:
    first, second = await api.transfer(key="k1"), await api.transfer(key="k1")
    assert second.content == first.content
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert (
        second.headers["original-request"]
        == first.headers["request-id"]
        != second.headers["request-id"]
    )
    assert await count(control) == 1


async def test_parameter_order_does_not_matter(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await api.post("/v1/transfers", {"amount": 5, "currency": "usd", "destination": "acct_1"}, "k1")
    again = await api.post(
        "/v1/transfers", {"destination": "acct_1", "amount": 5, "currency": "usd"}, "k1"
    )
    assert again.headers["idempotent-replayed"] == "true"


async def test_key_reused_for_other_call_is_an_error(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    transfer = (await api.transfer(key="k1")).json()
    others = [
        await api.transfer(key="k1", amount=2001),
        await api.reverse(transfer["id"], 5, key="k1"),
    ]
    for answer in others:
        assert refused(answer) == (400, "idempotency_error", None, None)
        assert "Try using a key other than 'k1'" in answer.json()["error"]["message"]
    assert (await control.ledger())["transfers"][0]["amount_reversed"] == 0


async def test_call_without_key_is_made_twice(api: StripeCaller, control: SimulatorControl) -> None:
    answers = [await api.transfer(), await api.transfer()]
    assert [answer.headers.get("original-request") for answer in answers] == [None, None]
    assert await count(control) == 2


async def test_keys_expire_after_a_simulated_day(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await api.transfer(key="k1")
    await control.advance_clock(DAY - 1)
    assert (await api.transfer(key="k1")).headers["idempotent-replayed"] == "true"
    await control.advance_clock(1)
    assert "idempotent-replayed" not in (await api.transfer(key="k1")).headers
    assert await count(control) == 2


async def test_keys_are_ignored_on_reads(api: StripeCaller, control: SimulatorControl) -> None:
    answers = [await api.get("/v1/transfers", **{"Idempotency-Key": "k1"}) for _ in range(2)]
    assert not any("idempotency-key" in answer.headers for answer in answers)


async def test_key_above_255_characters_is_refused(
    api: StripeCaller, control: SimulatorControl
) -> None:
    assert (await api.transfer(key="k" * 255)).status_code == 200
    assert (await api.transfer(key="k" * 256)).status_code == 400


async def test_key_is_in_use_during_its_call(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await control.hold("transfers.create")
    first = asyncio.create_task(api.transfer(key="k1"))
    await control.wait_until_held("transfers.create")
    answer = await api.transfer(key="k1")
    assert refused(answer) == (409, "invalid_request_error", "idempotency_key_in_use", None)
    assert (await api.transfer(key="k2")).status_code == 200
    await control.release()
    made = await first
    assert (made.status_code, (await api.transfer(key="k1")).json()) == (200, made.json())


async def test_concurrent_calls_with_one_key_execute_once(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.fault("latency", "transfers.create", ms=50)
    answers = await asyncio.gather(*(api.transfer(key="k1") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert await count(control) == 1


async def test_concurrent_reversals_exclude_each_other(
    api: StripeCaller,
    simulator: RunningSimulator,
    control: SimulatorControl,
    refused: ErrorOf,
) -> None:
    transfer = await api.made()
    simulator.world.locks.wait = 0.05
    await control.hold("reversals.create")
    first = asyncio.create_task(api.reverse(transfer["id"], 5, key="k1"))
    await control.wait_until_held("reversals.create")
    loser = await api.reverse(transfer["id"], 6, key="k2")
    assert refused(loser) == (429, "invalid_request_error", "lock_timeout", None)
    assert loser.headers["stripe-should-retry"] == "true"
    assert "stripe-rate-limited-reason" not in loser.headers
    await control.release()
    assert (await first).status_code == 200
    assert (await api.reverse(transfer["id"], 6, key="k2")).status_code == 200


async def test_lock_freed_in_time_is_no_error(api: StripeCaller, control: SimulatorControl) -> None:
    transfer = await api.made()
    await control.fault("latency", "reversals.create", ms=20)
    answers = await asyncio.gather(*(api.reverse(transfer["id"], 5, key=f"k{n}") for n in range(5)))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("account", ["acct_1", "acct_2"])
async def test_reads_of_two_accounts_do_not_collide(api: StripeCaller, account: str) -> None:
    answer = await api.get("/v1/balance", **{"Stripe-Account": account})
    assert answer.headers["stripe-account"] == account
