"""The world of a simulated week: providers in live manners, two processes, an outage and a bad
deploy."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from application.commands import Commands
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.settings import Settings, WorkSettings
from infrastructure.simulation.fleet import Fleet, Process
from infrastructure.simulation.hyperswitch_in_process import VirtualPsp
from infrastructure.simulation.serving import ProcessGone, ServingProcess
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.virtual_time import epoch_seconds
from infrastructure.simulation.week.plan import DAY, HOUR
from infrastructure.simulators.hyperswitch.config import HyperswitchConfig
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.manners import LIVE
from infrastructure.simulators.stripe.payments import StripeConnector
from infrastructure.stripe.gateway import StripeGateway

T = TypeVar("T")

LOST, DOUBLED = 0.02, 0.05
"""Shares of the webhooks that never arrive, and that arrive twice."""
OUTAGE_AT, OUTAGE_FOR = 2 * DAY + 10 * HOUR, 45 * 60.0
"""Begin and length of Stripe's outage."""
BAD_DEPLOY_AT, BAD_DEPLOY_FOR = 4 * DAY + 14 * HOUR, HOUR
"""Begin and length of the deploy whose processes crash."""
CRASHES_WITHIN, RESTARTS_WITHIN = 40.0, 10.0
SLOW_DATABASE = 0.05
"""Longest way to the database and back during the bad deploy: so a crash falls between a commit and
its acknowledgement, too. At other times no time passes there, which saves half of the run."""
MARKET_RETRY = 15.0
"""Seconds after which the marketplace repeats a command that got no answer."""
SETTLEMENTS_EVERY = 900.0
MANNERS = LIVE._replace(notice=False)
"""The transport that takes Stripe's notices off is replaced by the virtual network."""
SECRET = "whsec_of_the_simulated_week"
LEDGER = "http://ledger.virtual/webhooks"
SETTINGS = Settings(
    stripe_webhook_secrets=(SECRET,),
    hyperswitch_webhook_secrets=(SECRET,),
    missed_check_interval=timedelta(minutes=15),
    transfers=WorkSettings(check_interval=timedelta(minutes=10)),
    reversals=WorkSettings(check_interval=timedelta(minutes=10)),
    lease=timedelta(minutes=2),
)


@dataclass(frozen=True)
class Gateways:
    """New gateways to the simulated providers."""

    at_stripe: VirtualStripe
    at_psp: VirtualPsp

    def stripe(self) -> StripeGateway:
        return self.at_stripe.gateway()

    def psp(self) -> HyperswitchGateway:
        return self.at_psp.gateway()


class WeekWorld:
    """Providers and processes of one week. It works only inside a virtual loop."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"week's world {seed}")
        self.stripe = VirtualStripe(seed, config=self._stripe_config(seed))
        self.psp = VirtualPsp(self._psp_config(seed))
        self.fleet = Fleet(
            self.stripe.gateway,
            processes=2,
            seed=seed,
            settings=SETTINGS,
            new_process=self._new_process,
        )

    @property
    def processes(self) -> list[ServingProcess]:
        return [one for one in self.fleet.processes if isinstance(one, ServingProcess)]

    async def ask(self, act: Callable[[Commands], Awaitable[T]]) -> T:
        """Send a command to any living process, as the marketplace does: until there is an
        answer."""
        while True:
            alive = [process for process in self.processes if process.alive]
            try:
                if alive:
                    return await self._chance.choice(alive).ask(act)
            except ProcessGone:
                pass
            await asyncio.sleep(MARKET_RETRY)

    # --- troubles ---------------------------------------------------------------------------------

    async def outage(self) -> None:
        """Let Stripe refuse every request for a while."""
        await asyncio.sleep(OUTAGE_AT)
        self.stripe.network.unavailable = True
        await asyncio.sleep(OUTAGE_FOR)
        self.stripe.network.unavailable = False

    async def bad_deploy(self, process: ServingProcess) -> None:
        """Let a process crash at random points again and again, until the next deploy."""
        chance = random.Random(f"{process.name} {self._chance.random()}")
        await asyncio.sleep(BAD_DEPLOY_AT)
        ends = epoch_seconds() + BAD_DEPLOY_FOR
        while process.alive:
            await process.kill()
            await asyncio.sleep(chance.uniform(1, RESTARTS_WITHIN))
            is_bad = epoch_seconds() < ends
            self.fleet.latency = SLOW_DATABASE if is_bad else 0.0
            process.start()
            if not is_bad:
                return
            await asyncio.sleep(chance.uniform(0, CRASHES_WITHIN))

    async def settlements(self) -> None:
        """Let pending money become available and be paid out, also when nothing is requested."""
        while True:
            await asyncio.sleep(SETTLEMENTS_EVERY)
            self.stripe.world.settle()
            self.stripe.world.commit()

    # --- set-up -----------------------------------------------------------------------------------

    def _new_process(self, name: str, fleet: Fleet) -> Process:
        return ServingProcess(name, fleet, gateways=Gateways(self.stripe, self.psp))

    def _stripe_config(self, seed: int) -> SimulatorConfig:
        endpoint = {"url": f"{LEDGER}/stripe", "secrets": [SECRET]}
        connected = ["account.*", "capability.*", "balance.*", "payout.*"]
        return SimulatorConfig(
            seed=seed,
            clock=epoch_seconds,
            endpoint_rate=25,
            manners=MANNERS,
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

    async def _deliver(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Deliver a webhook to any living process, sometimes twice, or lose it for good after a
        2xx. Raises OSError."""
        provider = url.rpartition("/")[2]
        if self._chance.random() < LOST:
            return 200
        for _ in range(2 if self._chance.random() < DOUBLED else 1):
            alive = [process for process in self.processes if process.alive]
            if not alive:
                raise ConnectionRefusedError("no process listens")
            status = await self._chance.choice(alive).take(provider, body, headers)
        return status
