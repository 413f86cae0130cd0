"""Metrics of one process: its loops, its connections, its calls and appends, its release."""

from collections.abc import Iterator, Mapping
from platform import python_version

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from infrastructure.release import release
from infrastructure.service import Service


def register_process(registry: CollectorRegistry, service: Service) -> None:
    """Register the measurements that the parts of a running ledger make."""
    measured = [*service.gateway.measured.collectors, *service.store.measured.collectors]
    if service.psp is not None:
        measured += service.psp.measured.collectors
    for collector in (*measured, ServiceCollector(service)):
        registry.register(collector)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)


class ServiceCollector(Collector):
    """Collector of values that are read from the running parts at each scrape, without the
    database."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[GaugeMetricFamily]:
        build = GaugeMetricFamily(
            "ledger_build_info",
            "1, with the version of the ledger and of Python as labels.",
            labels=["version", "python"],
        )
        build.add_metric([release(), python_version()], 1)
        yield build
        yield from self._loops()
        yield from self._pool()

    def _loops(self) -> Iterator[GaugeMetricFamily]:
        loops = [(loop, task) for loop, task in self._service.running]
        idle = {loop.name: loop.idle_seconds() for loop, _ in loops}
        yield labelled(
            "ledger_loop_last_success_seconds",
            "Seconds since the last turn of a loop that ended well, by loop. A loop without work "
            "takes a turn at least every few minutes (missed webhooks: MISSED_WEBHOOKS_CHECK_"
            "INTERVAL).",
            "loop",
            {name: seconds for name, seconds in idle.items() if seconds is not None},
        )
        yield labelled(
            "ledger_loop_healthy",
            "1 if a loop makes progress; 0 if it has ended, is stuck in one turn, or fails each "
            "turn, by loop.",
            "loop",
            {loop.name: int(not task.done() and loop.trouble() is None) for loop, task in loops},
        )

    def _pool(self) -> Iterator[GaugeMetricFamily]:
        stats = self._service.pool.get_stats()
        size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        yield labelled(
            "ledger_pool_connections",
            "Connections to the database in the pool of this process, by state (used or idle).",
            "state",
            {"used": max(size - idle, 0), "idle": idle},
        )
        yield GaugeMetricFamily(
            "ledger_pool_waiting",
            "Requests of this process that wait for a connection of the pool.",
            value=stats.get("requests_waiting", 0),
        )


def labelled(
    name: str, documentation: str, label: str, values: Mapping[str, float]
) -> GaugeMetricFamily:
    """Return a family of gauges with one label."""
    family = GaugeMetricFamily(name, documentation, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
