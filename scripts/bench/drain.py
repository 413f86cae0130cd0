"""Speed of due reversals with calls of 100 ms and 100 calls in flight, which allow at most 1,000
per second.

The first measurement answers the gateway's port in this process after 100 ms: it shows the ledger's
own cost. The second goes through the Stripe SDK, HTTP and the simulator in a separate process, and
adds their cost.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from application.gateways import TransferGateway
from application.process_managers.reversals import ReversalProcess
from application.process_managers.worker import Worker, WorkerLimits
from application.unit_of_work import UnitOfWork
from domain.provider_call.outcome import Outcome, Succeeded
from domain.provider_call.request_body import TransferBody
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.bootstrap import running
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.listener import Listener
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.work_queue import PostgresWorkQueue
from infrastructure.runtime import breaker_monitor
from infrastructure.service import Service
from infrastructure.settings import SIMULATOR_KEY, Settings, settings_from
from infrastructure.simulators.common.process import simulator_process
from infrastructure.simulators.stripe.control_client import SimulatorControl
from infrastructure.stripe.gateway import StripeGateway

CALL = 0.1
"""Seconds per call."""
IN_FLIGHT = 100
BOUND = IN_FLIGHT / CALL
BATCH = 200


@dataclass(frozen=True, slots=True)
class ReversalSpeed:
    """Reversals per second, and that rate as a share of `BOUND`."""

    per_second: float
    share: float


class SleepingGateway:
    """A `TransferGateway` for reversals that answers after 100 ms."""

    def __init__(self) -> None:
        self._made = 0

    async def create(self, body: TransferBody, key: str) -> Outcome:
        raise NotImplementedError

    async def reverse(
        self,
        stripe_transfer_id: str,
        amount: int | None,
        reason: str,
        key: str,
        metadata: dict[str, str] | None = None,
        currency: str = "",
    ) -> Outcome:
        await asyncio.sleep(CALL)
        self._made += 1
        return Succeeded(f"trr_bench_{self._made}", amount or 0)

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        raise NotImplementedError

    async def find_by_our_id(
        self, transfer_id: str, destination: str, since: datetime
    ) -> Sequence[TransferAtStripe]:
        raise NotImplementedError

    async def get_object(self, path: str, account: str | None = None) -> Mapping[str, object]:
        raise NotImplementedError

    async def find_similar(
        self, destination: str, currency: str, amount: int, since: datetime
    ) -> Sequence[TransferAtStripe]:
        raise NotImplementedError

    async def answers(self) -> bool:
        return True

    async def account(self) -> str | None:
        return None


async def drain_in_process(database_url: str, count: int) -> ReversalSpeed:
    """Measure the ledger alone."""
    async with running(_settings(database_url, "http://127.0.0.1:9"), loops=False) as service:
        await _add_due_reversals(service, [f"tr_bench_{n}" for n in range(count)])
        return await _drain(service, SleepingGateway(), count)


async def drain_through_the_sdk(database_url: str, count: int) -> ReversalSpeed:
    """Measure the ledger with the Stripe SDK, HTTP and the simulator."""
    async with (
        simulator_process(manners="kind") as simulator,
        SimulatorControl(simulator.url) as control,
        running(_settings(database_url, simulator.url), loops=False) as service,
        StripeGateway(SIMULATOR_KEY, simulator.url, 30, IN_FLIGHT) as gateway,
    ):
        made = [await control.external_transfer("acct_1bench", 1_000, "eur") for _ in range(count)]
        await _add_due_reversals(service, [str(transfer["id"]) for transfer in made])
        await control.fault("latency", "reversals.create", ms=CALL * 1000)
        return await _drain(service, gateway, count)


def _settings(database_url: str, stripe: str) -> Settings:
    return settings_from(
        {"DATABASE_URL": database_url, "STRIPE_API_BASE": stripe, "STRIPE_TIMEOUT": "5s"}
    )


async def _add_due_reversals(service: Service, stripe_ids: Sequence[str]) -> None:
    """Store paid transfers with a reversal that is due."""
    ledger, now = PostgresEventLog(service.store), datetime.now(UTC)
    for start in range(0, len(stripe_ids), BATCH):
        some = stripe_ids[start : start + BATCH]
        await asyncio.gather(
            *(ledger.append(_transfer_with_reversal(stripe_id, now)) for stripe_id in some)
        )


def _transfer_with_reversal(stripe_id: str, now: datetime) -> UnitOfWork:
    transfer = SellerTransfer.create(
        order_id=f"bench_{stripe_id}",
        seller_id="bench",
        destination="acct_1bench",
        amount=1_000,
        currency="EUR",
        now=now,
    )
    complete(transfer, stripe_id, 1_000, None, now)
    transfer.take_back(f"ref_{stripe_id}", 1_000, now)
    uow = UnitOfWork({}, {})
    uow.add([transfer])
    return uow


async def _drain(service: Service, gateway: TransferGateway, count: int) -> ReversalSpeed:
    policy = service.settings.policy(service.settings.reversals)
    process = ReversalProcess(gateway, policy, ledger_id=service.ledger_id)
    limits = WorkerLimits(capacity=2 * IN_FLIGHT, interval=timedelta(seconds=1))
    rate_limiter = PostgresRateLimiter(service.pool, 100_000)
    slots = asyncio.Semaphore(IN_FLIGHT)
    monitor = breaker_monitor(service)
    worker = Worker(
        process,
        PostgresEventLog(service.store),
        PostgresWorkQueue(service.pool),
        rate_limiter,
        monitor,
        service.clock,
        slots,
        limits,
    )
    listener = Listener(service.database_url)
    for channel in ("ledger_events", "ledger_work"):
        listener.on(channel, worker.wake)
    await listener.start()
    began = time.perf_counter()
    loop = asyncio.create_task(worker.run())
    while await _any_due(service):  # noqa: ASYNC110 - the condition is in the database
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - began
    worker.stop()
    await loop
    await listener.aclose()
    return ReversalSpeed(count / seconds, count / seconds / BOUND)


async def _any_due(service: Service) -> bool:
    async with service.pool.connection() as connection:
        found = await connection.execute(
            "select from seller_transfers where status = 'reversal_pending' limit 1"
        )
        return await found.fetchone() is not None
