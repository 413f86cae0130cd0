"""An operator in a run with faults: commands at bad moments, and the answers to alarms later."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from application.commands import Commands
from domain.errors import LedgerError, Refused
from domain.lifecycle import TransferStatus
from domain.pause import EVERYTHING, LOOK_UP_FIRST, scope_of_seller, scope_of_work
from infrastructure.simulation.faults.actors import account, until
from infrastructure.simulation.faults.schedule import PlannedCommand
from infrastructure.simulation.faults.world import FaultWorld
from projections.seller_transfers import SellerTransferRow

PATIENCE = 6 * 3600.0
"""Longest wait for a step, in seconds."""
BY, WHY = "mia", "simulated"
REPORTS = ("refund_succeeded", "refund_failed")
"""Webhooks of the PSP that a person has handled again after a restore."""


class Operator:
    """A person at the command line."""

    def __init__(self, world: FaultWorld) -> None:
        self._world = world

    async def act(self, planned: PlannedCommand) -> None:
        """Give the planned command at its moment."""
        await until(planned.at)
        if planned.step is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._world.reached(planned.step).wait(), PATIENCE)
        await COMMANDS[planned.kind](self, planned)

    async def _give(
        self, kind: str, subject: str, command: Callable[[Commands], Awaitable[object]]
    ) -> None:
        try:
            await self._world.ask(command)
        except LedgerError as refused:
            self._world.tell(f"operator: {kind} {subject} is refused: {refused}")
            return
        self._world.promise(kind, subject, {})
        self._world.count(f"command {kind}")
        self._world.tell(f"operator: {kind} {subject}")

    async def _pause(self, scope: str, seconds: float) -> None:
        await self._give("pause", scope, lambda c: c.operator.pause(scope, BY, WHY))
        await asyncio.sleep(seconds)
        if scope == LOOK_UP_FIRST and (self._world.era or self._world.lost):
            return  # after a restore, look-ups go on until the healing (docs/runbook.md)
        await self.resume(scope)

    async def resume(self, scope: str) -> None:
        """End a pause. A person who has asked before a restore does not repeat it afterwards: it
        would end the look-ups that the restore has begun."""
        era = self._world.era

        async def resume(commands: Commands) -> None:
            if scope == LOOK_UP_FIRST and self._world.era != era:
                raise Refused("The database has been restored since this was asked.")
            await commands.operator.resume(scope, BY, WHY)

        await self._give("resume", scope, resume)

    async def pause_everything(self, planned: PlannedCommand) -> None:
        """Pause everything for a while."""
        await self._pause(EVERYTHING, planned.lasts)

    async def pause_work(self, planned: PlannedCommand) -> None:
        """Pause one kind of work for a while."""
        kinds = ("transferring", "reversing", "refunding", "funding")
        await self._pause(scope_of_work(random.Random(planned.seed).choice(kinds)), planned.lasts)

    async def pause_seller(self, planned: PlannedCommand) -> None:
        """Pause one seller for a while."""
        await self._pause(scope_of_seller(planned.seller or ""), planned.lasts)

    async def look_up_first(self, planned: PlannedCommand) -> None:
        """Require a look-up before each call for a while, as after a restore."""
        await self._pause(LOOK_UP_FIRST, planned.lasts)

    async def retry(self, planned: PlannedCommand) -> None:
        """Retry the transfers of an order."""
        for row in self._rows(planned):
            await self.retry_transfer(row)

    async def retry_transfer(self, row: SellerTransferRow) -> None:
        """Retry one transfer."""
        subject = row.transfer_id
        await self._give("retry", str(subject), lambda c: c.operator.retry(subject, BY, WHY))

    async def read_charge(self, planned: PlannedCommand) -> None:
        """Read the charge of an order again."""
        order = planned.order or ""
        await self._give("read_charge", order, lambda c: c.orders.read_charge(order, BY, WHY))

    async def resolve(self, planned: PlannedCommand) -> None:
        """Resolve the transfers of an order by the object that Stripe shows."""
        for row in self._rows(planned):
            held = [
                one["id"]
                for one in self._world.stripe.transfers
                if one["metadata"].get("transfer_id") == str(row.transfer_id)
            ]
            if held:
                await self._resolve(row, held[0])

    async def _resolve(self, row: SellerTransferRow, evidence: str) -> None:
        gateway = self._world.stripe.gateway()
        await self._give(
            "resolve",
            str(row.transfer_id),
            lambda c: c.operator.resolve(gateway, row.transfer_id, BY, WHY, evidence),
        )

    async def move_seller(self, planned: PlannedCommand) -> None:
        """Pay a seller to the account that he has, as after a doubtful change."""
        seller = planned.seller or ""
        await self._give(
            "move_seller",
            seller,
            lambda c: c.seller_accounts.move(seller, account(seller), BY, WHY),
        )

    def _rows(self, planned: PlannedCommand) -> list[SellerTransferRow]:
        rows = self._world.fleet.database.tables["seller_transfers"].values()
        return [row for row in list(rows) if row.order_id == planned.order]

    async def heal(self) -> None:
        """Do what the alarms ask for: retry what was given up, and have the reports about refunds
        handled again that a restore has left unexplained (docs/runbook.md)."""
        database = self._world.fleet.database
        missing = {one.subject for one in database.alarms.raised() if one.kind == "refund_missing"}
        for row in list(database.tables["seller_transfers"].values()):
            if row.status == TransferStatus.PERMANENTLY_FAILED or row.waiting_for == "operator":
                await self.retry_transfer(row)
            if str(row.transfer_id) in missing and not self._restoring():
                self._replay_refunds(row.order_id)

    def _restoring(self) -> bool:
        rows = self._world.fleet.database.tables["pauses"].values()
        return any(row.paused and row.scope == LOOK_UP_FIRST for row in rows)

    def _replay_refunds(self, order_id: str) -> None:
        """Let the ledger handle the PSP's reports about the refunds of an order again."""
        database = self._world.fleet.database
        payment = next(o.payment_id for o in self._world.schedule.orders if o.name == order_id)
        for webhook in list(database.inbox.rows.values()):
            about = f'"{payment}"'.encode() in webhook.body
            if about and webhook.event_type in REPORTS and not webhook.open:
                self._world.tell(f"operator: inbox replay {webhook.event_id}")
                database.inbox.replay(webhook.inbox_id)
        database.notify("webhook_inbox")


COMMANDS: dict[str, Callable[[Operator, PlannedCommand], Awaitable[None]]] = {
    "pause_everything": Operator.pause_everything,
    "pause_work": Operator.pause_work,
    "pause_seller": Operator.pause_seller,
    "look_up_first": Operator.look_up_first,
    "retry": Operator.retry,
    "read_charge": Operator.read_charge,
    "resolve": Operator.resolve,
    "move_seller": Operator.move_seller,
}
"""Commands of an operator that a schedule may contain."""
