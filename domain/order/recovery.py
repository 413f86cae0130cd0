"""Recovery of shares: the sellers' transfers of an order, brought in line with its effective
refunds and disputes.

One rule holds for every cause and at every moment: `due = target - (taken and reduced - given
back)`. An amount above zero is taken from the seller's transfers of the order, newest first. An
amount below zero is given back: reversals that were not sent are withdrawn, an open call is
awaited, and an amount that was really taken comes back by a compensating transfer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from domain.errors import ImportDiffers
from domain.identity import SALE, compensated, compensation, transfer_stream
from domain.order.aggregate import Order
from domain.order.attribution import causes_of, explained, withdraw_revoked
from domain.order.facts import PaymentDoubted
from domain.order.split import adopt_made_transfers, attribute_made_reversal
from domain.refund.state import Part
from domain.seller_transfer import resolutions
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal import Reason, ReversalStatus
from domain.seller_transfer.state import UNSENT


def pay_sellers(
    order: Order, now: datetime, imported: Sequence[SellerTransfer] = ()
) -> list[SellerTransfer]:
    """Return the transfers of an order that was just paid, less the refunds and disputes that are
    effective already.

    `imported` are the transfers that an older system has made for the order. They then are its
    transfers as they are, and no other is made. Raises ImportDiffers unless they match the shares.
    """
    require_fit(order, imported)
    transfers = list(imported) or [_sale(order, seller_id, now) for seller_id in order.shares]
    adopt_made_transfers(order, transfers, now)
    parts: dict[str, dict[str, int]] = {}
    for cause_id, part in order.parts_by_cause().items():
        parts[cause_id] = part
        for seller_id in part:
            of_one = of_seller(transfers, seller_id)
            target = sum(earlier[seller_id] for earlier in parts.values())
            for transfer, amount in debits(of_one, _due(target, parts, of_one)):
                transfer.take_back(cause_id, amount, now)
    return transfers


def require_fit(order: Order, imported: Sequence[SellerTransfer]) -> None:
    """Check that imported transfers are exactly the shares of their order. Raises ImportDiffers."""
    if not imported:
        return
    transfers = {t.seller_id: _described(t.original, t.currency, t.destination) for t in imported}
    shares = {
        seller_id: _described(
            share["amount"], order.share_currency(seller_id), share["destination"]
        )
        for seller_id, share in order.shares.items()
    }
    differing = sorted(
        seller
        for seller in transfers.keys() | shares.keys()
        if transfers.get(seller) != shares.get(seller)
    )
    if differing:
        first = differing[0]
        raise ImportDiffers(
            order.order_id,
            first,
            transfers.get(first, "no transfer"),
            shares.get(first, "no share"),
        )


def _described(amount: int, currency: str, destination: str) -> str:
    return f"{amount} {currency} to {destination}"


def _sale(order: Order, seller_id: str, now: datetime) -> SellerTransfer:
    share = order.shares[seller_id]
    # one that the charge has made is at Stripe, and went to the account of the share
    moved = None if seller_id in order.made_by_charge else order.moved.get(seller_id)
    transfer = SellerTransfer.create(
        order_id=order.order_id,
        seller_id=seller_id,
        destination=moved or share["destination"],
        amount=share["amount"],
        currency=order.share_currency(seller_id),
        source_transaction=order.source_transaction,
        now=now,
        awaits_charge=order.read_charge_at is not None,
    )
    transfer.unverified = order.unverified
    return transfer


def of_seller(transfers: Iterable[SellerTransfer], seller_id: str) -> list[SellerTransfer]:
    """Return a seller's transfers, newest first."""
    of_one = [transfer for transfer in transfers if transfer.seller_id == seller_id]
    return sorted(
        of_one,
        key=lambda transfer: (transfer.created_on, transfer.cause != SALE, str(transfer.id)),
        reverse=True,
    )


def net_taken(transfers: Iterable[SellerTransfer]) -> int:
    """Return the amount taken or to be taken from a seller, less the amount given back by
    compensating transfers.

    Amounts of refunds that are not recorded here (`Reversal.missing`) are left out, and so are
    their compensations.
    """
    known = list(transfers)
    missing = {
        reversal.refund_id
        for transfer in known
        for reversal in transfer.reversals.values()
        if reversal.missing
    }
    given_back = [
        transfer.original
        for transfer in known
        if transfer.cause != SALE
        and (of := compensated(transfer.cause)) is not None
        and of.cause_id not in missing
    ]
    return sum(transfer.taken for transfer in known) - sum(given_back)


