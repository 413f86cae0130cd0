"""Aggregate of the decisions of a person about one stored webhook.

Only decisions are facts: the inbox row says what became of the webhook. A discarded webhook may be
handled again (`inbox replay`), and then be discarded again.
"""

from datetime import datetime
from typing import TypedDict, Unpack

from domain.fact import Fact, Opening, Stream, opened
from domain.identity import webhook_stream

TOPIC = "ledger.webhook"


class WebhookOpening(TypedDict):
    """Content of `Noted`."""

    inbox_id: int
    provider: str
    event_id: str
    event_type: str


class Noted(Opening):
    """A stored webhook gets its first decision."""

    TOPIC = "ledger.webhook.noted"
    inbox_id: int
    provider: str
    event_id: str
    event_type: str

    def apply(self, aggregate: "Webhook") -> None:
        aggregate.provider, aggregate.event_id = self.provider, self.event_id


class Discarded(Fact):
    """`actor` decided that the webhook is not handled. It was `status`, for the reason `why`."""

    TOPIC = "ledger.webhook.discarded"
    provider: str
    event_id: str
    status: str
    why: str | None
    actor: str
    reason: str


class ReplayRequested(Fact):
    """`actor` asked to have the webhook handled again from the start. It was `status`, for the
    reason `why`."""

    TOPIC = "ledger.webhook.replay_requested"
    provider: str
    event_id: str
    status: str
    why: str | None
    actor: str
    reason: str


class Webhook(Stream, topic=TOPIC, opening=Noted):
    """One stored webhook about which a person has decided."""

    def __init__(self) -> None:
        self.provider = self.event_id = ""

    @classmethod
    def note(cls, now: datetime, **opening: Unpack[WebhookOpening]) -> "Webhook":
        """Open the stream of a webhook that has no decision yet."""
        stream = webhook_stream(opening["provider"], opening["event_id"])
        return opened(cls, Noted(**cls.first(stream, now), **opening))

    def discard(self, status: str, why: str | None, actor: str, reason: str, now: datetime) -> None:
        """Record that a person has discarded it while it was `status`."""
        self.record(
            Discarded(
                **self.next(now),
                provider=self.provider,
                event_id=self.event_id,
                status=status,
                why=why,
                actor=actor,
                reason=reason,
            )
        )

    def ask_again(
        self, status: str, why: str | None, actor: str, reason: str, now: datetime
    ) -> None:
        """Record that a person has it handled again while it was `status`."""
        self.record(
            ReplayRequested(
                **self.next(now),
                provider=self.provider,
                event_id=self.event_id,
                status=status,
                why=why,
                actor=actor,
                reason=reason,
            )
        )


AnyWebhookFact = Noted | Discarded | ReplayRequested
