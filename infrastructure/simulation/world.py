"""The world around the ledger: simulated providers with a network to each, and the processes of one
fleet."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from application.commands import Commands
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.settings import Settings
from infrastructure.simulation.fleet import Fleet, Process
from infrastructure.simulation.hyperswitch_in_process import VirtualPsp
from infrastructure.simulation.in_memory.database import MemoryDatabase
from infrastructure.simulation.network import NewNetwork, VirtualNetwork
from infrastructure.simulation.serving import ProcessGone, ServingProcess
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.virtual_time import epoch_seconds
from infrastructure.simulators.hyperswitch.config import HyperswitchConfig
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.manners import LIVE, Manners
from infrastructure.simulators.stripe.payments import StripeConnector
from infrastructure.stripe.gateway import StripeGateway

T = TypeVar("T")

MARKET_RETRY = 15.0
"""Seconds after which the marketplace repeats a command that got no answer."""
MANNERS = LIVE._replace(notice=False)
"""The transport that takes Stripe's notices off is replaced by the virtual network."""
SECRET = "whsec_of_the_simulated_world"
LEDGER = "http://ledger.virtual/webhooks"


@dataclass(frozen=True)
class Gateways:
    """New gateways to the simulated providers."""

    at_stripe: VirtualStripe
    at_psp: VirtualPsp

    def stripe(self) -> StripeGateway:
        return self.at_stripe.gateway()

    def psp(self) -> HyperswitchGateway:
        return self.at_psp.gateway()


class SimulatedWorld(ABC):
    """Providers and processes of one run. It works only inside a virtual loop."""

    def __init__(
        self,
        name: str,
        seed: int,
        *,
        settings: Settings,
        processes: int,
        manners: Manners = MANNERS,
        networks: tuple[NewNetwork, NewNetwork] = (VirtualNetwork, VirtualNetwork),
        database: MemoryDatabase | None = None,
    ) -> None:
        """`networks`: to Stripe and to the PSP."""
        self._chance = random.Random(f"{name} {seed}")
        self.stripe = VirtualStripe(
            seed, config=self._stripe_config(seed, manners), network=networks[0]
        )
        self.psp = VirtualPsp(self._psp_config(seed), networks[1])
        self.fleet = Fleet(
            self.stripe.gateway,
            processes=processes,
            seed=seed,
            settings=settings,
            new_process=self._new_process,
            database=database,
        )

    @property
    def processes(self) -> Sequence[ServingProcess]:
        return [one for one in self.fleet.processes if isinstance(one, ServingProcess)]

    @property
    def alive(self) -> Sequence[ServingProcess]:
        """Return the processes that listen."""
        return [process for process in self.processes if process.alive]

    async def ask(self, act: Callable[[Commands], Awaitable[T]]) -> T:
        """Send a command to any living process, as the marketplace does: until there is an
        answer."""
        while True:
            alive = self.alive
            try:
                if alive:
                    return await self._chance.choice(alive).ask(act)
            except ProcessGone:
                pass
            await asyncio.sleep(MARKET_RETRY)

    async def close(self) -> None:
        """End both providers."""
        await self.stripe.world.close()
        await self.psp.world.close()

    @abstractmethod
    async def _deliver(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Deliver a webhook; return the status of the answer. Raises OSError."""

    def _new_process(self, name: str, fleet: Fleet) -> Process:
        return ServingProcess(name, fleet, gateways=Gateways(self.stripe, self.psp))

    def _stripe_config(self, seed: int, manners: Manners) -> SimulatorConfig:
        endpoint = {"url": f"{LEDGER}/stripe", "secrets": [SECRET]}
        connected = ["account.*", "capability.*", "balance.*", "payout.*"]
        return SimulatorConfig(
            seed=seed,
            clock=epoch_seconds,
            endpoint_rate=25,
            manners=manners,
            deliver=self._deliver,
            webhook_endpoints=(endpoint, {**endpoint, "connect": True, "types": connected}),
        )

    def _psp_config(self, seed: int) -> HyperswitchConfig:
        return HyperswitchConfig(
            seed=seed,
            clock=epoch_seconds,
            rate=80,
            deliver=self._deliver,
            connector=StripeConnector(self.stripe.world),
            webhook={"url": f"{LEDGER}/hyperswitch", "secret": SECRET},
        )
