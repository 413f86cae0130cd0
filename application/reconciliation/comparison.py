"""Comparison of one transfer at Stripe with ours: a pure classification of the differences.

A call in flight, or a call whose outcome has been unknown for less than `GRACE`, is not a
difference: its worker looks it up.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from application.gateways import ListedTransfer
from application.reconciliation.lost_compensations import lost_compensation, obstacle
from domain.finding import Difference, DifferenceKind
from domain.identity import may_be_ours
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Operation
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.external_reversals import named_by_us, names_ours
from domain.seller_transfer.reversal import Reversal, ReversalStatus

GRACE = timedelta(minutes=10)
"""A call without an outcome for longer is lost, as after a restore: its worker would have looked it
up by now."""


def is_complete(seen: TransferAtStripe) -> bool:
    """Return whether all reversals are included. A list contains only the newest of a transfer."""
    taken = all(reversal.taken for reversal in seen.reversals)
    return taken and sum(one.amount for one in seen.reversals) == seen.amount_reversed


def alike(listed: ListedTransfer, transfers: Iterable[SellerTransfer]) -> list[SellerTransfer]:
    """Find our transfers that a transfer at Stripe without our id may belong to.

    Transfer group or source, destination, currency and amount must agree: Stripe replaces the group
    of a transfer with a source. Transfers of ours without a Stripe id take precedence; if all have
    one, the transfer at Stripe is a duplicate for one of them.
    """
    seen, source = listed.transfer, listed.source_transaction
    fits = [
        t
        for t in transfers
        if (t.destination, t.currency) == (seen.destination, seen.currency)
        and seen.amount in (t.amount, t.original)
        and (
            t.transfer_group == listed.transfer_group
            or (source is not None and t.source_transaction == source)
        )
    ]
    return [t for t in fits if not t.stripe_transfer_id] or fits


def differences(
    seen: TransferAtStripe,
    ours: SellerTransfer | None,
    now: datetime,
    family: Sequence[SellerTransfer] = (),
) -> list[Difference]:
    """List the differences between a transfer at Stripe, with all its reversals, and ours.

    `family` are the transfers of the order that a lost compensation names.
    """
    if ours is None:
        return [_unclaimed(seen, family)]
    if ours.stripe_transfer_id == seen.stripe_transfer_id:
        return [*_contents(seen, ours), *_reversals(seen, ours, now)]
    if ours.stripe_transfer_id:
        return [_duplicate(seen, ours)] if seen.reversible else []
    operation = ours.operation
    under_way = (
        operation is not None
        and operation.what == TRANSFER
        and _under_way(operation, now)
        and not ours.uncleared
    )
    if under_way and ours.status is not TransferStatus.PERMANENTLY_FAILED:
        return []
    return [_missing_here(seen, ours), *_reversals(seen, ours, now)]


def _under_way(operation: Operation, now: datetime) -> bool:
    return (
        operation.open and operation.last_began is not None and now - operation.last_began < GRACE
    )


def ambiguous(seen: TransferAtStripe, ours: Sequence[SellerTransfer]) -> Difference:
    """Make the difference of a transfer at Stripe that may belong to several of ours."""
    id_ = seen.stripe_transfer_id
    detail = (
        f"{id_} fits several transfers of ours: "
        f"{', '.join(sorted(str(transfer.id) for transfer in ours))}."
    )
    return Difference(
        DifferenceKind.MISSING_HERE,
        id_,
        id_,
        None,
        seen.reversible,
        seen.currency,
        detail,
        "a person has to say which it is",
    )


def missing_there(ours: SellerTransfer, stripe_transfer_id: str) -> Difference:
    """Make the difference of a transfer of ours that does not exist at Stripe."""
    detail = (
        f"Transfer {ours.id} is paid here by {stripe_transfer_id}, which does not exist at Stripe."
    )
    return _found(
        DifferenceKind.MISSING_THERE,
        stripe_transfer_id,
        stripe_transfer_id,
        ours,
        ours.amount,
        detail,
        "nothing is there",
    )


def our_id(seen: TransferAtStripe) -> UUID | None:
    """Return our id from the metadata, if it has the form of our ids."""
    return UUID(seen.transfer_id) if may_be_ours(seen.transfer_id) else None


def _found(
    kind: DifferenceKind,
    stripe_id: str,
    stripe_transfer_id: str,
    ours: SellerTransfer,
    at_risk: int,
    detail: str,
    obstacle: str | None,
    reversal_id: str | None = None,
) -> Difference:
    return Difference(
        kind,
        stripe_id,
        stripe_transfer_id,
        ours.id,
        at_risk,
        ours.currency,
        detail,
        obstacle,
        reversal_id,
    )


def _unclaimed(seen: TransferAtStripe, family: Sequence[SellerTransfer]) -> Difference:
    named, id_ = our_id(seen), seen.stripe_transfer_id
    if named is None:
        detail = f"{id_} has no id of this ledger."
        return Difference(
            DifferenceKind.UNCLAIMED, id_, id_, None, 0, seen.currency, detail, "it is not ours"
        )
    detail = f"{id_} names transfer {named}, which is unknown here."
    lost = lost_compensation(seen)
    return Difference(
        DifferenceKind.MISSING_HERE,
        id_,
        id_,
        named if lost is not None else None,
        seen.reversible,
        seen.currency,
        detail,
        obstacle(lost, family) if lost is not None else "no order here owes it",
        awaits_others=lost is not None,
    )


def _duplicate(seen: TransferAtStripe, ours: SellerTransfer) -> Difference:
    id_ = seen.stripe_transfer_id
    detail = (
        f"{id_} is for transfer {ours.id}, which {ours.stripe_transfer_id} has paid: the seller "
        "is paid twice."
    )
    return _found(
        DifferenceKind.DUPLICATE,
        id_,
        id_,
        ours,
        seen.reversible,
        detail,
        "one of the two has to be reversed at Stripe",
    )


def _missing_here(seen: TransferAtStripe, ours: SellerTransfer) -> Difference:
    id_ = seen.stripe_transfer_id
    detail = (
        f"Stripe holds {id_} for transfer {ours.id}, which is {ours.status} "
        f"here{' without a Stripe id' if ours.paid else ''}."
    )
    return _found(
        DifferenceKind.MISSING_HERE, id_, id_, ours, seen.reversible, detail, _obstacle(seen, ours)
    )


def _obstacle(seen: TransferAtStripe, ours: SellerTransfer) -> str | None:
    waiting = (TransferStatus.PENDING, TransferStatus.FAILED, TransferStatus.PERMANENTLY_FAILED)
    unpaid = not ours.paid and ours.settled_outside is None and ours.status in waiting
    if not unpaid and not lacks_only_the_id(ours):
        return f"it is {ours.status} here: a person has to check it"
    if our_id(seen) not in (None, ours.id) and not ours.imported:
        return "it names another transfer of ours"
    agreed = (seen.currency, seen.destination) == (ours.currency, ours.destination)
    if not agreed or seen.amount not in (ours.amount, ours.original):
        return "its amount, currency or destination is not that of our transfer"
    return None


def lacks_only_the_id(ours: SellerTransfer) -> bool:
    """Return whether an older system has paid it and its Stripe id is unknown."""
    return ours.paid and not ours.stripe_transfer_id and TRANSFER not in ours.evidence.values()


def _contents(seen: TransferAtStripe, ours: SellerTransfer) -> Iterator[Difference]:
    id_ = seen.stripe_transfer_id
    if seen.destination != ours.destination:
        detail = f"{id_} went to {seen.destination} at Stripe, to {ours.destination} here."
        yield _found(
            DifferenceKind.DESTINATION,
            id_,
            id_,
            ours,
            ours.amount,
            detail,
            "a paid transfer's destination cannot change",
        )
    if seen.currency != ours.currency:
        detail = f"{id_} is in {seen.currency} at Stripe, in {ours.currency} here."
        yield _found(
            DifferenceKind.CURRENCY,
            id_,
            id_,
            ours,
            ours.amount,
            detail,
            "a paid transfer's currency cannot change",
        )
    elif seen.amount != ours.amount:
        detail, risk = (
            f"{id_} is {seen.amount} at Stripe, {ours.amount} here.",
            abs(seen.amount - ours.amount),
        )
        yield _found(
            DifferenceKind.AMOUNT,
            id_,
            id_,
            ours,
            risk,
            detail,
            "a paid transfer's amount cannot change",
        )


def _reversals(seen: TransferAtStripe, ours: SellerTransfer, now: datetime) -> Iterator[Difference]:
    known = {
        reversal.stripe_reversal_id: reversal
        for reversal in ours.reversals.values()
        if reversal.stripe_reversal_id
    }
    left_of_sum = ours.amount_reversed - sum(reversal.settled for reversal in known.values())
    taken = [made for made in reversed(seen.reversals) if made.taken]
    for made in taken:
        reversal = ours.reversals.get(made.reversal_id or "")
        if (recorded := known.get(made.stripe_reversal_id)) is not None:
            also = _stands_for_more(made, recorded, left_of_sum)
            left_of_sum -= also
            yield from _settled(seen, ours, made, recorded, recorded.settled + also)
        elif reversal is not None:
            yield from _own(seen, ours, made, reversal, now)
        elif (
            made.amount <= left_of_sum
        ):  # external reversals that were recorded together are recorded as a sum
            left_of_sum -= made.amount
        elif names_ours(ours, made):
            yield _lost(seen, ours, made)
        else:
            yield _external(seen, ours, made)
    if left_of_sum > 0:
        of, nothing = seen.stripe_transfer_id, "nothing is there"
        detail = (
            f"{left_of_sum} of what is recorded here as reversed from {of} and not reversed at "
            "Stripe."
        )
        yield _found(DifferenceKind.MISSING_THERE, of, of, ours, left_of_sum, detail, nothing)
    there = {made.stripe_reversal_id for made in taken}
    untaken = {made.stripe_reversal_id: f"is {made.status} at" for made in seen.reversals}
    for stripe_id, reversal in known.items():
        if stripe_id is not None and stripe_id not in there:
            detail = (
                f"Reversal {reversal.reversal_id} is {stripe_id} here, which "
                f"{untaken.get(stripe_id, 'does not exist at')} Stripe."
            )
            of, nothing = seen.stripe_transfer_id, "nothing is there"
            yield _found(
                DifferenceKind.MISSING_THERE,
                stripe_id,
                of,
                ours,
                reversal.settled,
                detail,
                nothing,
                reversal.reversal_id,
            )


def _stands_for_more(made: ReversalAtStripe, reversal: Reversal, left_of_sum: int) -> int:
    """Return the amount of an external reversal that also covers reversals of ours that were still
    in the queue."""
    return (
        0
        if made.reversal_id == reversal.reversal_id
        else min(max(0, made.amount - reversal.settled), left_of_sum)
    )


def _settled(
    seen: TransferAtStripe,
    ours: SellerTransfer,
    made: ReversalAtStripe,
    reversal: Reversal,
    settled: int,
) -> Iterator[Difference]:
    if made.amount != settled:
        id_, risk = made.stripe_reversal_id, abs(made.amount - settled)
        detail = f"{id_} is {made.amount} at Stripe, {settled} here."
        why = "a recorded reversal's amount cannot change"
        yield _found(
            DifferenceKind.AMOUNT,
            id_,
            seen.stripe_transfer_id,
            ours,
            risk,
            detail,
            why,
            reversal.reversal_id,
        )


def _own(
    seen: TransferAtStripe,
    ours: SellerTransfer,
    made: ReversalAtStripe,
    reversal: Reversal,
    now: datetime,
) -> Iterator[Difference]:
    operation, id_, of = ours.operation, made.stripe_reversal_id, seen.stripe_transfer_id
    if reversal.stripe_reversal_id is not None:
        settled = (
            f"reversal {reversal.reversal_id}, which {reversal.stripe_reversal_id} has settled"
        )
        detail = f"{id_} is for {settled}: the amount is reversed twice."
        why = "the seller has to be paid the amount again"
        yield _found(
            DifferenceKind.DUPLICATE, id_, of, ours, made.amount, detail, why, reversal.reversal_id
        )
    elif not (ours.is_open(reversal) and operation is not None and _under_way(operation, now)):
        detail = (
            f"Stripe holds {id_} for reversal {reversal.reversal_id}, which is {reversal.state} "
            "here."
        )
        obstacle = _own_obstacle(ours, made, reversal)
        yield _found(
            DifferenceKind.MISSING_HERE,
            id_,
            of,
            ours,
            made.amount,
            detail,
            obstacle,
            reversal.reversal_id,
        )


def _own_obstacle(ours: SellerTransfer, made: ReversalAtStripe, reversal: Reversal) -> str | None:
    stuck = (
        reversal.state is ReversalStatus.FAILED and ours.status is TransferStatus.PERMANENTLY_FAILED
    )
    open_ = ours.operation is not None and ours.operation.open
    if reversal.state in (ReversalStatus.QUEUED, ReversalStatus.WITHDRAWN) and not open_:
        return _obstacle_to_take_in(ours, made)
    if not stuck and reversal.state is not ReversalStatus.REQUESTED:
        return f"it is {reversal.state} here"
    return _more_than_paid(ours, made)


def _more_than_paid(ours: SellerTransfer, made: ReversalAtStripe) -> str | None:
    left = ours.amount - ours.amount_reversed
    return None if made.amount <= left else "more would be reversed than was paid"


def _obstacle_to_take_in(ours: SellerTransfer, made: ReversalAtStripe) -> str | None:
    if not ours.stripe_transfer_id:
        return "the transfer has to be adopted first"
    if ours.operation is not None and ours.operation.open:
        return "a call of ours is open, and its outcome comes first"
    if ours.status is TransferStatus.PERMANENTLY_FAILED:
        return "the transfer waits for a person: retry or resolve it first"
    return _more_than_paid(ours, made)


def _lost(seen: TransferAtStripe, ours: SellerTransfer, made: ReversalAtStripe) -> Difference:
    # never external: it would count a second time when its refund is reported again
    id_ = made.stripe_reversal_id
    detail = f"Stripe holds {id_} for our reversal {made.reversal_id}, which is not recorded here."
    why = (
        _obstacle_to_take_in(ours, made)
        if named_by_us(ours, made)
        else "its refund has to be recorded first"
    )
    return _found(
        DifferenceKind.MISSING_HERE,
        id_,
        seen.stripe_transfer_id,
        ours,
        made.amount,
        detail,
        why,
        made.reversal_id,
    )


def _external(seen: TransferAtStripe, ours: SellerTransfer, made: ReversalAtStripe) -> Difference:
    id_ = made.stripe_reversal_id
    why = None
    if not ours.stripe_transfer_id:
        why = "the transfer has to be adopted first"
    elif ours.status not in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED):
        why = (
            f"the transfer is {ours.status}: the outcome of its current call attributes the "
            "reversal"
        )
    elif made.amount > ours.amount - ours.amount_reversed:
        why = "more would be reversed than was paid"
    detail = f"{id_} reversed {made.amount} of {seen.stripe_transfer_id} outside this ledger."
    return _found(
        DifferenceKind.EXTERNAL_REVERSAL,
        id_,
        seen.stripe_transfer_id,
        ours,
        made.amount,
        detail,
        why,
    )
