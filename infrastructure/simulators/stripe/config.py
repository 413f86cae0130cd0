"""Settings of a simulator: those chosen before its start, and those that tests change while it
runs.

Amounts are in minor units, times in seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from infrastructure.simulators.common.world import ProviderConfig
from infrastructure.simulators.stripe.manners import LIVE, Manners

API_VERSION = "2026-10-28.endive"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig(ProviderConfig):
    """A simulator with the default settings behaves like a new live account: without a balance of
    its own, and with card money that is pending for days. `manners=KIND` is kinder.

    `accepted_keys=None` accepts every key that starts with `sk_` or `rk_`.
    """

    api_version: str = API_VERSION
    livemode: bool = False
    """A key of the other mode (by default `sk_live_…`) finds nothing; the error names an object
    that exists in this mode."""
    platform_account: str = "acct_1Qplatform"
    expired_keys: frozenset[str] = frozenset()
    """Rolled keys: 401, even if accepted otherwise."""
    forbidden: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Restricted keys, with the operations (globs such as `reversals.*`) that get 403."""

    manners: Manners = LIVE
    auto_accounts: bool = True
    """Any plausible `acct_…` exists on first use, except ids that contain `missing`."""
    auto_charges: bool = True
    """Any `ch_…` or `py_…` exists on first use as a source_transaction and covers any amount."""
    connected_reserves: bool = False
    """True if a reversal may make a seller's balance negative."""

    idempotency_ttl: float = 86_400.0
    global_rate: float | None = None
    endpoint_rate: float | None = None
    """Requests per second; Stripe's own limits are 100 (25 in a sandbox) and 25. None:
    unlimited."""
    resource_rate: float | None = None
    """Requests per second on one object: the transfer in the path, or else the destination."""
    global_concurrency: int | None = None
    endpoint_concurrency: int | None = None

    latency: Literal["none", "recorded"] = "none"
    """`recorded`: each executed request takes as long as one of real Stripe (`latency.py`), times
    `latency_scale`."""
    latency_scale: float = 1.0

    state_file: Path | None = None
    webhook_endpoints: tuple[Mapping[str, Any], ...] = ()


class RuntimeSettings(BaseModel):
    """Settings that tests change while the simulator runs. They start as `SimulatorConfig` says; a
    reset restores that."""

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
    def of(cls, config: SimulatorConfig) -> Self:
        """Copy the configuration. Raises ValueError for a bad value."""
        return cls(**{name: getattr(config, name) for name in cls.model_fields})

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Return settings with the changes. Raises ValueError for an unknown name or a bad
        value."""
        return self.model_validate({**self.model_dump(), **changes})

    def forbids(self, key: str, operation: str) -> bool:
        return any(fnmatchcase(operation, pattern) for pattern in self.forbidden.get(key, ()))
