"""The metrics of a ledger at work, as a process without an API (`worker`) shows them."""

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from domain.pause import KINDS
from infrastructure.bootstrap import running
from infrastructure.release import release
from infrastructure.service import Service
from infrastructure.web.app import HEALTH, application_of
from tests.support.service import CREATE, LedgerCaller, SystemUnderTest


async def scraped(service: Service) -> dict[str, Metric]:
    """Return the families of one scrape by name."""
    transport = httpx.ASGITransport(application_of(service, HEALTH))
    async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as client:
        text = (await client.get("/metrics")).text
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(family: Metric, *labels: str) -> dict[tuple[str, ...], float]:
    """Return the values of a family's own samples by these labels."""
    plain = {family.name, f"{family.name}_total", f"{family.name}_count"}
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for sample in family.samples
        if sample.name in plain
    }


async def test_metrics_of_a_working_ledger_tell_calls_loops_and_appends(
    system: SystemUnderTest,
) -> None:
    await system.stripe.fault("status", CREATE, status=500, times=1)
    async with running(system.settings) as service:
        await system.paid(LedgerCaller(service))
        seen = await scraped(service)
    calls = values(seen["ledger_stripe_calls"], "operation", "outcome")
    assert calls["transfers.create", "succeeded"] == 1
    assert calls["transfers.create", "server_error"] == 1
    assert values(seen["ledger_stripe_call_seconds"], "operation")["transfers.create",] == 2
    setbacks = values(seen["ledger_setbacks"], "fact", "reason")
    assert setbacks == {("AttemptDeferred", "unknown"): 1}
    loops = values(seen["ledger_loop_last_success_seconds"], "loop")
    assert {loop for (loop,) in loops} >= {*KINDS} - {"refunding"} | {"InboxLoop", "Poller"}
    assert all(0 <= age < 60 for age in loops.values())
    assert set(values(seen["ledger_loop_healthy"], "loop").values()) == {1}
    assert values(seen["ledger_append_seconds"], "writer")["facts",] > 3
    pool = values(seen["ledger_pool_connections"], "state")
    assert pool["used",] + pool["idle",] >= 1
    assert values(seen["ledger_rate_limit"], "operation")[CREATE,] == 1_000
    assert 0 < values(seen["ledger_rate_used_ratio"], "operation")[CREATE,] < 1
    assert seen["ledger_build_info"].samples[0].labels["version"] == release()
    assert "process_resident_memory_bytes" in seen


async def test_each_metric_explains_itself(system: SystemUnderTest) -> None:
    """A name ends with its unit or `total`, and the help text says more than the name."""
    async with running(system.settings) as service:
        seen = await scraped(service)
    ours = [family for name, family in seen.items() if name.startswith("ledger_")]
    assert len(ours) > 25
    for family in ours:
        assert len(family.documentation) > 15, family.name
        if family.name.endswith("_seconds"):
            assert "econds" in family.documentation, family.name
    assert not any(name.endswith("_created") for name in seen)
