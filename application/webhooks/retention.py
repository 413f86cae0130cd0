"""Retention of webhook bodies: the body of a closed webhook is emptied after a time, since it may
hold personal data of buyers."""

from datetime import timedelta
from typing import Protocol

import structlog

from application.loop import Loop

BATCH = 1_000
BETWEEN_BATCHES, BETWEEN_ROUNDS = 0.2, 600.0
"""Seconds."""

log = structlog.get_logger()


class WebhookBodies(Protocol):
    """The stored bodies of webhooks."""

    async def redact(self, retention: timedelta, limit: int) -> int:
        """Empty up to `limit` bodies of webhooks that were closed longer ago; return how many. The
        rows stay, so that a repeated event is a duplicate."""


class RetentionLoop(Loop):
    """Loop that empties old bodies: `run` until `stop`."""

    def __init__(self, bodies: WebhookBodies, retention: timedelta) -> None:
        super().__init__()
        self._bodies, self._retention = bodies, retention

    async def turn(self) -> float:
        """Empty a batch of bodies; return the seconds until the next batch."""
        emptied = await self._bodies.redact(self._retention, BATCH)
        if emptied:
            log.info("old webhook bodies are emptied", count=emptied)
        return (
            BETWEEN_BATCHES
            if emptied == BATCH
            else min(BETWEEN_ROUNDS, self._retention.total_seconds())
        )
