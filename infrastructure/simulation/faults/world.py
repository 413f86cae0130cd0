"""The world of a run with faults: the world of the simulated week, in which faults strike."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import orjson
import structlog

from application.commands import Commands
from domain.errors import Conflict, Unavailable
from infrastructure.postgres.event_store import RecordedFact
from infrastructure.postgres.ledger import FactCodec
from infrastructure.settings import Settings, WorkSettings
from infrastructure.signature_comparison import BadSignature
from infrastructure.simulation.faults.books import Acknowledged, StoredFactView, StripeRequest
from infrastructure.simulation.faults.coverage import CALLS, NEW, outcome_name
from infrastructure.simulation.faults.kinds import DATABASE_STEPS, INTENT, OUTCOME, FaultKind
from infrastructure.simulation.faults.network import FaultyNetwork
from infrastructure.simulation.faults.process import FaultyProcess
from infrastructure.simulation.faults.schedule import PlannedFault, Schedule
from infrastructure.simulation.faults.storage import WatchedDatabase
from infrastructure.simulation.faults.story import Labels, instant, members, sentence
from infrastructure.simulation.faults.strikes import Strikes
from infrastructure.simulation.fleet import Fleet, Process
from infrastructure.simulation.in_memory.constraints import Row
from infrastructure.simulation.network import Exchange
from infrastructure.simulation.serving import ProcessGone
from infrastructure.simulation.virtual_time import epoch_seconds, now
from infrastructure.simulation.world import MANNERS, MARKET_RETRY, SECRET, Gateways, SimulatedWorld
from infrastructure.simulators.common.forms import read_pairs
from infrastructure.simulators.stripe.manners import KIND

log = structlog.get_logger()

K = FaultKind
T = TypeVar("T")

LATENCY = 0.02
"""Longest way to the database and back, in seconds: so that a fault falls between any two steps."""
NOT_POLLED = ("dispute_", "payment_failed", "refund_failed")
"""Events whose webhooks are never lost for good: no poller finds them (see docs/guarantees.md)."""
SETTINGS = Settings(
    stripe_webhook_secrets=(SECRET,),
    hyperswitch_webhook_secrets=(SECRET,),
    missed_check_interval=timedelta(hours=2),
    transfers=WorkSettings(check_interval=timedelta(hours=1)),
    reversals=WorkSettings(check_interval=timedelta(hours=1)),
    lease=timedelta(minutes=10),
)
"""Default retries, and rare polls: a loop that polls often would take most of the time."""


class RunOver(Exception):
    """The run has ended with a violation, so nothing is asked any more."""


class FaultWorld(SimulatedWorld):
    """Providers, processes and database of one run. `after_step` is called after each append and
    each answer of a provider."""

    def __init__(self, schedule: Schedule, after_step: Callable[[], None]) -> None:
        self.schedule, self._after_step = schedule, after_step
        self.story: list[str] = []
        self.coverage = Counter[str]()
        self.strikes = Strikes(self.count, self.tell)
        self.requests: list[StripeRequest] = []
        self.acknowledged: list[Acknowledged] = []
        self.facts: list[StoredFactView] = []
        self.era, self.phase, self.over = 0, "chaos", False
        self.lost = False
        """True while the database is lost, so that no process starts."""
        self.database_away = 0
        """Number of faults that keep the database away."""
        self.forged = 0
        """Webhooks with a wrong signature that were accepted."""
        self.codec = FactCodec()
        self._labels = Labels()
        self._statuses: dict[str, str] = {}
        self._at_step: dict[str, list[asyncio.Event]] = {}
        self._chores: set[asyncio.Task[None]] = set()
        super().__init__(
            "faults",
            schedule.seed,
            settings=SETTINGS,
            processes=schedule.processes,
            manners=MANNERS if schedule.live else KIND,
            networks=(
                partial(FaultyNetwork, world=self, provider="stripe"),
                partial(FaultyNetwork, world=self, provider="hyperswitch"),
            ),
            database=WatchedDatabase(now, self),
        )
        self.fleet.latency = LATENCY

    @property
    def processes(self) -> Sequence[FaultyProcess]:
        return [one for one in self.fleet.processes if isinstance(one, FaultyProcess)]

    @property
    def alive(self) -> Sequence[FaultyProcess]:
        return [process for process in self.processes if process.alive]

    def _new_process(self, name: str, fleet: Fleet) -> Process:
        gateways, number = Gateways(self.stripe, self.psp), int(name.split()[1]) - 1
        return FaultyProcess(name, fleet, gateways=gateways, steps=self, number=number)

    # --- what has happened ------------------------------------------------------------------------

    def tell(self, line: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{instant(epoch_seconds())}  {line}")

    def count(self, name: str) -> None:
        """Count a state that was reached."""
        self.coverage[name] += 1

    def promise(self, kind: str, subject: str, details: Mapping[str, Any]) -> None:
        """Note a command or webhook that was answered with success."""
        number = len(self.acknowledged) + 1
        self.acknowledged.append(
            Acknowledged(number, epoch_seconds(), kind, subject, details, lost=False)
        )

    def row_changed(self, table: str, before: Row | None, after: Row) -> None:
        """Count the arrow of a life cycle."""
        match table:
            case "refunds" if before is not None and before.status != after.status:
                self.count(f"refund {before.status} -> {after.status}")
            case "transfer_reversals" if before is None or before.status != after.status:
                self.count(f"reversal -> {after.status}")
            case "orders" if before is None or before.status != after.status:
                self.count(f"order -> {after.status}")

    def committed(self, facts: Sequence[RecordedFact]) -> None:
        """Keep and tell the facts of a commit."""
        for one in facts:
            stream, fact = str(one.originator_id), members(one)
            self.facts.append(
                StoredFactView(stream, one.originator_version, one.position, one.topic, fact)
            )
            self.count(f"fact {one.topic}")
            self.tell(sentence(self._labels.of(stream, fact, one.topic), one.topic, fact))
            self._follow(one)
        self._after_step()

    def decided_outside(self) -> None:
        """Let the oracle see a decision of a provider, which may not last until the next step."""
        self._after_step()

    def _follow(self, one: RecordedFact) -> None:
        """Count the arrow of a transfer's life cycle."""
        if not one.topic.startswith("ledger.seller_transfer."):
            return
        status = str(getattr(self.codec.fact(one), "leads_to", None) or "")
        stream = str(one.originator_id)
        before = self._statuses.get(stream, NEW)
        status = status or ("pending" if before == NEW else before)
        if status != before:
            self.count(f"transfer {before} -> {status}")
            self._statuses[stream] = status

    def executed(self, provider: str, operation: str, exchange: Exchange) -> None:
        """Note a request that a provider has executed."""
        shown = exchange.body[:300].decode("utf-8", "replace") if exchange.status >= 300 else ""
        if exchange.method == "POST" and provider == "stripe":
            self.requests.append(
                StripeRequest(
                    len(self.requests) + 1,
                    epoch_seconds(),
                    exchange.path,
                    exchange.key,
                    dict(read_pairs(exchange.sent)),
                    exchange.status,
                    exchange.body,
                    bool(exchange.status),
                )
            )
        if exchange.method == "POST" and not operation.endswith(".list"):
            key = f" [{exchange.key}]" if exchange.key else ""
            self.tell(f"{provider} {operation}{key} -> {exchange.status} {shown}".rstrip())
            self._after_step()
        if operation == "refunds.create" and self.refund_made is not None:
            self.refund_made()

    refund_made: Callable[[], None] | None = None
    """Is called when the PSP may have a new refund."""

    # --- faults of processes ----------------------------------------------------------------------

    async def before_step(self, process: FaultyProcess, step: str) -> None:
        """Strike before a call. Raises Unavailable, or cuts the connection."""
        for waiting in self._at_step.pop(step, ()):
            waiting.set()
        struck = self.strikes.strike((K.CRASH_BEFORE, K.FROZEN), step, process=process.number)
        if struck is not None and struck[0].kind == K.CRASH_BEFORE:
            self.crash(process, struck[0])
        elif struck is not None:
            connection = process.connection
            connection.freeze()
            asyncio.get_running_loop().call_later(struck[0].seconds, connection.thaw)
        if step in DATABASE_STEPS:
            if self.database_away:
                raise Unavailable("the database is away")
            if step in (INTENT, OUTCOME) and self.strikes.strike(
                (K.APPEND_REFUSED,), step, process=process.number
            ):
                raise Unavailable("canceling statement due to lock timeout")

    async def after_step(self, process: FaultyProcess, step: str, answer: object) -> None:
        """Strike when a call was carried out, and its answer is not read yet."""
        if step in CALLS:
            self.count(outcome_name(step, answer))
        kinds = (
            (K.CRASH_AFTER, K.APPEND_IN_DOUBT) if step in (INTENT, OUTCOME) else (K.CRASH_AFTER,)
        )
        struck = self.strikes.strike(kinds, step, process=process.number)
        if struck is None:
            return
        if struck[0].kind == K.APPEND_IN_DOUBT:
            raise Unavailable("the connection was lost in COMMIT", in_doubt=True)
        self.crash(process, struck[0])

    def crash(self, process: Process, fault: PlannedFault) -> None:
        """Kill a process now, and start it again later."""
        if isinstance(process, FaultyProcess) and process.alive and not self.lost:
            process.alive = False
            process.connection.cut()
            self.chore(self._restart(process, fault.seconds))

    def forget_keys(self, fault: PlannedFault) -> None:
        """Let nothing run until Stripe has forgotten the keys of today."""
        for process in self.processes:
            self.crash(process, fault)

    async def _restart(self, process: FaultyProcess, after: float) -> None:
        await process.kill()
        await asyncio.sleep(after)
        if not process.alive and not self.over and not self.lost:
            self.tell(f"{process.name} starts")
            process.start()

    def chore(self, chore: Any) -> None:
        """Do something aside, in no process."""
        task = asyncio.get_running_loop().create_task(_logged(chore), context=Context())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def restore(self, backup: WatchedDatabase, promised: int) -> None:
        """Go on with the database of a backup. The promises after the first `promised` are void,
        until they are given again."""
        backup.observer = self
        self.fleet.use(backup)
        self.era += 1
        del self.facts[len(backup.recorded) :]
        self.acknowledged[promised:] = [
            one._replace(lost=True) for one in self.acknowledged[promised:]
        ]
        self._statuses = {
            str(key): row.status for key, row in backup.tables["seller_transfers"].items()
        }
        self.tell(f"the database is restored from a backup with {len(backup.recorded)} facts")

    def reached(self, step: str) -> asyncio.Event:
        """Return an event that is set when a process reaches the step."""
        event = asyncio.Event()
        self._at_step.setdefault(step, []).append(event)
        return event

    # --- faults of requests -----------------------------------------------------------------------

    def strike_request(
        self, provider: str, operation: str, kinds: tuple[str, ...]
    ) -> tuple[PlannedFault, random.Random] | None:
        """Strike a request to a provider."""
        self.count(f"called {provider} {operation}")
        return self.strikes.strike(kinds, f"{provider} {operation}", provider=provider)

    def arm(self, action: dict[str, Any], key: str) -> None:
        """Let the simulator of Stripe answer the next request with this key as `action` says."""
        fault = {"match": {"key": key, "times": 1}, "action": action}
        self.stripe.world.faults.add(fault)

    # --- webhooks ---------------------------------------------------------------------------------

    async def _deliver(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Deliver a webhook; return the status of the answer. Raises OSError."""
        provider = url.rpartition("/")[2]
        decoded = orjson.loads(body)
        event = decoded.get("event_id") or decoded["id"]
        event_type = decoded.get("event_type") or decoded["type"]
        where, named = f"{provider} webhook", f"{provider} webhook {event} {event_type}"
        lost_for_good = event_type.startswith(NOT_POLLED)
        kinds = (K.WEBHOOK_FORGED, K.WEBHOOK_DELAYED, K.WEBHOOK_DOUBLED)
        struck = self.strikes.strike(
            kinds if lost_for_good else (K.WEBHOOK_DROPPED, *kinds), where, provider=provider
        )
        kind = struck[0].kind if struck is not None else ""
        match kind:
            case K.WEBHOOK_DROPPED:
                self.tell(f"{named} is lost for good")
                return 200
            case K.WEBHOOK_DELAYED:
                raise ConnectionRefusedError("the endpoint cannot be reached")
            case K.WEBHOOK_FORGED:
                forged = {name: _forged(value) for name, value in headers.items()}
                if await self._taken(provider, body, forged, named) < 300:
                    self.forged += 1
        for _ in range(2 if kind == K.WEBHOOK_DOUBLED else 1):
            status = await self._taken(provider, body, headers, named)
            if status < 300:
                details = {"event_type": event_type, "body": decoded}
                self.promise("webhook", f"{provider}:{event}", details)
        return status

    async def _taken(
        self, provider: str, body: bytes, headers: Mapping[str, str], named: str
    ) -> int:
        if not (alive := self.alive):
            raise ConnectionRefusedError("no process listens")
        try:
            status = await self._chance.choice(alive).take(provider, body, headers)
        except Unavailable:
            status = 503
        except BadSignature:
            status = 401
        self.tell(f"{named} -> {status}")
        return status

    # --- commands ---------------------------------------------------------------------------------

    async def ask(self, act: Callable[[Commands], Awaitable[T]]) -> T:
        """Send a command until there is an answer. Raises Refused, and RunOver."""
        while not self.over:
            alive = self.alive
            try:
                if alive:
                    return await self._chance.choice(alive).ask(act)
            except (ProcessGone, Unavailable, Conflict):
                pass
            await asyncio.sleep(MARKET_RETRY)
        raise RunOver


async def _logged(chore: Awaitable[None]) -> None:
    try:
        await chore
    except Exception:
        log.exception("a chore failed")  # so that it is a violation, see caught_errors.py


def _forged(header: str) -> str:
    """Return a header with other digits at its end, as a wrong signature has."""
    return header[:-4] + ("0000" if header[-4:] != "0000" else "1111")
