"""What a person decides about a difference from Stripe's books: to take in what Stripe shows, or to let it stand."""

from datetime import datetime
from uuid import UUID

from application.reconciliation.comparison import GRACE, differences, lacks_only_the_id
from application.unit_of_work import UnitOfWork, recover_again
from domain.errors import CallInFlight, NotAdoptable
from domain.finding import DecidedBy, Difference, DifferenceKind, Finding
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer, causes_vanished
from domain.seller_transfer.reversal_outcome import complete_reversal, record_external
from domain.seller_transfer.transfer_outcome import complete


def ignore(uow: UnitOfWork, difference: Difference, by: DecidedBy, now: datetime) -> bool:
    """Let it stand; answers whether that is news."""
    return _noted(uow, difference, now).ignore(by, now)


def adopt(uow: UnitOfWork, transfer_id: UUID, seen: TransferAtStripe, finding_id: str, by: DecidedBy, now: datetime) -> None:
    """Take in what Stripe shows now, with what follows from it for the order. Raises NotAdoptable, CallInFlight."""
    transfer = uow.transfer(transfer_id)
    found = _adoptable(transfer, seen, finding_id, now)
    reduced, before = dict(transfer.reductions), set(causes_vanished(transfer))
    _take_in(transfer, seen, found, f"adopted by {by.actor}: {by.reason}", by.actor, now)
    vanished = [cause_id for cause_id in causes_vanished(transfer) if cause_id not in before]
    for cause_id in [*vanished, *transfer.undone_since(reduced)]:
        recover_again(uow, uow.order(transfer.order_id), cause_id, now)
    _noted(uow, found, now).adopt(by, now)


def _adoptable(transfer: SellerTransfer, seen: TransferAtStripe, finding_id: str, now: datetime) -> Difference:
    operation = transfer.operation
    if operation is not None and operation.in_call and operation.last_began is not None and now - operation.last_began < GRACE:
        raise CallInFlight(transfer.id)
    found = next((one for one in differences(seen, transfer, now) if one.id == finding_id), None)
    if found is None:
        raise NotAdoptable(finding_id, "the books do not differ in it any more; reconcile again")
    if found.obstacle is not None:
        raise NotAdoptable(finding_id, found.obstacle)
    return found


def _take_in(transfer: SellerTransfer, seen: TransferAtStripe, found: Difference, note: str, actor: str, now: datetime) -> None:
    if found.kind is DifferenceKind.EXTERNAL_REVERSAL:
        record_external(transfer, seen, now, note, only=found.stripe_id)
    elif found.reversal_id is not None:
        complete_reversal(transfer, found.reversal_id, found.stripe_id, found.at_risk, None, now, note)
    elif lacks_only_the_id(transfer):
        transfer.backfill(seen.stripe_transfer_id, actor, note, now)
    else:
        complete(transfer, seen.stripe_transfer_id, seen.amount, None, now, note)


def _noted(uow: UnitOfWork, difference: Difference, now: datetime) -> Finding:
    known = uow.finding(difference.id)
    if known is not None:
        return known
    finding = Finding.note(difference, now)
    uow.add([finding])
    return finding
