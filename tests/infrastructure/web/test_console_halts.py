"""Troubles of the whole ledger on the console's first page, each with its remedy."""

from dataclasses import replace

from infrastructure.postgres.read_side.machine_state import Machine
from infrastructure.service import Service
from infrastructure.web.console.desk import chips, halts
from tests.infrastructure.web.test_console import HOSTILE, browsing


async def test_refused_key_is_told_before_all_cases(service: Service) -> None:
    await service.alarms.raise_alarm("stripe_refuses_the_key", "x", f"Invalid API Key {HOSTILE}")
    opened = replace(service, settings=replace(service.settings, api_token=None))
    async with browsing(opened) as client:
        page = (await client.get("/console")).text
    heading = page[page.index("<h1>") : page.index("</h1>")]
    assert "Stripe refuses the key for " in heading
    assert page.index("Invalid API Key &lt;img") < page.index("correct STRIPE_API_KEY")
    assert page.index("correct STRIPE_API_KEY") < page.index("State of the machine")
    assert "<img" not in page


async def test_database_without_writes_is_told_with_its_remedy(service: Service) -> None:
    state = await Machine(service.pool, service.settings).state(["the disk is full"])
    (halt,) = halts(state, state.at)
    assert halt.title == "The ledger cannot work"
    assert halt.lines[0] == "the disk is full"
    assert "free its disk" in halt.lines[1]
    assert (chips(state, state.at)[0].tone, chips(state, state.at)[0].words) == ("bad", halt.title)


async def test_sound_machine_has_no_halt(service: Service) -> None:
    state = await Machine(service.pool, service.settings).state()
    assert halts(state, state.at) == []
