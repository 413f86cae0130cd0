"""Handling of webhooks in spans."""

from application.webhooks.handler import StoredEvent, WebhookHandler, WebhookResult
from infrastructure.traces import span


class TracedHandler(WebhookHandler):
    """A handler of webhooks with a span for each."""

    async def handle(self, event: StoredEvent) -> WebhookResult:
        """Handle one event inside of a span."""
        names = {"provider": event.provider, "event_id": event.event_id}
        with span(f"webhook {event.provider} {event.event_type}", names) as ended:
            result = await super().handle(event)
            ended["result"] = type(result).__name__
            return result