def _due(
    target: int, parts: Mapping[str, Mapping[str, int]], transfers: Sequence[SellerTransfer]
) -> int:
    """Return the amount still to take from a seller, below 0 the amount to give back. `parts`: of
    the target, by cause."""
    return target - _covered_by_import(parts, transfers) - net_taken(transfers)


def _covered_by_import(
    parts: Mapping[str, Mapping[str, int]], transfers: Sequence[SellerTransfer]
) -> int:
    """Return the sum of this seller's parts of refunds for which an older system has reversed, or
    was about to.

    Such a reversal counts for the whole part, even if its amount was another.
    """
    covered = {name for transfer in transfers for name in transfer.refunds_before}
    return sum(
        part[transfers[0].seller_id] for cause_id, part in parts.items() if cause_id in covered
    )


def debits(transfers: Sequence[SellerTransfer], due: int) -> Iterator[tuple[SellerTransfer, int]]:
    """Divide `due` among these transfers in turn, up to the room of each. Reversals made by others
    at Stripe reduce the room."""
    for transfer in transfers:
        amount = min(due, transfer.room)
        if amount > 0:
            yield transfer, amount
            due -= amount


def recover_shares(
    order: Order, transfers: Sequence[SellerTransfer], cause_id: str, now: datetime
) -> list[SellerTransfer]:
    """Bring the transfers of every seller in line with the order's targets. Returns the
    compensating transfers it made.

    A seller without transfers is not paid yet; `pay_sellers` deducts the target then.
    """
    parts = order.parts_by_cause() if any(transfer.refunds_before for transfer in transfers) else {}
    made: list[SellerTransfer] = []
    revoked = cause_id not in order.causes
    for seller_id, target in order.seller_targets.items():
        of_one = of_seller(transfers, seller_id)
        if not of_one:
            continue
        for transfer in of_one:
            if transfer.lacks_cause_of(cause_id):
                transfer.explain(cause_id, 0, now)
        if revoked:
            withdraw_revoked(of_one, cause_id, now)
        due = explained(order, of_one, _due(target, parts, of_one), cause_id, now)
        if not revoked:
            due -= resolutions.reinstate(of_one, cause_id, due, now)
        due -= attribute_made_reversal(order, of_one, cause_id, due, now)
        shares = causes_of(order, of_one, due, cause_id) if revoked else [(cause_id, due)]
        for cause, part in shares:
            for transfer, amount in debits(of_one, part):
                transfer.take_back(cause, amount, now)
        if due < 0:
            made += _give_back(order, of_one, -due, cause_id, now)
        for transfer in of_one:
            resolutions.tell_owed(transfer, now)
    for transfer in made:
        order.owe(transfer.id, transfer.seller_id, transfer.original, cause_id, now)
        if order.doubt is not None:
            transfer.hold_back(order.doubt, now)
    return made


def _give_back(
    order: Order, transfers: Sequence[SellerTransfer], excess: int, cause_id: str, now: datetime
) -> list[SellerTransfer]:
    excess = withdraw_unsent(transfers, excess, cause_id, now, only_own=True)
    excess -= sum(_contested(transfer, lambda cause: cause == cause_id) for transfer in transfers)
    excess -= resolutions.lapse(transfers, excess, {cause_id}, now)
    if excess <= 0:
        return []  # the outcomes of the open calls decide the rest
    made = _compensate(order, transfers, excess, cause_id, now)
    excess -= sum(transfer.original for transfer in made)
    # a reversal for another cause may have taken the rest: a cent of rounding, or an amount that a
    # dispute had covered
    excess = withdraw_unsent(transfers, excess, cause_id, now, only_own=False)
    excess -= sum(_contested(transfer, lambda cause: cause != cause_id) for transfer in transfers)
    excess -= resolutions.lapse_uncovered(transfers, excess, order.causes, now)
    if excess > 0:
        made.append(_compensation(order, transfers[-1], excess, cause_id, [*transfers, *made], now))
    return made


def withdraw_unsent(
    transfers: Sequence[SellerTransfer],
    excess: int,
    cause_id: str,
    now: datetime,
    *,
    only_own: bool,
) -> int:
    """Withdraw or lower reversals that were not sent, newest first. Returns the excess that is
    left.

    `only_own`: only reversals for this cause, of which one with an open call is contested.
    """
    for transfer in transfers:
        for reversal in reversed(list(transfer.reversals.values())):
            eligible = reversal.refund_id == cause_id or (
                not only_own and not transfer.is_open(reversal)
            )
            ours = reversal.refund_id is not None and reversal.reason != Reason.IMPORTED
            if excess > 0 and eligible and reversal.live and ours:
                excess -= transfer.withdraw(
                    transfer.reversals[reversal.reversal_id], excess, cause_id, now
                )
    return excess


