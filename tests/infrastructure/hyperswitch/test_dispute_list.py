"""The list of disputes of a time window: all pages, or a failure."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.provider_call.outcome import Unknown
from domain.provider_call.psp_objects import DisputeAtPsp
from infrastructure.hyperswitch import gateway as hyperswitch
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.simulators.hyperswitch import HyperswitchControl
from tests.infrastructure.hyperswitch.conftest import OpenGateway
from tests.support.fault_server import FaultServer
from tests.support.json_types import Json

NINE = datetime.fromtimestamp(1_800_000_000, UTC)
"""Where the simulated clock stands."""
HOUR = timedelta(hours=1)
SHOWN: Json = {
    "dispute_id": "dp_1",
    "payment_id": "pay_1",
    "amount": "100",
    "currency": "EUR",
    "dispute_status": "dispute_lost",
}


async def test_dispute_list_reads_all_pages_of_its_window(
    gateway: HyperswitchGateway, control: HyperswitchControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hyperswitch, "PAGE", 2)
    await control.take_payment("o1", 1_000, "USD")
    names = [await control.open_dispute("o1", 100) for _ in range(3)]
    await control.settle_dispute(names[0], "lost", announce=False)
    await control.advance_clock(2 * HOUR.total_seconds())
    await control.open_dispute("o1", 100)
    listed = await gateway.disputes(NINE - HOUR, NINE + HOUR)
    assert listed == [
        DisputeAtPsp(names[2], "o1", 100, "USD", "dispute_opened"),
        DisputeAtPsp(names[1], "o1", 100, "USD", "dispute_opened"),
        DisputeAtPsp(names[0], "o1", 100, "USD", "dispute_lost"),
    ]
    assert len(await control.requests("disputes.list")) == 3, "the last page is empty"


async def test_unreadable_dispute_hides_no_other(psp: FaultServer, gateway_at: OpenGateway) -> None:
    odd = [{**SHOWN, name: value} for name, value in (("amount", "1.5"), ("dispute_id", None))]
    psp.answers(200, [*odd, SHOWN])
    psp.answers(200, [])
    (read,) = await _disputes(await gateway_at(psp.url))
    assert read == DisputeAtPsp("dp_1", "pay_1", 100, "EUR", "dispute_lost")
    assert "offset=3" in psp.requests[1].path


@pytest.mark.parametrize("body", [{}, {"data": 1}, [1], "text"])
async def test_dispute_list_of_other_shape_is_unreadable(
    psp: FaultServer, gateway_at: OpenGateway, body: object
) -> None:
    psp.answers(200, body)
    answer = await (await gateway_at(psp.url)).disputes(NINE, NINE + HOUR)
    assert isinstance(answer, Unknown)
    assert answer.why == "unreadable"


async def test_failed_page_fails_the_dispute_list(
    psp: FaultServer, gateway_at: OpenGateway
) -> None:
    psp.answers(200, [SHOWN])
    psp.answers(502, "bad gateway")
    assert isinstance(await (await gateway_at(psp.url)).disputes(NINE, NINE + HOUR), Unknown)


async def test_endless_dispute_list_is_not_read_on(
    psp: FaultServer, gateway_at: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hyperswitch, "MOST_LISTED", 3)
    psp.answers(200, [SHOWN])
    answer = await (await gateway_at(psp.url)).disputes(NINE, NINE + HOUR)
    assert isinstance(answer, Unknown)
    assert answer.why == "incomplete"


async def _disputes(gateway: HyperswitchGateway) -> list[DisputeAtPsp]:
    answer = await gateway.disputes(NINE, NINE + HOUR)
    assert isinstance(answer, list)
    return answer
