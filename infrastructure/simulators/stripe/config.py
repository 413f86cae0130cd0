"""Everything that can be chosen about a simulator before it starts. Amounts are in minor units, times in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from infrastructure.simulators.common.delivery_settings import Deliver

API_VERSION = "2026-10-28.endive"
PLENTY = 10**13
"""Default platform balance per currency: so much that only a test that drains it ever sees a balance error."""


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """A simulator with these settings behaves like a fresh Stripe sandbox with a very full balance."""

    seed: int = 1
    api_version: str = API_VERSION
    livemode: bool = False
    """A key of the other mode (`sk_live_…` here, by default) finds nothing, and is told what exists in this one."""
    platform_account: str = "acct_1Qplatform"
    accepted_keys: frozenset[str] | None = None
    """None accepts every key that starts with `sk_` or `rk_`."""
    expired_keys: frozenset[str] = frozenset()
    """Keys that were rolled: 401, whatever else is accepted."""
    forbidden: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Restricted keys, with the operations (globs such as `reversals.*`) for which they are answered 403."""

    default_funds: int = PLENTY
    """Available platform balance of a currency when it is first touched."""
    auto_accounts: bool = True
    """Any plausible `acct_…` exists on first use, except ids that contain `missing`."""
    auto_charges: bool = True
    """Any `ch_…` or `py_…` exists on first use as a source_transaction and covers whatever is asked of it."""
    connected_reserves: bool = False
    """Whether sellers may go below zero when a transfer is reversed."""

    idempotency_ttl: float = 86_400.0
    lock_wait: float = 2.0
    """How long a call waits for another one that works on the same transfer, before 429 lock_timeout."""
    global_rate: float | None = None
    endpoint_rate: float | None = None
    """Requests per second; Stripe's own are 100 (25 in a sandbox) and 25. None: unlimited."""
    resource_rate: float | None = None
    """Requests per second on one object: the transfer in the path, or else the destination."""
    global_concurrency: int | None = None
    endpoint_concurrency: int | None = None

    latency: Literal["none", "recorded"] = "none"
    """`recorded`: each call that is executed takes as long as one of real Stripe (`latency.py`), times `latency_scale`."""
    latency_scale: float = 1.0

    virtual_start: float | None = None
    """Epoch seconds of a clock that stands still until it is put forward; None follows the real one."""
    clock: Callable[[], float] | None = None
    """Another clock, in epoch seconds; it belongs to the event loop, whose sleeps the simulator sleeps."""
    deliver: Deliver | None = None
    """How webhooks are posted; None: over HTTP. With one of your own the simulator opens no socket."""
    state_file: Path | None = None
    faults: tuple[Mapping[str, Any], ...] = ()
    webhook_endpoints: tuple[Mapping[str, Any], ...] = ()
    wording: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    request_log_limit: int = 200_000