def _contested(transfer: SellerTransfer, by: Callable[[str | None], bool]) -> int:
    """Return the amount that open calls for revoked causes may still take, and reversals that wait
    for their look-up."""
    reversals = [
        reversal
        for reversal in transfer.reversals.values()
        if reversal.contested and by(reversal.refund_id)
    ]
    undecided = (ReversalStatus.REQUESTED, ReversalStatus.QUEUED)
    return sum(reversal.amount for reversal in reversals if reversal.state in undecided)


def _compensate(
    order: Order, transfers: Sequence[SellerTransfer], excess: int, cause_id: str, now: datetime
) -> list[SellerTransfer]:
    """Return a compensating transfer for each transfer from which the revoked cause has really
    taken an amount."""
    made: list[SellerTransfer] = []
    for transfer in transfers:
        open_ = _contested(transfer, lambda cause: cause == cause_id)
        amount = min(
            excess,
            transfer.taken_for(cause_id) - open_ - _given_back(transfers, transfer, cause_id),
        )
        if amount > 0:
            made.append(_compensation(order, transfer, amount, cause_id, [*transfers, *made], now))
            excess -= amount
    return made


def _given_back(
    transfers: Sequence[SellerTransfer], taken_from: SellerTransfer, cause_id: str
) -> int:
    earlier = {compensation(taken_from.id, cause_id, n) for n in range(1, len(transfers) + 1)}
    return sum(transfer.original for transfer in transfers if transfer.cause in earlier)


def _compensation(
    order: Order,
    taken_from: SellerTransfer,
    amount: int,
    cause_id: str,
    existing: Sequence[SellerTransfer],
    now: datetime,
) -> SellerTransfer:
    causes = (compensation(taken_from.id, cause_id, n) for n in range(1, len(existing) + 2))
    known = {transfer.id for transfer in existing}
    cause = next(
        c for c in causes if transfer_stream(order.order_id, taken_from.seller_id, c) not in known
    )
    return SellerTransfer.create(
        order_id=order.order_id,
        seller_id=taken_from.seller_id,
        destination=order.moved.get(taken_from.seller_id, taken_from.destination),
        amount=amount,
        currency=taken_from.currency,
        cause=cause,
        now=now,
    )


def parts_of(order: Order, transfers: Iterable[SellerTransfer], cause_id: str) -> list[Part]:
    """Return the parts of one refund or dispute: per transfer, and per seller that has no transfer
    yet."""
    known = list(transfers)
    taken = [part for transfer in known for part in _parts_of_transfer(transfer, cause_id)]
    paid = {transfer.seller_id for transfer in known}
    if paid >= order.shares.keys():
        return taken
    unpaid = {
        seller: amount
        for seller, amount in order.parts_by_cause().get(cause_id, {}).items()
        if seller not in paid
    }
    return taken + [
        Part(seller_id=seller, amount=amount, transfer_id=None, reversal_id=None)
        for seller, amount in unpaid.items()
        if amount > 0
    ]


def _parts_of_transfer(transfer: SellerTransfer, cause_id: str) -> list[Part]:
    reversals = [
        c
        for c in transfer.reversals.values()
        if c.refund_id == cause_id and c.state is not ReversalStatus.WITHDRAWN
    ]
    reduced = transfer.reductions.get(cause_id, 0)
    made = [(reversal.amount, reversal.reversal_id) for reversal in reversals] + (
        [(reduced, None)] if reduced else []
    )
    return [
        Part(
            seller_id=transfer.seller_id,
            amount=amount,
            transfer_id=str(transfer.id),
            reversal_id=reversal_id,
        )
        for amount, reversal_id in made
    ]


def doubt(
    order: Order,
    transfers: Iterable[SellerTransfer],
    payment_id: str,
    source: str,
    detail: str,
    now: datetime,
    status: str = "failed",
) -> bool:
    """Record that the payment is doubted, and hold back the unsent transfers. Returns whether that
    is new.

    A second report of the same status does nothing: transfers that a person has released since stay
    released.
    """
    if status in order.doubted_as:
        return False
    known = list(transfers)
    unsent = [transfer for transfer in known if transfer.status in UNSENT]
    sent = sum(transfer.paid for transfer in known)
    order.record(
        PaymentDoubted(
            **order.next(now),
            payment_id=payment_id,
            source=source,
            detail=detail,
            held=len(unsent),
            sent=sent,
            status=status,
        )
    )
    for transfer in unsent:
        transfer.hold_back(detail, now)
    return True
