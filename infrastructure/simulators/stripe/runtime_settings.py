"""What can be changed while the simulator runs: which keys it takes, how much it admits, and how slow it is."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from infrastructure.simulators.stripe.config import SimulatorConfig


class Tuning(BaseModel):
    """Starts as the configuration says; see there for the meaning of each. A reset goes back to that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted_keys: frozenset[str] | None
    expired_keys: frozenset[str]
    forbidden: dict[str, tuple[str, ...]]
    latency: Literal["none", "recorded"]
    latency_scale: float = Field(ge=0)
    global_rate: float | None = Field(gt=0)
    endpoint_rate: float | None = Field(gt=0)
    resource_rate: float | None = Field(gt=0)
    global_concurrency: int | None = Field(ge=0)
    endpoint_concurrency: int | None = Field(ge=0)

    @classmethod
    def of(cls, config: SimulatorConfig) -> Tuning:
        """Raises ValueError for a bad value."""
        return cls(**{name: getattr(config, name) for name in cls.model_fields})

    def changed(self, changes: Mapping[str, Any]) -> Tuning:
        """Raises ValueError for an unknown name or a bad value."""
        return Tuning.model_validate({**self.model_dump(), **changes})

    def forbids(self, key: str, operation: str) -> bool:
        return any(fnmatchcase(operation, pattern) for pattern in self.forbidden.get(key, ()))
