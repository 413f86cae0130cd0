"""Prometheus metrics: counters of this process, and values read from the database at each
scrape."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from domain.lifecycle import TransferStatus
from infrastructure.postgres.read_side.overview import MoneyBar, MoneyState
from infrastructure.scrape import MetricsSnapshot, Scrape
from infrastructure.service import Service
from infrastructure.web.process_metrics import labelled, register_process

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
UNMATCHED = "unmatched"


class Metrics:
    """The measurements of one application, in a registry of its own."""

    def __init__(self, mode: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # without annotations
        self._registry = CollectorRegistry()
        self._database = DatabaseCollector(mode)
        self._registry.register(self._database)
        self._scrape: Scrape | None = None
        self._requests = Counter(
            "ledger_http_requests",
            "HTTP requests that this process answered, by method, path and status.",
            ["method", "path", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "ledger_http_request_seconds",
            "Seconds from an HTTP request to its answer, by method and path.",
            ["method", "path"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._webhooks = Counter(
            "ledger_webhooks_received",
            "Webhooks by provider and result: stored, duplicate, or the code of the problem.",
            ["provider", "result"],
            registry=self._registry,
        )

    def watch(self, service: Service) -> None:
        """Show the measurements of a running ledger too."""
        self._scrape = Scrape(service)
        register_process(self._registry, service)

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

    async def exposition(self) -> bytes:
        """Return the text for Prometheus. Without a database, the process shows its own values
        only."""
        if self._scrape is not None:
            self._database.snapshot = await self._scrape.read()
        return generate_latest(self._registry)


class DatabaseCollector(Collector):
    """Collector of the latest snapshot."""

    def __init__(self, mode: str) -> None:
        self._mode, self.snapshot = mode, MetricsSnapshot()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        seen = self.snapshot
        yield labelled(
            "ledger_mode", "1 for the mode in which money moves.", "mode", {self._mode: 1}
        )
        yield GaugeMetricFamily(
            "ledger_database_up", "1 if the database answered this scrape.", value=int(seen.up)
        )
        if seen.up:
            yield CounterMetricFamily(
                "ledger_facts", "Facts ever appended: the newest position.", value=seen.facts
            )
            known = dict.fromkeys(map(str, TransferStatus), 0)
            yield from _money(seen.money, seen.now) if seen.money is not None else ()
            yield labelled(
                "ledger_transfers", "Transfers by status.", "status", {**known, **seen.transfers}
            )
            oldest = "Age in seconds of the oldest reversal that is still owed."
            yield GaugeMetricFamily(
                "ledger_oldest_pending_reversal_seconds", oldest, value=seen.oldest_reversal_seconds
            )
            yield labelled(
                "ledger_oldest_due_seconds",
                "Seconds for which the oldest due work has waited unclaimed, by kind of work.",
                "kind",
                seen.oldest_due_seconds,
            )
            yield from _webhooks(seen)
            yield from _rates(seen)
            yield labelled("ledger_alarms_open", "Open alarms by kind.", "kind", seen.alarms)
            outage = "1 while the circuit breaker is open: Stripe does not answer, nothing is sent."
            yield GaugeMetricFamily("ledger_stripe_outage", outage, value=int(seen.breaker.outage))
            yield GaugeMetricFamily(
                "ledger_pauses", "Scopes that are paused.", value=len(seen.breaker.paused)
            )


def _money(money: Sequence[MoneyBar], now: datetime) -> Iterator[GaugeMetricFamily]:
    """Yield the open money, and the ages of its oldest parts over all currencies."""
    states = ", ".join(MoneyState)
    amounts = GaugeMetricFamily(
        "ledger_money_minor_units",
        "Money that is not settled, in minor units of its currency, by currency and state. "
        f"States: {states}.",
        labels=["currency", "state"],
    )
    oldest: dict[str, float] = dict.fromkeys(map(str, MoneyState), 0.0)
    for bar in money:
        amounts.add_metric([bar.currency, bar.state], bar.amount)
        if bar.oldest_at is not None:
            age = (now - bar.oldest_at).total_seconds()
            oldest[bar.state] = max(oldest[bar.state], age)
    yield amounts
    yield labelled(
        "ledger_oldest_seconds",
        "Seconds since the beginning of the oldest money that is not settled, by state; 0 if "
        "there is none.",
        "state",
        oldest,
    )


def _webhooks(seen: MetricsSnapshot) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
    yield labelled(
        "ledger_inbox_events",
        "Webhooks that are not handled, by status.",
        "status",
        seen.inbox,
    )
    yield labelled(
        "ledger_inbox_oldest_seconds",
        "Seconds since the receipt of the oldest webhook that is not handled, by status: "
        "stored (not handled yet), parked (its order is unknown), dead (handling failed).",
        "status",
        seen.oldest_webhook_seconds,
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


def _rates(seen: MetricsSnapshot) -> Iterator[GaugeMetricFamily]:
    yield labelled(
        "ledger_rate_limit",
        "Requests per second that all processes together may send, by operation: STRIPE_MAX_RPS "
        "(for the PSP a constant), lowered for a while after a refusal (429).",
        "operation",
        {rate.endpoint: rate.limit for rate in seen.rates},
    )
    yield labelled(
        "ledger_rate_used_ratio",
        "Requests of all processes in the last seconds as a part of the limit, by operation; 1 is "
        "all of it.",
        "operation",
        {rate.endpoint: rate.used / rate.limit for rate in seen.rates},
    )
    yield labelled(
        "ledger_rate_backlog_seconds",
        "Seconds until the next free instant for a request, by operation: the queue at the rate "
        "limiter of all processes.",
        "operation",
        {rate.endpoint: rate.reserved_seconds for rate in seen.rates},
    )


def _counted(name: str, documentation: str, by_provider: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=["provider"])
    for provider, count in {"stripe": 0, "hyperswitch": 0, **by_provider}.items():
        family.add_metric([provider], count)
    return family
