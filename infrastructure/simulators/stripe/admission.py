"""Checks before a request is executed: API key, mode, permissions, rate and concurrency limits."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.rate_limits import TokenBucket
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import ApiRequest
from infrastructure.simulators.stripe.config import RuntimeSettings, SimulatorConfig

SECRET_PREFIXES = ("sk_", "rk_")
RESOURCES_REMEMBERED = 10_000
"""Objects with a rate of their own at a time; with one more all of them start anew."""


def authenticate(request: ApiRequest, settings: RuntimeSettings, config: SimulatorConfig) -> None:
    """Check the API key and note its mode. Raises Refusal when it is missing, unknown, expired, or
    lacks the permission."""
    key, accepted = request.api_key, settings.accepted_keys
    if not key:
        raise Refusal("no_api_key")
    masked = masked_key(key)
    if key in settings.expired_keys:
        raise Refusal("expired_api_key", key=masked)
    if key not in accepted if accepted is not None else not key.startswith(SECRET_PREFIXES):
        raise Refusal("invalid_api_key", key=masked)
    if settings.forbids(key, request.operation):
        raise Refusal("key_lacks_permission", key=masked, account=config.platform_account)
    request.other_mode = _is_live(key, config.livemode) != config.livemode


def masked_key(key: str | None) -> str:
    return f"{(key or '')[:8]}***"


def _is_live(key: str, otherwise: bool) -> bool:
    """Read the mode from the key's name. A key without a mode belongs to the simulator's own."""
    mode = key.split("_", 2)[1]
    return mode == "live" if mode in ("live", "test") else otherwise


class AdmissionLimits:
    """Raises Refusal("rate_limited", reason=…) for a request above a limit. A setting of None means
    unlimited."""

    def __init__(self, settings: RuntimeSettings, clock: SimClock) -> None:
        self._clock = clock
        self._running: Counter[str] = Counter()
        self.apply(settings)

    def apply(self, settings: RuntimeSettings) -> None:
        """Start other limits, all of them unused so far. The requests under way still count."""
        self._settings = settings
        self._global: dict[str, TokenBucket] = {}
        self._endpoints: dict[str, TokenBucket] = {}
        self._resources: dict[str, TokenBucket] = {}

    @contextmanager
    def admission(self, request: ApiRequest) -> Iterator[None]:
        self._check_rates(request)
        self._check_concurrency(request.operation)
        self._running.update(("*", request.operation))
        try:
            yield
        finally:
            self._running.subtract(("*", request.operation))

    def _check_rates(self, request: ApiRequest) -> None:
        settings, resource = self._settings, request.transfer or request.destination
        self._take(self._global, "*", settings.global_rate, "global-rate")
        self._take(self._endpoints, request.operation, settings.endpoint_rate, "endpoint-rate")
        if resource is not None:
            if len(self._resources) > RESOURCES_REMEMBERED:
                self._resources.clear()
            self._take(self._resources, resource, settings.resource_rate, "resource-specific")

    def _take(
        self, buckets: dict[str, TokenBucket], name: str, rate: float | None, reason: str
    ) -> None:
        if rate is None:
            return
        bucket = buckets.get(name) or buckets.setdefault(name, TokenBucket(self._clock, rate))
        if not bucket.take():
            raise Refusal("rate_limited", reason=reason)

    def _check_concurrency(self, operation: str) -> None:
        limits = (
            ("*", self._settings.global_concurrency, "global-concurrency"),
            (operation, self._settings.endpoint_concurrency, "endpoint-concurrency"),
        )
        for name, limit, reason in limits:
            if limit is not None and self._running[name] >= limit:
                raise Refusal("rate_limited", reason=reason)
