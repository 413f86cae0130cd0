"""The list of refunds of a time window: complete, or a failure."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from domain.provider_call.outcome import NotExecuted, Unknown
from infrastructure.hyperswitch import gateway as hyperswitch
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.simulators.hyperswitch import HyperswitchControl
from tests.infrastructure.hyperswitch.conftest import OpenGateway
from tests.support.fault_server import FaultServer
from tests.support.json_types import Json

NINE = datetime.fromtimestamp(1_800_000_000, UTC)
"""Where the simulated clock stands."""
HOUR = timedelta(hours=1)


@pytest.fixture
def refunds_of(
    api: httpx.AsyncClient, control: HyperswitchControl
) -> Callable[..., Awaitable[list[str]]]:
    """Make so many refunds of 10 each."""

    async def make(count: int, payment_id: str = "o1") -> list[str]:
        await control.take_payment(payment_id, 10 * count, "USD")
        names = [f"{payment_id}-r{number}" for number in range(count)]
        for name in names:
            answer = await api.post(
                "/refunds", json={"refund_id": name, "payment_id": payment_id, "amount": 10}
            )
            assert answer.status_code == 200, answer.text
        return names

    return make


async def _listed(
    gateway: HyperswitchGateway, since: datetime, until: datetime, payment_id: str | None = None
) -> list[str]:
    answer = await gateway.refunds(since, until, payment_id)
    assert isinstance(answer, list)
    return [refund.refund_id for refund in answer]


async def test_list_reads_all_pages(
    gateway: HyperswitchGateway,
    control: HyperswitchControl,
    refunds_of: Callable[..., Awaitable[list[str]]],
) -> None:
    names = await refunds_of(201)
    assert await _listed(gateway, NINE - HOUR, NINE + HOUR) == names[::-1]
    assert len(await control.requests("refunds.list")) == 3


async def test_list_of_empty_window_is_empty(gateway: HyperswitchGateway) -> None:
    assert await gateway.refunds(NINE - HOUR, NINE) == []


async def test_list_is_limited_to_window_and_payment(
    gateway: HyperswitchGateway,
    control: HyperswitchControl,
    refunds_of: Callable[..., Awaitable[list[str]]],
) -> None:
    early = await refunds_of(2, "o1")
    await control.advance_clock(7200)
    late = await refunds_of(3, "o2")
    assert set(await _listed(gateway, NINE - HOUR, NINE + HOUR)) == set(early)
    assert set(await _listed(gateway, NINE + HOUR, NINE + 3 * HOUR)) == set(late)
    assert set(await _listed(gateway, NINE, NINE + 3 * HOUR, "o2")) == set(late)


async def test_failed_page_fails_the_list(
    gateway: HyperswitchGateway,
    control: HyperswitchControl,
    refunds_of: Callable[..., Awaitable[list[str]]],
) -> None:
    await refunds_of(101)
    await control.fault("status", "refunds.list", status=502, nth=2)
    answer = await gateway.refunds(NINE, NINE + HOUR)
    assert isinstance(answer, Unknown)
    assert answer.why == "http_502"
    await control.fault("status", "refunds.list", status=429)
    assert isinstance(await gateway.refunds(NINE, NINE + HOUR), NotExecuted)


async def test_refund_moving_between_pages_is_listed(
    psp: FaultServer, gateway_at: OpenGateway
) -> None:
    def page(names: range) -> Json:
        data = [
            {
                "refund_id": f"r{n}",
                "payment_id": "o1",
                "amount": 1,
                "currency": "USD",
                "status": "failed",
            }
            for n in names
        ]
        return {"count": len(data), "total_count": 150, "data": data}

    psp.answers(200, page(range(100)))
    psp.answers(200, page(range(99, 149)))  # r149 became the newest while the first page was read
    answer = await (await gateway_at(psp.url)).refunds(NINE, NINE + HOUR)
    assert isinstance(answer, Unknown)
    assert answer.why == "incomplete"
    assert "149" in answer.message


async def test_endless_list_is_not_read_on(
    gateway: HyperswitchGateway,
    control: HyperswitchControl,
    refunds_of: Callable[..., Awaitable[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hyperswitch, "MOST_LISTED", 100)
    await refunds_of(101)
    answer = await gateway.refunds(NINE, NINE + HOUR)
    assert isinstance(answer, Unknown)
    assert answer.why == "incomplete"
    assert len(await control.requests("refunds.list")) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": {}},
        {"data": [1], "total_count": 1},
        {"data": []},
        {"data": [{}] * 11, "total_count": 11},
    ],
)
async def test_page_of_other_shape_is_unreadable(
    psp: FaultServer, gateway_at: OpenGateway, body: Json
) -> None:
    psp.answers(200, body)
    answer = await (await gateway_at(psp.url)).refunds(NINE, NINE + HOUR)
    assert isinstance(answer, Unknown)
    assert answer.why == "unreadable"


def _shown(refund_id: str | None) -> Json:
    return {
        "refund_id": refund_id,
        "payment_id": "o1",
        "amount": 1,
        "currency": "USD",
        "status": "failed",
    }


async def test_unreadable_refund_does_not_hide_the_others(
    psp: FaultServer, gateway_at: OpenGateway
) -> None:
    data = [_shown("r1"), _shown(None), _shown("r2")]
    psp.answers(200, {"count": 3, "total_count": 3, "data": data})
    assert await _listed(await gateway_at(psp.url), NINE, NINE + HOUR) == ["r1", "r2"]


async def test_ids_that_look_like_keys_are_listed_as_they_are(
    psp: FaultServer, gateway_at: OpenGateway
) -> None:
    """Redacted, both would be one, and the list would look incomplete."""
    names = [f"{key}_20261120_0001" for key in ("rk", "sk", "snd", "prd", "dev", "whsec")]
    data = [_shown(name) for name in names]
    psp.answers(200, {"count": len(names), "total_count": len(names), "data": data})
    assert await _listed(await gateway_at(psp.url), NINE, NINE + HOUR) == names


async def test_instant_without_zone_is_refused(gateway: HyperswitchGateway) -> None:
    with pytest.raises(ValueError, match="time zone"):
        await gateway.refunds(datetime(2026, 7, 27), NINE)  # noqa: DTZ001 - that is the point
