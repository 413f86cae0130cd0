"""Everything that can be chosen about the simulated Hyperswitch before it starts. Times in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What becomes of an object without a command: nothing, or this status, in the same call or `after` so long."""

    becomes: str | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class HyperswitchConfig:
    """With these settings each confirmed payment succeeds at once, and each refund stays pending until told otherwise."""

    seed: int = 1
    merchant_id: str = "merchant_sim"
    profile_id: str = "pro_sim"
    accepted_keys: frozenset[str] | None = None
    """None accepts every key but a publishable one (`pk_…`)."""
    payments: Behaviour = Behaviour("succeeded")
    refunds: Behaviour = Behaviour()

    rate: float | None = None
    """Requests per second; the real limit is 80. None: unlimited."""
    lock_wait: float = 2.0
    """How long a call waits for another one that works on the same payment, before 429."""
    virtual_start: float | None = None
    """Epoch seconds of a virtual clock; None follows the real one."""
    webhook: Mapping[str, Any] | None = None
    faults: tuple[Mapping[str, Any], ...] = ()
    wording: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    request_log_limit: int = 200_000
