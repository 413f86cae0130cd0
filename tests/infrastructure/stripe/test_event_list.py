"""Stripe's list of events: each event as its webhook would have brought it, whole pages only."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from application.missed_webhooks.ports import PolledEvent
from domain.provider_call.outcome import LookUpFailed, ProviderSignal
from infrastructure.simulators.stripe import KIND, SimulatorConfig, running_simulator
from infrastructure.stripe.event_list import TYPES
from infrastructure.stripe.gateway import StripeGateway
from tests.infrastructure.stripe.conftest import OpenGateway
from tests.support.fault_server import FaultServer

SINCE = datetime(2026, 11, 20, 12, 0, 0, 900_000, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=1)


def event(number: int, **changes: object) -> dict[str, object]:
    shown = {
        "id": f"evt_{number}",
        "object": "event",
        "type": "transfer.reversed",
        "livemode": False,
        "created": 1_800_000_000,
    }
    return {
        **shown,
        "data": {"object": {"id": "tr_1", "amount": 2**53 - 1, "description": "Zoë"}},
        **changes,
    }


def page(*events: object, more: object = False) -> dict[str, object]:
    return {"object": "list", "data": list(events), "has_more": more, "url": "/v1/events"}


async def test_event_page_equals_webhook_events(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, page(event(2), event(1), more=True))
    events, more = await gateway.events(SINCE, UNTIL, None)
    assert more
    assert [(told.event_id, told.event_type, json.loads(told.body)) for told in events] == [
        ("evt_2", "transfer.reversed", event(2)),
        ("evt_1", "transfer.reversed", event(1)),
    ]


async def test_event_request_names_types_and_rounds_window_down(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, page())
    assert await gateway.events(SINCE, UNTIL, "evt_9") == ([], False)
    (request,) = stripe.requests
    asked = dict(parse_qsl(urlsplit(request.path).query))
    assert (asked["created[gte]"], asked["created[lt]"]) == ("1795176000", "1795179600")
    assert (asked["limit"], asked["starting_after"]) == ("100", "evt_9")
    assert [asked[f"types[{n}]"] for n in range(len(TYPES))] == list(TYPES)


def test_event_types_are_at_most_twenty_without_wildcards() -> None:
    assert len(set(TYPES)) == len(TYPES) <= 20
    assert not any("*" in each for each in TYPES)


UNREADABLE = [
    page(event(1, id="tr_1")),
    page(event(1, id=None)),
    page(event(1, object="transfer")),
    page(event(1, type=7)),
    page(event(1, type="")),
    page(event(1, type="x" * 129)),
    page(event(1), more=None),
    page(more=True),
    page("evt_1"),
    {"object": "event"},
]


@pytest.mark.parametrize("shown", UNREADABLE)
async def test_incomplete_event_page_is_a_failure(
    stripe: FaultServer, gateway: StripeGateway, shown: object
) -> None:
    stripe.answers(200, shown)
    with pytest.raises(LookUpFailed):
        await gateway.events(SINCE, UNTIL, None)


async def test_event_page_ending_at_its_cursor_stops(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, page(event(1), more=True))
    with pytest.raises(LookUpFailed, match="would repeat"):
        await gateway.events(SINCE, UNTIL, "evt_1")


@pytest.mark.parametrize(
    ("status", "signal"),
    [
        (401, ProviderSignal.KEY_REFUSED),
        (403, ProviderSignal.FORBIDDEN),
        (503, ProviderSignal.SILENCE),
    ],
)
async def test_event_list_failure_states_its_meaning(
    stripe: FaultServer, gateway: StripeGateway, status: int, signal: ProviderSignal
) -> None:
    stripe.answers(status, {"error": {"type": "api_error", "message": "no"}})
    with pytest.raises(LookUpFailed) as raised:
        await gateway.events(SINCE, UNTIL, None)
    assert raised.value.signal is signal


async def test_connected_account_events_are_not_listed(gateway_at: OpenGateway) -> None:
    """Stripe lists them for each account alone; see docs/guarantees.md."""
    async with running_simulator(SimulatorConfig(manners=KIND)) as (_, control):
        gateway, now = await gateway_at(control.url), datetime.now(UTC)
        await control.announce("balance.available", {"object": "balance"}, account="acct_1ada")
        own = await control.announce("balance.available", {"object": "balance"})
        events, _ = await gateway.events(now - timedelta(hours=1), now + timedelta(hours=1), None)
    assert [told.event_id for told in events] == [own["id"]]
    assert isinstance(events[0], PolledEvent)
