"""Traces: off by default, and with OpenTelemetry a span for each call, webhook and request."""

from collections.abc import Iterator

import pytest

from application.webhooks.handler import Ignored, StoredEvent
from infrastructure import traces
from infrastructure.stripe.gateway import StripeGateway
from infrastructure.traced_webhooks import TracedHandler
from infrastructure.traces import export_to, span, start_traces, stop_traces

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def spans() -> Iterator[list[tuple[str, dict[str, object]]]]:
    """Yield the ended spans, each with its attributes."""
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    ended: list[tuple[str, dict[str, object]]] = []

    class Kept(export.SpanExporter):  # type: ignore[misc,name-defined]  # the extra may be absent
        def export(self, spans: object) -> object:
            ended.extend((one.name, dict(one.attributes)) for one in spans)  # type: ignore[attr-defined]
            return export.SpanExportResult.SUCCESS

    export_to(Kept(), at_once=True)
    yield ended
    stop_traces()


def test_traces_are_off_without_an_endpoint() -> None:
    start_traces({"PATH": "/bin"})
    assert traces._Tracing.tracer is None
    with span("nothing", {}) as ended:
        ended["outcome"] = "none"


async def test_call_to_a_provider_is_a_span(spans: list[tuple[str, dict[str, object]]]) -> None:
    async with StripeGateway("sk_test_1", NOWHERE, 5) as gateway:
        await gateway.answers()
    assert spans == [("stripe account.retrieve", {"outcome": "connection"})]


async def test_webhook_is_a_span(spans: list[tuple[str, dict[str, object]]]) -> None:
    event = StoredEvent(1, "stripe", "evt_1", "transfer.created", b"{}")
    assert isinstance(await TracedHandler().handle(event), Ignored)
    names = {"provider": "stripe", "event_id": "evt_1", "result": "Ignored"}
    assert spans == [("webhook stripe transfer.created", names)]
