"""Measurements of calls to the providers, and of appends."""

from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from domain.errors import ConstraintBroken
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.measurements import CallMeasurements
from infrastructure.postgres.connections import new_pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.stripe.gateway import StripeGateway
from infrastructure.stripe.transport import operation_of
from tests.support.fault_server import FaultServer


@pytest.fixture
async def provider() -> AsyncIterator[FaultServer]:
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()


def counted(measured: CallMeasurements, provider: str) -> dict[tuple[str, str], float]:
    """Return the calls by operation and outcome."""
    registry = CollectorRegistry()
    for collector in measured.collectors:
        registry.register(collector)
    return {
        (sample.labels["operation"], sample.labels["outcome"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == f"ledger_{provider}_calls_total"
    }


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("post", "/v1/transfers", "transfers.create"),
        ("post", "/v1/transfers/tr_1/reversals", "reversals.create"),
        ("get", "/v1/transfers/tr_1/reversals?limit=100", "reversals.list"),
        ("get", "/v1/transfers/tr_1", "transfers.retrieve"),
        ("get", "/v1/transfers?created[gte]=1", "transfers.list"),
        ("get", "/v1/account", "account.retrieve"),
        ("get", "/v1/events", "events.list"),
        ("get", "/v1/whims/transfer-of-a-caller", "other"),
    ],
)
def test_request_to_stripe_is_named_by_its_resource(method: str, path: str, operation: str) -> None:
    assert operation_of(method, f"https://api.stripe.com{path}") == operation


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, "rejected"),
        (401, "key_refused"),
        (409, "conflict"),
        (429, "rate_limited"),
        (503, "server_error"),
    ],
)
async def test_call_to_stripe_is_counted_by_its_outcome(
    provider: FaultServer, status: int, outcome: str
) -> None:
    async with StripeGateway("sk_test_1", provider.url, 5) as ours:
        provider.answers(status, {"error": {"message": "No.", "type": "api_error"}})
        await ours.answers()
        assert counted(ours.measured, "stripe") == {("account.retrieve", outcome): 1}


async def test_call_without_answer_counts_as_lost_connection() -> None:
    async with StripeGateway("sk_test_1", "http://127.0.0.1:9", 5) as ours:
        await ours.answers()
        assert counted(ours.measured, "stripe") == {("account.retrieve", "connection"): 1}


async def test_late_answer_of_the_psp_counts_as_timeout(provider: FaultServer) -> None:
    async with HyperswitchGateway("snd_1", provider.url, 0.05) as ours:
        provider.hangs()
        await ours.refund("r1")
        assert counted(ours.measured, "psp") == {("refunds.retrieve", "timeout"): 1}


async def test_append_is_measured_by_time_group_and_failure(database_url: str) -> None:
    async with new_pool(database_url) as pool:
        store = EventStore(database_url, pool)
        await store.start()
        await store.probe()
        with pytest.raises(ConstraintBroken):
            await store.append([], {"alarms": [{"kind": None}]})
        await store.aclose()
    registry = CollectorRegistry()
    for collector in store.measured.collectors:
        registry.register(collector)
    value, writer = registry.get_sample_value, {"writer": "facts"}
    assert value("ledger_append_seconds_count", writer) == 1
    assert value("ledger_group_size_count", writer) == 2
    failed = {**writer, "reason": "ConstraintBroken"}
    assert value("ledger_append_failures_total", failed) == 1
