"""Beginning and end of each planned fault."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from domain.pause import LOOK_UP_FIRST
from domain.seller_transfer.opening_facts import LONG_AGO
from infrastructure.simulation.faults.actors import CURRENCY, Actors, account, until
from infrastructure.simulation.faults.kinds import FaultKind
from infrastructure.simulation.faults.process import FaultyProcess
from infrastructure.simulation.faults.schedule import PlannedFault
from infrastructure.simulation.faults.storage import WatchedDatabase
from infrastructure.simulation.faults.world import NOT_POLLED, FaultWorld
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.stripe.accounts import change_account, fund, pay_out
from infrastructure.simulators.stripe.balances import PLATFORM
from infrastructure.simulators.stripe.books import DASHBOARD
from infrastructure.simulators.stripe.pending_reversals import ENDS, decide
from infrastructure.simulators.stripe.transfers import create_reversal, create_transfer

K = FaultKind
PLENTY = 10**9


class Disasters:
    """Executes the faults of a schedule."""

    def __init__(self, world: FaultWorld, actors: Actors) -> None:
        self._world, self._actors = world, actors
        self._stripe = world.stripe.world
        self._special: dict[str, Callable[[PlannedFault], Awaitable[None]]] = {
            K.CLOCK_JUMP: self._clock_jump,
            K.OLD_RELEASE: self._old_release,
            K.DATABASE_AWAY: self._database_away,
            K.RESTORED: self._restored,
            K.BALANCE_EMPTY: self._balance_empty,
            K.ACCOUNT_RESTRICTED: self._account_restricted,
            K.REVERSAL_PENDING: self._reversal_pending,
            K.DASHBOARD_REVERSAL: self._dashboard_reversal,
            K.DASHBOARD_TRANSFER: self._dashboard_transfer,
        }

    async def live(self, fault: PlannedFault) -> None:
        """Begin the fault at its instant, and end it."""
        await until(fault.at)
        if fault.kind in self._special:
            self._world.strikes.note(fault, "once")
            await self._special[fault.kind](fault)
        else:
            self._world.strikes.begin(fault)
            await asyncio.sleep(fault.lasts)
            self._world.strikes.end(fault)

    # --- processes --------------------------------------------------------------------------------

    def _process(self, fault: PlannedFault) -> FaultyProcess:
        return self._world.processes[(fault.process or 0) % len(self._world.processes)]

    async def _clock_jump(self, fault: PlannedFault) -> None:
        process = self._process(fault)
        process.skew += timedelta(seconds=fault.seconds)
        await asyncio.sleep(fault.lasts)
        process.skew -= timedelta(seconds=fault.seconds)

    async def _old_release(self, fault: PlannedFault) -> None:
        process = self._process(fault)
        process.unknown = fault.details["topic"]
        self._world.crash(process, fault)
        await asyncio.sleep(fault.lasts)
        process.unknown = None
        self._world.crash(process, fault)

    async def _database_away(self, fault: PlannedFault) -> None:
        self._world.database_away += 1
        await asyncio.sleep(fault.lasts)
        self._world.database_away -= 1

    async def _restored(self, fault: PlannedFault) -> None:
        """Take a backup, lose the database later, and start from the backup."""
        world = self._world
        backup = world.fleet.database.backup()
        promised, told = len(world.acknowledged), len(self._world.psp.world.books.events)
        await asyncio.sleep(fault.lasts)
        world.tell("the database is lost")
        world.lost = True
        for process in world.processes:
            await process.kill()
        await asyncio.sleep(fault.seconds)
        assert isinstance(backup, WatchedDatabase)
        world.restore(backup, promised)
        lost_since = min(
            (world.codec.fact(one).timestamp for one in backup.recorded[-100:]), default=LONG_AGO
        )
        await world.fleet.commands.operator.pause(
            LOOK_UP_FIRST, "serve --look-up-first", "restored", lost_since=lost_since
        )
        world.lost = False
        for process in world.processes:
            process.start()
        await self._tell_again(promised, told)

    async def _tell_again(self, promised: int, told: int) -> None:
        """Repeat all that was told since the backup."""
        world, psp = self._world, self._world.psp.world
        orders = {order.name: order for order in world.schedule.orders}
        refunds = {refund.name: refund for refund in world.schedule.refunds}
        for one in [one for one in world.acknowledged[promised:] if one.lost]:
            if one.kind == "register":
                await self._actors.register(orders[one.subject])
            if one.kind == "refund":
                refund = refunds[one.subject]
                with suppress(Exception):
                    await self._actors.request(refund, orders[refund.order])
        for event in list(psp.books.events.values())[told:]:
            psp.webhooks.resend(event)
        psp.webhooks.wake()

    # --- money ------------------------------------------------------------------------------------

    def _holder(self, fault: PlannedFault) -> str:
        return PLATFORM if fault.seller is None else account(fault.seller)

    async def _balance_empty(self, fault: PlannedFault) -> None:
        books, holder, currency = self._stripe.books, self._holder(fault), CURRENCY.lower()
        with suppress(ValueError):  # there is nothing to be paid out
            paid = pay_out(books, holder, currency)["amount"]
            self._world.tell(f"{paid} of {holder} is paid out")
        self._stripe.commit()
        await asyncio.sleep(fault.lasts)
        self.fund(holder)

    def fund(self, holder: str) -> None:
        """Give plenty of money to the platform or a seller."""
        fund(self._stripe.books, holder, CURRENCY.lower(), PLENTY)
        self._world.tell(f"{holder} has money again")
        self._stripe.commit()

    def resend_what_no_poller_finds(self) -> None:
        """Let the PSP deliver again, as a person can ask it to, the events that it has given up and
        that no poller finds."""
        webhooks, events = self._world.psp.world.webhooks, self._world.psp.world.books.events
        given_up = [one["event"] for one in webhooks.log.outcomes if one["outcome"] == "given_up"]
        for event in dict.fromkeys(given_up):
            if events[event].type.startswith(NOT_POLLED):
                self._world.tell(f"a person lets the PSP deliver {event} again")
                webhooks.resend(events[event])
        webhooks.wake()

    async def _account_restricted(self, fault: PlannedFault) -> None:
        holder = account(fault.seller or "")
        for state in ("inactive", "active"):
            change_account(self._stripe.books, holder, {"transfers_capability": state})
            self._world.tell(f"transfers to {holder} are {state}")
            self._stripe.commit()
            if state == "inactive":
                await asyncio.sleep(fault.lasts)

    async def _reversal_pending(self, fault: PlannedFault) -> None:
        books = self._stripe.books
        books.reversals_begin_pending = True
        await asyncio.sleep(fault.lasts)
        books.reversals_begin_pending = False
        await asyncio.sleep(fault.seconds)
        self.decide_reversals(fault.seed)

    def decide_reversals(self, seed: int, ends: tuple[str, ...] = ENDS) -> None:
        """Decide about every pending reversal."""
        books = self._stripe.books
        for one in list(books.reversals):
            if one.status == "pending":
                status = random.Random(f"{seed} {one.id}").choice(ends)
                decide(books, one.id, status)
                self._world.tell(f"Stripe decides {one.id}: {status}")
        self._stripe.commit()

    async def _dashboard_reversal(self, fault: PlannedFault) -> None:
        books, chance = self._stripe.books, random.Random(fault.seed)
        named = (fault.order, fault.seller)
        for row in list(books.transfers):
            names = row.metadata.get("order_id"), row.metadata.get("seller_id")
            if names == named and row.rest:
                amount = chance.choice((row.rest, chance.randint(1, row.rest)))
                if fault.share < 1:
                    amount = max(1, int(row.rest * fault.share))
                with suppress(Refusal):
                    reversal = create_reversal(books, row, {"amount": amount}, DASHBOARD)
                    self._world.tell(f"a person reverses {amount} of {row.id}: {reversal.id}")
                self._stripe.commit()
                return

    async def _dashboard_transfer(self, fault: PlannedFault) -> None:
        amount = random.Random(fault.seed).randint(1, 5_000)
        body = {
            "amount": amount,
            "currency": CURRENCY.lower(),
            "destination": account(fault.seller or ""),
        }
        with suppress(Refusal):
            transfer = create_transfer(self._stripe.books, body, DASHBOARD)
            self._world.tell(f"a person pays {amount} to {fault.seller}: {transfer.id}")
        self._stripe.commit()
