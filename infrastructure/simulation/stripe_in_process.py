"""The real gateway and SDK on the real simulator, without a socket and with virtual time between
them.

A call takes as long as recorded calls of Stripe did. It goes on when its caller has given up or
died, as real calls do: the answer that the caller gets and the effect at Stripe are independent.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypedDict, Unpack

import aiohttp
import stripe

from infrastructure.simulation.network import TIMEOUT, Exchange, NewNetwork, VirtualNetwork
from infrastructure.simulation.virtual_time import epoch_seconds
from infrastructure.simulators.stripe import KIND, SimulatorConfig, create_simulator
from infrastructure.simulators.stripe.world import StripeWorld
from infrastructure.stripe.gateway import StripeGateway

Json = dict[str, Any]
KEY, URL = "sk_test_virtual", "http://stripe.virtual"


class Conditions(TypedDict, total=False):
    """The fields of `NetworkConditions` that a scenario changes for a while."""

    lost_answers: float
    silent: bool


class InProcessClient(stripe.HTTPClient):
    """HTTP client of the SDK that calls the simulator in this process."""

    name = "in_process"

    def __init__(self, network: VirtualNetwork, timeout: float = TIMEOUT) -> None:
        super().__init__()
        self._network, self._timeout = network, timeout

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send a request. Raises `stripe.APIConnectionError`, caused by the fault on the way."""
        body = (post_data or "").encode()
        try:
            return await self._network.send(Exchange(method, url, headers, body), self._timeout)
        except (OSError, aiohttp.ClientError) as error:  # TimeoutError is an OSError
            raise stripe.APIConnectionError(f"no answer: {error}") from error  # type: ignore[no-untyped-call]  # the SDK's

    async def close_async(self) -> None:
        """Do nothing: there is no connection to close."""


class VirtualStripe:
    """One Stripe for a whole fleet: its world, its network, and gateways to it."""

    def __init__(
        self,
        seed: int,
        endpoint_rate: float | None = None,
        config: SimulatorConfig | None = None,
        network: NewNetwork = VirtualNetwork,
    ) -> None:
        """Without `config`, its platform never lacks money."""
        kind = SimulatorConfig(
            seed=seed, clock=epoch_seconds, endpoint_rate=endpoint_rate, manners=KIND
        )
        app = create_simulator(config or kind)
        self.world: StripeWorld = app.state.world
        self._network = network(app, f"stripe {seed}")
        self.network = self._network.conditions

    def gateway(self, max_concurrency: int = 30) -> StripeGateway:
        return StripeGateway(
            KEY,
            URL,
            TIMEOUT,
            max_concurrency,
            InProcessClient(self._network),
        )

    @property
    def transfers(self) -> list[Json]:
        """Return Stripe's books: every transfer with all its reversals."""
        return list(self.world.ledger()["transfers"])

    @property
    def violations(self) -> list[str]:
        """Return the errors in the simulator's own books."""
        return list(self.world.books.violations())

    def posts(self, operation: str) -> list[Json]:
        """Return the log of the calls that arrived, oldest first."""
        return [entry for entry in self.world.log if entry["operation"] == operation]

    @asynccontextmanager
    async def degraded(self, **conditions: Unpack[Conditions]) -> AsyncIterator[None]:
        """Change the network for a while."""
        before = replace(self.network)
        for name, value in conditions.items():
            setattr(self.network, name, value)
        try:
            yield
        finally:
            for name in conditions:
                setattr(self.network, name, getattr(before, name))
