"""Measurements that parts of a process make while they work: calls to a provider, and appends.

The parts know no registry. `infrastructure/web/metrics.py` registers their measurements for
Prometheus.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from prometheus_client import Counter, Histogram
from prometheus_client.registry import Collector

from infrastructure.traces import span

CALL_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 80.0)
"""Buckets. Stripe gives up after 80 s."""
APPEND_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0)
"""Buckets. A caller of a writer waits for 15 s at most."""
GROUP_SIZES = (1, 2, 4, 8, 16, 32)


class CallMeasurements:
    """Calls to one provider by operation and outcome, and their durations.

    Both labels have few values: an operation is a name of ours, an outcome is one of `OUTCOMES`.
    """

    OUTCOMES = (
        "succeeded", "rejected", "rate_limited", "conflict", "key_refused", "server_error",
        "timeout", "connection", "cancelled",
    )  # fmt: skip

    def __init__(self, provider: str, title: str, *timeouts: type[Exception]) -> None:
        """Name the metrics after `provider`; `title` is its name for people. `timeouts`: errors
        that are time-outs, besides TimeoutError."""
        self._provider = provider
        self._timeouts: tuple[type[Exception], ...] = (TimeoutError, *timeouts)
        self._total = Counter(
            f"ledger_{provider}_calls",
            f"Requests to {title} by operation and outcome. Outcomes: {', '.join(self.OUTCOMES)}.",
            ["operation", "outcome"],
            registry=None,
        )
        self._seconds = Histogram(
            f"ledger_{provider}_call_seconds",
            f"Seconds from the beginning of a request to {title} to its whole answer or its "
            "failure, by operation.",
            ["operation"],
            buckets=CALL_SECONDS,
            registry=None,
        )

    @property
    def collectors(self) -> Sequence[Collector]:
        return self._total, self._seconds

    @contextmanager
    def call(self, operation: str) -> Iterator[Callable[[int], None]]:
        """Measure the request that the content makes, in a span. The content calls the yielded
        function with the HTTP status of the answer."""
        began, outcome = monotonic(), "cancelled"

        def answered(status: int) -> None:
            nonlocal outcome
            outcome = outcome_of_status(status)

        with span(f"{self._provider} {operation}", {}) as ended:
            try:
                yield answered
            except Exception as error:
                outcome = "timeout" if isinstance(error, self._timeouts) else "connection"
                raise
            finally:
                self._seconds.labels(operation).observe(monotonic() - began)
                self._total.labels(operation, outcome).inc()
                ended["outcome"] = outcome


def outcome_of_status(status: int) -> str:
    """Return the outcome of an answer with this HTTP status."""
    known = {401: "key_refused", 403: "key_refused", 409: "conflict", 429: "rate_limited"}
    if status in known:
        return known[status]
    if 200 <= status < 300:
        return "succeeded"
    return "rejected" if 400 <= status < 500 else "server_error"


class AppendMeasurements:
    """Appends of this process by writer: `facts` stores facts and rows, `webhooks` received
    webhooks."""

    def __init__(self) -> None:
        self.seconds = Histogram(
            "ledger_append_seconds",
            "Seconds from the submission of an append to its commit, by writer.",
            ["writer"],
            buckets=APPEND_SECONDS,
            registry=None,
        )
        self.failures = Counter(
            "ledger_append_failures",
            "Appends without a commit by writer and reason. A Conflict is a lost race, which the "
            "caller repeats; Unavailable means that the database takes no writes.",
            ["writer", "reason"],
            registry=None,
        )
        self.group_sizes = Histogram(
            "ledger_group_size",
            "Number of appends that share one commit, by writer.",
            ["writer"],
            buckets=GROUP_SIZES,
            registry=None,
        )
        self.setbacks = Counter(
            "ledger_setbacks",
            "Calls to a provider that this process recorded as refused, deferred or given up, by "
            "kind of fact and reason.",
            ["fact", "reason"],
            registry=None,
        )

    @property
    def collectors(self) -> Sequence[Collector]:
        return self.seconds, self.failures, self.group_sizes, self.setbacks


class WriterMeter:
    """Measurements of one writer."""

    def __init__(self, measured: AppendMeasurements, writer: str) -> None:
        self._seconds = measured.seconds.labels(writer)
        self._group_sizes = measured.group_sizes.labels(writer)
        self._failures, self._writer = measured.failures, writer

    def group(self, size: int) -> None:
        """Record the size of a group."""
        self._group_sizes.observe(size)

    def stored(self, seconds: float) -> None:
        """Record an append that is committed."""
        self._seconds.observe(seconds)

    def failed(self, error: Exception) -> None:
        """Record an append that failed; its reason is the class of the error."""
        self._failures.labels(self._writer, type(error).__name__).inc()
