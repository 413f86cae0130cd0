"""The world of a simulated week: providers in live manners, two processes, an outage and a bad
deploy."""

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta

from infrastructure.settings import Settings, WorkSettings
from infrastructure.simulation.serving import ServingProcess
from infrastructure.simulation.virtual_time import epoch_seconds
from infrastructure.simulation.week.plan import DAY, HOUR
from infrastructure.simulation.world import SECRET, SimulatedWorld

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
SETTLEMENTS_EVERY = 900.0
SETTINGS = Settings(
    stripe_webhook_secrets=(SECRET,),
    hyperswitch_webhook_secrets=(SECRET,),
    missed_check_interval=timedelta(minutes=15),
    transfers=WorkSettings(check_interval=timedelta(minutes=10)),
    reversals=WorkSettings(check_interval=timedelta(minutes=10)),
    lease=timedelta(minutes=2),
)


class WeekWorld(SimulatedWorld):
    """Providers and processes of one week."""

    def __init__(self, seed: int) -> None:
        super().__init__("week's world", seed, settings=SETTINGS, processes=2)

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

    async def _deliver(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Deliver a webhook to any living process, sometimes twice, or lose it for good after a
        2xx. Raises OSError."""
        provider = url.rpartition("/")[2]
        if self._chance.random() < LOST:
            return 200
        for _ in range(2 if self._chance.random() < DOUBLED else 1):
            if not (alive := self.alive):
                raise ConnectionRefusedError("no process listens")
            status = await self._chance.choice(alive).take(provider, body, headers)
        return status
