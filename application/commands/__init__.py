"""Commands: every change that a caller, a webhook, a worker or an operator can ask the ledger
for."""

from dataclasses import dataclass

from application.command_handler import CommandHandler
from application.commands.alarms import AlarmCommands
from application.commands.decisions import DecisionCommands
from application.commands.disputes import DisputeCommands
from application.commands.inbox import InboxCommands
from application.commands.operator import OperatorCommands
from application.commands.orders import OrderCommands
from application.commands.refunds import RefundCommands
from application.commands.seller_accounts import SellerAccountCommands
from application.ports import Clock, Directory, EventLog, WorkQueue
from application.reconciliation.decisions import ReconciliationCommands


@dataclass(frozen=True, slots=True)
class Commands:
    """All commands, by subject. Every command may be repeated; it raises Conflict only after many
    lost races."""

    orders: OrderCommands
    refunds: RefundCommands
    disputes: DisputeCommands
    decisions: DecisionCommands
    operator: OperatorCommands
    reconciliation: ReconciliationCommands
    inbox: InboxCommands
    seller_accounts: SellerAccountCommands
    alarms: AlarmCommands


def commands_on(
    log: EventLog, directory: Directory, clock: Clock, work: WorkQueue | None = None
) -> Commands:
    """Build the commands on one event log. `work`: see `CommandHandler`."""
    handler = CommandHandler(log, clock, work)
    return Commands(
        OrderCommands(handler, directory),
        RefundCommands(handler, directory),
        DisputeCommands(handler),
        DecisionCommands(handler, directory),
        OperatorCommands(handler, directory),
        ReconciliationCommands(handler),
        InboxCommands(handler, directory),
        SellerAccountCommands(handler, directory),
        AlarmCommands(handler, directory),
    )
