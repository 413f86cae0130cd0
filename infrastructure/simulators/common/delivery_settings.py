"""Endpoints that take webhooks, and the settings of webhook delivery."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field

LIVE_RETRY_SCHEDULE = (
    60.0,
    300.0,
    1800.0,
    7200.0,
    18_000.0,
    36_000.0,
    36_000.0,
    43_200.0,
    43_200.0,
    43_200.0,
)
"""Seconds between attempts; about three days in all. Stripe publishes the three days, not the steps
[G]."""


class DeliverySettings(BaseModel):
    """Faults and delays of webhook delivery. The defaults deliver each event once, at once."""

    model_config = ConfigDict(extra="forbid")

    delay: float = Field(default=0.0, ge=0)
    duplicates: int = Field(default=0, ge=0, le=10)
    """Extra deliveries of the same event."""
    reorder_window: float = Field(default=0.0, ge=0)
    """Each delivery is delayed by a random time of up to this many seconds."""
    drop: list[str] = []
    """Event types (globs) that are never delivered."""
    drop_probability: float = Field(default=0.0, ge=0, le=1)
    bad_signatures: int = Field(default=0, ge=0)
    """Number of the next deliveries that carry a signature made with another secret."""
    paused: bool = False
    """Collect deliveries until `flush`."""
    retry_schedule: tuple[float, ...] = LIVE_RETRY_SCHEDULE
    retry_factor: float = Field(default=1.0, gt=0)
    """Scales the schedule: 0.0001 turns three days into 26 seconds."""
    timeout: float = Field(default=20.0, gt=0)
    concurrency: int = Field(default=16, ge=1, le=256)


class WebhookTarget(BaseModel):
    """An endpoint that takes webhooks. The control routes call its delivery settings `knobs`."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)

    id: str = ""
    url: str
    delivery: DeliverySettings = Field(default=DeliverySettings(), alias="knobs")


Deliver: TypeAlias = Callable[[str, bytes, Mapping[str, str]], Awaitable[int]]
"""Posts a webhook (url, body, headers) and returns the status of the answer; raises OSError when no
answer comes."""
