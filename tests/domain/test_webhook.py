"""Decisions of a person about a stored webhook."""

from datetime import UTC, datetime

from domain.identity import webhook_stream
from domain.webhook import Discarded, Webhook
from tests.support.domain_story import FactStorage

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def a_webhook() -> Webhook:
    return Webhook.note(
        NOW, inbox_id=17, provider="stripe", event_id="evt_1", event_type="charge.refunded"
    )


def test_discarded_webhook_keeps_actor_and_cause() -> None:
    webhook = a_webhook()
    webhook.discard("failed", "no such order", "mia", "a test of the shop", NOW)
    fact = webhook.pending_events[-1]
    assert isinstance(fact, Discarded)
    assert (fact.provider, fact.event_id, fact.status, fact.why) == (
        "stripe",
        "evt_1",
        "failed",
        "no such order",
    )
    assert (fact.actor, fact.reason) == ("mia", "a test of the shop")


def test_stream_of_a_webhook_follows_from_its_event(storage: FactStorage) -> None:
    webhook = a_webhook()
    assert webhook.id == webhook_stream("stripe", "evt_1") != webhook_stream("hyperswitch", "evt_1")
    webhook.discard("failed", None, "mia", "a test", NOW)
    webhook.discard("failed", None, "mia", "again", NOW)
    read = storage.replayed(list(webhook.collect_events()))
    assert isinstance(read, Webhook)
    assert (read.provider, read.event_id, read.version) == ("stripe", "evt_1", 3)
