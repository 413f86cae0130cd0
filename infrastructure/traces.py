"""Traces through OpenTelemetry (the extra `otel`): off unless it is installed and configured.

The variables are those of OpenTelemetry itself, such as OTEL_EXPORTER_OTLP_ENDPOINT. Spans have
ids, never bodies.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from infrastructure.release import DISTRIBUTION, release

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

log = structlog.get_logger()


class _Tracing:
    """The tracer of this process."""

    tracer: "Tracer | None" = None


def start_traces(environment: Mapping[str, str]) -> None:
    """Send spans to the endpoint that the environment names, if any."""
    if not any(environment.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        log.warning("no traces: OpenTelemetry is missing; install transfer-ledger[otel]")
        return
    export_to(OTLPSpanExporter())
    log.info("traces are sent")


def export_to(exporter: "SpanExporter", *, at_once: bool = False) -> None:
    """Export all spans from now on, in batches or each `at_once`."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    named = {"service.name": DISTRIBUTION, "service.version": release()}
    provider = TracerProvider(resource=Resource.create(named))
    processor = SimpleSpanProcessor if at_once else BatchSpanProcessor
    provider.add_span_processor(processor(exporter))
    _Tracing.tracer = provider.get_tracer(DISTRIBUTION, release())


def stop_traces() -> None:
    """Make no more spans."""
    _Tracing.tracer = None


@contextmanager
def span(name: str, attributes: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Make a span around the content. Its end adds the attributes that the content puts into the
    yielded mapping."""
    later: dict[str, str] = {}
    if _Tracing.tracer is None:
        yield later
        return
    with _Tracing.tracer.start_as_current_span(name, attributes=dict(attributes)) as active:
        try:
            yield later
        finally:
            active.set_attributes(later)
