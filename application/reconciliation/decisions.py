"""Commands on the findings of a reconciliation: adopt the state that Stripe shows, or ignore the
difference."""

from datetime import datetime
from functools import partial
from uuid import UUID

from application.command_handler import CommandHandler
from application.reconciliation.comparison import GRACE, differences, lacks_only_the_id
from application.unit_of_work import CommitExtras, UnitOfWork, recover_again
from domain.errors import CallInFlight, NotAdoptable, UnknownId
from domain.finding import DecidedBy, Difference, DifferenceKind, Finding
from domain.identity import finding_stream
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer, causes_to_recover, causes_vanished
from domain.seller_transfer.external_reversals import record_external
from domain.seller_transfer.reversal_outcome import complete_reversal
from domain.seller_transfer.transfer_outcome import complete


class ReconciliationCommands:
    """Commands of a person on differences between the ledger and Stripe."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler

    async def adopt(
        self, transfer_id: UUID, seen: TransferAtStripe, finding_id: str, by: DecidedBy
    ) -> None:
        """Adopt a finding; `seen` is the transfer as Stripe shows it now. See `adopt`."""
        await self._handler.handle(
            partial(
                self._handler.load_transfer_with_order, transfer_id, finding_stream(finding_id)
            ),
            lambda uow, now: adopt(uow, transfer_id, seen, finding_id, by, now),
            # webhooks about reversals that could not be attributed before (`subject_of_transfer`)
            CommitExtras(released=[f"transfer:{transfer_id}"]),
        )

    async def ignore(self, difference: Difference, by: DecidedBy) -> bool:
        """Ignore a difference from now on; return whether that is news. See `domain.finding`."""
        return await self._handler.handle(
            partial(self._handler.load, finding_stream(difference.id)),
            lambda uow, now: _noted(uow, difference, now).ignore(by, now),
        )

    async def unignore(self, finding_id: str, by: DecidedBy) -> bool:
        """Report an ignored finding again; return whether it was ignored. Raises UnknownId."""

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            finding = uow.finding(finding_id)
            if finding is None:
                raise UnknownId("finding", finding_id)
            return finding.unignore(by, now)

        return await self._handler.handle(
            partial(self._handler.load, finding_stream(finding_id)), decide
        )


def adopt(
    uow: UnitOfWork,
    transfer_id: UUID,
    seen: TransferAtStripe,
    finding_id: str,
    by: DecidedBy,
    now: datetime,
) -> None:
    """Record the state that Stripe shows now, and recover the order's shares again. Raises
    NotAdoptable, CallInFlight."""
    transfer = uow.transfer(transfer_id)
    found = _adoptable(transfer, seen, finding_id, now)
    reduced, before = dict(transfer.reductions), set(causes_vanished(transfer))
    note = f"adopted by {by.actor}: {by.reason}"
    if found.kind is DifferenceKind.EXTERNAL_REVERSAL:
        record_external(transfer, seen, now, note, only=found.stripe_id)
    elif found.reversal_id is not None:
        complete_reversal(
            transfer, found.reversal_id, found.stripe_id, found.at_risk, None, now, note
        )
    elif lacks_only_the_id(transfer):
        transfer.backfill(seen.stripe_transfer_id, by.actor, note, now)
    else:
        complete(transfer, seen.stripe_transfer_id, seen.amount, None, now, note)
    causes = [c for c in causes_to_recover(transfer, reduced) if c not in before]
    for cause_id in causes:
        recover_again(uow, uow.order(transfer.order_id), cause_id, now)
    _noted(uow, found, now).adopt(by, now)


def _adoptable(
    transfer: SellerTransfer, seen: TransferAtStripe, finding_id: str, now: datetime
) -> Difference:
    operation = transfer.operation
    if (
        operation is not None
        and operation.in_call
        and operation.last_began is not None
        and now - operation.last_began < GRACE
    ):
        raise CallInFlight(transfer.id)
    found = next((one for one in differences(seen, transfer, now) if one.id == finding_id), None)
    if found is None:
        raise NotAdoptable(
            finding_id, "the ledger and Stripe do not differ in it any more; reconcile again"
        )
    if found.obstacle is not None:
        raise NotAdoptable(finding_id, found.obstacle)
    return found


def _noted(uow: UnitOfWork, difference: Difference, now: datetime) -> Finding:
    known = uow.finding(difference.id)
    if known is not None:
        return known
    finding = Finding.note(difference, now)
    uow.add([finding])
    return finding
