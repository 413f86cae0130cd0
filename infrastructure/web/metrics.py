"""Prometheus metrics: counters of this process, and values read from the database at each
scrape."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from application.ports import FleetState
from domain.lifecycle import TransferStatus

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Values from the database. `up` is False when the database did not answer; the other values
    are then meaningless."""

    up: bool = False
    facts: int = 0
    transfers: Mapping[str, int] = field(default_factory=dict)
    oldest_reversal_seconds: float = 0.0
    oldest_due_seconds: Mapping[str, float] = field(default_factory=dict)
    inbox: Mapping[str, int] = field(default_factory=dict)
    missed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)
    breaker: FleetState = field(default_factory=FleetState)


class Metrics:
    """The measurements of one application, in a registry of its own."""

    def __init__(self, mode: str) -> None:
        self._registry = CollectorRegistry()
        self._database = DatabaseCollector(mode)
        self._registry.register(self._database)
        self._requests = Counter(
            "ledger_http_requests",
            "Answered calls.",
            ["method", "path", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "ledger_http_request_seconds",
            "Seconds from a call to its answer.",
            ["method", "path"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._webhooks = Counter(
            "ledger_webhooks_received",
            "Webhooks by the result of their intake.",
            ["provider", "result"],
            registry=self._registry,
        )

    def answered(self, method: str, path: str | None, status: int, seconds: float) -> None:
        """Count an answered call; `path` is its template, None for an unknown path."""
        known = path or UNMATCHED
        verb = (
            method if known != UNMATCHED else "any"
        )  # a caller may invent methods, but no time series
        self._requests.labels(verb, known, str(status)).inc()
        self._seconds.labels(verb, known).observe(seconds)

    def received(self, provider: str, result: str) -> None:
        """Count a webhook; `result` is `stored`, `duplicate`, or the code of the problem."""
        self._webhooks.labels(provider, result).inc()

    def exposition(self, snapshot: MetricsSnapshot) -> bytes:
        """Return the text for Prometheus."""
        self._database.snapshot = snapshot
        return generate_latest(self._registry)


class DatabaseCollector(Collector):
    """Collector of the latest snapshot."""

    def __init__(self, mode: str) -> None:
        self._mode, self.snapshot = mode, MetricsSnapshot()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        seen = self.snapshot
        yield _by("ledger_mode", "1 for the mode in which money moves.", "mode", {self._mode: 1})
        yield GaugeMetricFamily(
            "ledger_database_up", "1 if the database answered this scrape.", value=int(seen.up)
        )
        if seen.up:
            yield CounterMetricFamily(
                "ledger_facts", "Facts ever appended: the newest position.", value=seen.facts
            )
            known = dict.fromkeys(map(str, TransferStatus), 0)
            yield _by(
                "ledger_transfers", "Transfers by status.", "status", {**known, **seen.transfers}
            )
            oldest = "Age in seconds of the oldest reversal that is still owed."
            yield GaugeMetricFamily(
                "ledger_oldest_pending_reversal_seconds", oldest, value=seen.oldest_reversal_seconds
            )
            yield _by(
                "ledger_oldest_due_seconds",
                "Seconds for which the oldest due work has waited unclaimed, by kind of work.",
                "kind",
                seen.oldest_due_seconds,
            )
            yield _by(
                "ledger_inbox_events",
                "Webhooks that are not handled, by status.",
                "status",
                seen.inbox,
            )
            missed, replayed = (
                {provider: counted[n] for provider, counted in seen.missed.items()} for n in (0, 1)
            )
            yield _counted(
                "ledger_webhooks_missed",
                "Events that no webhook delivered, found by the poller.",
                missed,
            )
            yield _counted(
                "ledger_webhooks_replayed", "Missed events that have been handled since.", replayed
            )
            yield _by("ledger_alarms_open", "Open alarms by kind.", "kind", seen.alarms)
            outage = "1 while the circuit breaker is open: Stripe does not answer, nothing is sent."
            yield GaugeMetricFamily("ledger_stripe_outage", outage, value=int(seen.breaker.outage))
            yield GaugeMetricFamily(
                "ledger_pauses", "Scopes that are paused.", value=len(seen.breaker.paused)
            )


def _by(
    name: str, documentation: str, label: str, values: Mapping[str, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _counted(name: str, documentation: str, by_provider: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=["provider"])
    for provider, count in {"stripe": 0, "hyperswitch": 0, **by_provider}.items():
        family.add_metric([provider], count)
    return family
