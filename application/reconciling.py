"""How Stripe's books and ours differ: pure classification of one transfer, and what of it can be adopted as facts.

A call in flight, or one whose outcome is unknown, is no difference: its worker reads Stripe's books by itself.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from domain.claims import Claim, ClaimState
from domain.errors import CallInFlight, UnknownId
from domain.lifecycle import TransferStatus
from domain.operation import TRANSFER
from domain.outcomes import ReversalAtStripe, TransferAtStripe
from domain.paying import complete
from domain.reversing import record_external, take_in
from domain.seller_transfer import SellerTransfer


class Kind(StrEnum):
    """How they can differ."""

    MISSING_HERE = "missing_here"
    """Stripe holds something of ours that is not recorded here."""
    MISSING_THERE = "missing_there"
    """Something is recorded here that Stripe does not hold."""
    AMOUNT = "amount"
    CURRENCY = "currency"
    EXTERNAL_REVERSAL = "external_reversal"
    """Somebody else took money back from a transfer of ours."""
    DUPLICATE = "duplicate"
    """A second transfer at Stripe for one of ours."""
    UNCLAIMED = "unclaimed"
    """A transfer at Stripe without any trace of us: no fault."""


class Finding(NamedTuple):
    """One difference. `at_risk` in minor units of `currency`; `obstacle` says why it cannot be adopted, None if it can."""

    kind: Kind
    stripe_id: str
    """The transfer or reversal at Stripe."""
    stripe_transfer_id: str
    transfer_id: UUID | None
    at_risk: int
    currency: str
    detail: str
    obstacle: str | None
    reversal_id: str | None = None

    @property
    def id(self) -> str:
        """The same for the same difference between the same objects, however often it is found."""
        names = [self.kind.value, self.stripe_id, str(self.transfer_id), self.reversal_id]
        return f"{self.kind.value}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]}"


def is_complete(seen: TransferAtStripe) -> bool:
    """Whether all its reversals are there: a list brings only the newest."""
    return sum(reversal.amount for reversal in seen.reversals) == seen.amount_reversed


def differences(seen: TransferAtStripe, ours: SellerTransfer | None) -> list[Finding]:
    """What differs between a transfer at Stripe, with all its reversals, and ours."""
    if ours is None:
        return [_stranger(seen)]
    if ours.stripe_transfer_id == seen.stripe_transfer_id:
        return [*_contents(seen, ours), *_reversals(seen, ours)]
    if ours.stripe_transfer_id:
        return [_duplicate(seen, ours)] if seen.left else []
    operation = ours.operation
    under_way = operation is not None and operation.what == TRANSFER and operation.open and not ours.uncleared
    if under_way and ours.status is not TransferStatus.PERMANENTLY_FAILED:
        return []
    return [_missing_here(seen, ours)]


def missing_there(ours: SellerTransfer, stripe_transfer_id: str) -> Finding:
    """Stripe says that there is no such transfer."""
    detail = f"Transfer {ours.id} is paid here by {stripe_transfer_id}, which Stripe does not hold."
    return _found(Kind.MISSING_THERE, stripe_transfer_id, stripe_transfer_id, ours, ours.amount, detail, "nothing is there")


def adopt(transfer: SellerTransfer, seen: TransferAtStripe, finding_id: str, note: str, now: datetime) -> None:
    """Take in what Stripe shows. Raises UnknownId when the difference is gone or cannot be adopted, CallInFlight."""
    if transfer.operation is not None and transfer.operation.in_call:
        raise CallInFlight(transfer.id)
    found = next((f for f in differences(seen, transfer) if f.id == finding_id and f.obstacle is None), None)
    if found is None:
        raise UnknownId("adoptable finding", finding_id)
    if found.kind is Kind.EXTERNAL_REVERSAL:
        record_external(transfer, seen, now, note)
    elif found.reversal_id is not None:
        take_in(transfer, found.reversal_id, found.stripe_id, found.at_risk, None, now, note)
    else:
        complete(transfer, seen.stripe_transfer_id, seen.amount, None, now, note)


def _found(
    kind: Kind,
    stripe_id: str,
    stripe_transfer_id: str,
    ours: SellerTransfer,
    at_risk: int,
    detail: str,
    obstacle: str | None,
    reversal_id: str | None = None,
) -> Finding:
    return Finding(kind, stripe_id, stripe_transfer_id, ours.id, at_risk, ours.currency, detail, obstacle, reversal_id)


def _stranger(seen: TransferAtStripe) -> Finding:
    named, id_ = seen.transfer_id, seen.stripe_transfer_id
    if named is None:
        detail = f"{id_} shows no trace of this ledger."
        return Finding(Kind.UNCLAIMED, id_, id_, None, 0, seen.currency, detail, "it is not ours")
    detail = f"{id_} names transfer {named}, which is unknown here."
    return Finding(Kind.MISSING_HERE, id_, id_, None, seen.left, seen.currency, detail, "no order here owes it")


def _duplicate(seen: TransferAtStripe, ours: SellerTransfer) -> Finding:
    id_ = seen.stripe_transfer_id
    detail = f"{id_} names transfer {ours.id}, which {ours.stripe_transfer_id} has paid: the seller was paid twice."
    return _found(Kind.DUPLICATE, id_, id_, ours, seen.left, detail, "one of the two has to be reversed at Stripe")


def _missing_here(seen: TransferAtStripe, ours: SellerTransfer) -> Finding:
    id_ = seen.stripe_transfer_id
    detail = f"Stripe holds {id_} for transfer {ours.id}, which is {ours.status} here."
    return _found(Kind.MISSING_HERE, id_, id_, ours, seen.left, detail, _obstacle(seen, ours))


def _obstacle(seen: TransferAtStripe, ours: SellerTransfer) -> str | None:
    waiting = (TransferStatus.PENDING, TransferStatus.FAILED, TransferStatus.PERMANENTLY_FAILED)
    if ours.paid or ours.settled_outside is not None or ours.status not in waiting:
        return f"it is {ours.status} here, which a person has to look at"
    agreed = (seen.currency, seen.destination) == (ours.currency, ours.destination)
    if not agreed or seen.amount not in (ours.amount, ours.original):
        return "its amount, currency or destination is not that of our transfer"
    return None


def _contents(seen: TransferAtStripe, ours: SellerTransfer) -> Iterator[Finding]:
    id_ = seen.stripe_transfer_id
    if seen.currency != ours.currency:
        detail = f"{id_} is in {seen.currency} at Stripe, in {ours.currency} here."
        yield _found(Kind.CURRENCY, id_, id_, ours, ours.amount, detail, "a paid transfer's currency cannot change")
    elif seen.amount != ours.amount:
        detail = f"{id_} is {seen.amount} at Stripe, {ours.amount} here."
        yield _found(
            Kind.AMOUNT, id_, id_, ours, abs(seen.amount - ours.amount), detail, "a paid transfer's amount cannot change"
        )


def _reversals(seen: TransferAtStripe, ours: SellerTransfer) -> Iterator[Finding]:
    known = {claim.stripe_reversal_id: claim for claim in ours.claims.values() if claim.stripe_reversal_id}
    left_of_sum = ours.amount_reversed - sum(claim.settled for claim in known.values())
    for made in reversed(seen.reversals):
        claim = ours.claims.get(made.reversal_id or "")
        if (recorded := known.get(made.stripe_reversal_id)) is not None:
            yield from _settled(seen, ours, made, recorded)
        elif claim is not None:
            yield from _own(seen, ours, made, claim)
        elif made.amount <= left_of_sum:  # what several strangers took together is recorded as a sum
            left_of_sum -= made.amount
        else:
            yield _external(seen, ours, made)
    there = {made.stripe_reversal_id for made in seen.reversals}
    for stripe_id, claim in known.items():
        if stripe_id is not None and stripe_id not in there:
            detail = f"Reversal {claim.reversal_id} is {stripe_id} here, which Stripe does not hold."
            of, nothing = seen.stripe_transfer_id, "nothing is there"
            yield _found(Kind.MISSING_THERE, stripe_id, of, ours, claim.settled, detail, nothing, claim.reversal_id)


def _settled(seen: TransferAtStripe, ours: SellerTransfer, made: ReversalAtStripe, claim: Claim) -> Iterator[Finding]:
    if made.amount != claim.settled:
        id_, risk = made.stripe_reversal_id, abs(made.amount - claim.settled)
        detail = f"{id_} is {made.amount} at Stripe, {claim.settled} here."
        why = "a recorded reversal's amount cannot change"
        yield _found(Kind.AMOUNT, id_, seen.stripe_transfer_id, ours, risk, detail, why, claim.reversal_id)


def _own(seen: TransferAtStripe, ours: SellerTransfer, made: ReversalAtStripe, claim: Claim) -> Iterator[Finding]:
    if ours.is_open(claim):
        return
    stuck = claim.state is ClaimState.FAILED and ours.status is TransferStatus.PERMANENTLY_FAILED
    fits = stuck or claim.state is ClaimState.REQUESTED
    why = None if fits and made.amount <= ours.amount - ours.amount_reversed else f"it is {claim.state} here"
    id_ = made.stripe_reversal_id
    detail = f"Stripe holds {id_} for reversal {claim.reversal_id}, which is {claim.state} here."
    yield _found(Kind.MISSING_HERE, id_, seen.stripe_transfer_id, ours, made.amount, detail, why, claim.reversal_id)


def _external(seen: TransferAtStripe, ours: SellerTransfer, made: ReversalAtStripe) -> Finding:
    id_ = made.stripe_reversal_id
    why = None
    if ours.status not in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED):
        why = f"the transfer is {ours.status}: it is attributed with the outcome of what is under way"
    detail = f"{id_} took {made.amount} back from {seen.stripe_transfer_id} outside this ledger."
    return _found(Kind.EXTERNAL_REVERSAL, id_, seen.stripe_transfer_id, ours, made.amount, detail, why)
