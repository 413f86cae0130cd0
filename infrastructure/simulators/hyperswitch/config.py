"""Settings of the simulated Hyperswitch before its start. Times in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from infrastructure.simulators.common.world import ProviderConfig


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Status that an object reaches by itself: none, or `becomes`, in the same request or `after`
    so many seconds."""

    becomes: str | None = None
    after: float | None = None


class Connector(Protocol):
    """The connector's side of payments: a simulated Stripe in the same process."""

    def charge(self, amount: int, currency: str, metadata: Mapping[str, str]) -> str:
        """Charge a buyer; return the connector's id of the payment."""

    def fail(self, payment_intent: str) -> None:
        """Let a payment fail that was charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperswitchConfig(ProviderConfig):
    """With the default settings each confirmed payment succeeds at once, and each refund stays
    pending until a test settles it.

    `accepted_keys=None` accepts every key but a publishable one (`pk_…`).
    """

    merchant_id: str = "merchant_sim"
    profile_id: str = "pro_sim"
    payments: Behaviour = Behaviour("succeeded")
    refunds: Behaviour = Behaviour()
    rate: float | None = None
    """Requests per second; the real limit is 80. None: unlimited."""
    connector: Connector | None = None
    """None: the connector's ids lead nowhere, as those of another platform account do."""
    webhook: Mapping[str, Any] | None = None
