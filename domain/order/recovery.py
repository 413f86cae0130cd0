"""What is due is computed now: an order's effective refunds and disputes against what its transfers have taken so far.

One rule for every cause and every moment: `due = target(what is effective) - (taken and reduced - given back)`. Above zero
it is taken from the seller's transfers of the order, newest first; below zero it is given back: what was not sent is
withdrawn, an open call is awaited, and what was really taken too much comes back by a transfer of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from domain.errors import ImportDiffers
from domain.identity import SALE, compensation, transfer_stream
from domain.order.aggregate import Order
from domain.order.facts import PaymentDoubted
from domain.refund.state import Part
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal import Reason, ReversalStatus
from domain.seller_transfer.state import UNSENT


def pay_sellers(order: Order, now: datetime, taken_over: Sequence[SellerTransfer] = ()) -> list[SellerTransfer]:
    """The transfers of an order that was just paid, less what refunds have made unnecessary already.

    `taken_over` are those that an older system has made for it: then they are its transfers, as they stand, and none is
    made. Raises ImportDiffers unless its shares are just those.
    """
    require_fit(order, taken_over)
    transfers = list(taken_over) or [_sale(order, seller_id, now) for seller_id in order.shares]
    for cause_id in order.causes:
        _take_back_step(order, transfers, cause_id, now)
    return transfers


def require_fit(order: Order, taken_over: Sequence[SellerTransfer]) -> None:
    """An order whose sellers an older system was to pay has just its transfers as shares. Raises ImportDiffers."""
    if not taken_over:
        return
    there = {t.seller_id: _told(t.original, t.currency, t.destination) for t in taken_over}
    here = {
        seller_id: _told(share["amount"], order.share_currency(seller_id), share["destination"])
        for seller_id, share in order.shares.items()
    }
    differing = sorted(seller for seller in there.keys() | here.keys() if there.get(seller) != here.get(seller))
    if differing:
        first, nothing = differing[0], "no transfer"
        raise ImportDiffers(order.order_id, first, there.get(first, nothing), here.get(first, "no share"))


def _told(amount: int, currency: str, destination: str) -> str:
    return f"{amount} {currency} to {destination}"


def _sale(order: Order, seller_id: str, now: datetime) -> SellerTransfer:
    share = order.shares[seller_id]
    transfer = SellerTransfer.create(
        order_id=order.order_id,
        seller_id=seller_id,
        destination=share["destination"],
        amount=share["amount"],
        currency=order.share_currency(seller_id),
        source_transaction=order.source_transaction,
        now=now,
    )
    transfer.unverified = order.unverified
    return transfer


def _take_back_step(order: Order, transfers: Sequence[SellerTransfer], cause_id: str, now: datetime) -> None:
    """Of what is due, what this cause's place in the order's history is the cause of."""
    goals = order.targets_through(cause_id)
    for seller_id, goal in goals.items():
        theirs = of_seller(transfers, seller_id)
        debit(theirs, goal - _taken_before(order, theirs, cause_id) - net_taken(theirs), cause_id, now)


def of_seller(transfers: Iterable[SellerTransfer], seller_id: str) -> list[SellerTransfer]:
    """A seller's transfers, newest first."""
    theirs = [transfer for transfer in transfers if transfer.seller_id == seller_id]
    return sorted(theirs, key=lambda transfer: (transfer.created_on, transfer.cause != SALE, str(transfer.id)), reverse=True)


def net_taken(transfers: Iterable[SellerTransfer]) -> int:
    """What has been or will be taken from a seller for one order, less what has been or will be given back."""
    return sum(transfer.taken - (0 if transfer.cause == SALE else transfer.original) for transfer in transfers)


def _taken_before(order: Order, transfers: Sequence[SellerTransfer], through: str | None = None) -> int:
    """What refunds claim of this seller for which an older system has reversed, or will: that stands for them, however much
    it was. `through`: only causes up to and with this one."""
    names = order.causes
    names = names if through is None else names[: names.index(through) + 1]
    before = {name for transfer in transfers for name in transfer.refunds_before}
    return sum(order.steps_of(name)[transfers[0].seller_id] for name in names if name in before)


def debit(transfers: Sequence[SellerTransfer], due: int, cause_id: str, now: datetime) -> None:
    """Take `due` from these transfers in turn, as far as each has room; what others took at Stripe leaves less room."""
    for transfer in transfers:
        amount = min(due, transfer.room)
        if amount > 0:
            transfer.take_back(cause_id, amount, now)
            due -= amount


def recover_shares(order: Order, transfers: Sequence[SellerTransfer], cause_id: str, now: datetime) -> list[SellerTransfer]:
    """Bring every seller's transfers in line with what is effective now; answers the compensating transfers it made."""
    made: list[SellerTransfer] = []
    for seller_id, goal in order.targets().items():
        theirs = of_seller(transfers, seller_id)
        if not theirs:
            continue  # not paid yet: `pay_sellers` will reckon with it
        due = goal - _taken_before(order, theirs) - net_taken(theirs)
        if due > 0:
            debit(theirs, due, cause_id, now)
        elif due < 0:
            made += _give_back(order, theirs, -due, cause_id, now)
    for transfer in made:
        order.owe(transfer.id, transfer.seller_id, transfer.original, cause_id, now)
        if order.doubt is not None:
            transfer.hold_back(order.doubt, now)
    return made


def _give_back(
    order: Order, transfers: Sequence[SellerTransfer], excess: int, cause_id: str, now: datetime
) -> list[SellerTransfer]:
    excess = _withdraw(transfers, excess, cause_id, now, only_own=True)
    excess -= sum(_contested(transfer, lambda cause: cause == cause_id) for transfer in transfers)
    if excess <= 0:
        return []  # what is open decides the rest when its outcome is known
    made = _compensate(order, transfers, excess, cause_id, now)
    excess -= sum(transfer.original for transfer in made)
    # another cause's claim may have taken it: a cent of rounding, or what a dispute had covered
    excess = _withdraw(transfers, excess, cause_id, now, only_own=False)
    excess -= sum(_contested(transfer, lambda cause: cause != cause_id) for transfer in transfers)
    if excess > 0:
        made.append(_compensation(order, transfers[-1], excess, cause_id, [*transfers, *made], now))
    return made


def _withdraw(transfers: Sequence[SellerTransfer], excess: int, cause_id: str, now: datetime, *, only_own: bool) -> int:
    """Withdraw or lower claims that were not sent, newest first; answers what is still too much."""
    for transfer in transfers:
        for reversal in reversed(list(transfer.reversals.values())):
            mine = reversal.refund_id == cause_id or (not only_own and not transfer.is_open(reversal))
            ours = reversal.refund_id is not None and reversal.reason != Reason.IMPORTED
            if excess > 0 and mine and reversal.live and ours:
                excess -= transfer.withdraw(transfer.reversals[reversal.reversal_id], excess, cause_id, now)
    return excess


def _contested(transfer: SellerTransfer, by: Callable[[str | None], bool]) -> int:
    """What calls that are open, and whose causes vanished, may still take: their outcomes decide what becomes of it."""
    reversals = [c for c in transfer.reversals.values() if c.contested and by(c.refund_id)]
    return sum(reversal.amount for reversal in reversals if reversal.state is ReversalStatus.REQUESTED)


def _compensate(
    order: Order, transfers: Sequence[SellerTransfer], excess: int, cause_id: str, now: datetime
) -> list[SellerTransfer]:
    """One transfer back for each from which the vanished cause really took something."""
    made: list[SellerTransfer] = []
    for transfer in transfers:
        open_ = _contested(transfer, lambda cause: cause == cause_id)
        amount = min(excess, transfer.taken_for(cause_id) - open_ - _given_back(transfers, transfer, cause_id))
        if amount > 0:
            made.append(_compensation(order, transfer, amount, cause_id, [*transfers, *made], now))
            excess -= amount
    return made


def _given_back(transfers: Sequence[SellerTransfer], taken_from: SellerTransfer, cause_id: str) -> int:
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
    cause = next(c for c in causes if transfer_stream(order.order_id, taken_from.seller_id, c) not in known)
    return SellerTransfer.create(
        order_id=order.order_id,
        seller_id=taken_from.seller_id,
        destination=taken_from.destination,
        amount=amount,
        currency=taken_from.currency,
        cause=cause,
        now=now,
    )


def parts_of(order: Order, transfers: Iterable[SellerTransfer], cause_id: str) -> list[Part]:
    """How one refund or dispute is divided: per seller, and per transfer where there is one."""
    known = list(transfers)
    parts = [part for transfer in known for part in _parts(transfer, cause_id)]
    named = {part["seller_id"] for part in parts}
    steps = order.steps_of(cause_id)
    waiting = [s for s in steps if steps[s] > 0 and s not in named and not of_seller(known, s)]
    return parts + [Part(seller_id=s, amount=steps[s], transfer_id=None, reversal_id=None) for s in waiting]


def _parts(transfer: SellerTransfer, cause_id: str) -> list[Part]:
    reversals = [c for c in transfer.reversals.values() if c.refund_id == cause_id and c.state is not ReversalStatus.WITHDRAWN]
    reduced = transfer.reductions.get(cause_id, 0)
    made = [(reversal.amount, reversal.reversal_id) for reversal in reversals] + ([(reduced, None)] if reduced else [])
    return [
        Part(seller_id=transfer.seller_id, amount=amount, transfer_id=str(transfer.id), reversal_id=reversal_id)
        for amount, reversal_id in made
    ]


def doubt(order: "Order", transfers: Iterable[SellerTransfer], payment_id: str, source: str, detail: str, now: datetime) -> bool:
    """Hold back what is unsent; answers whether that is news. What a person has released since stays released."""
    if order.doubt is not None:
        return False
    known = list(transfers)
    unsent = [transfer for transfer in known if transfer.status in UNSENT]
    sent = sum(transfer.paid for transfer in known)
    order.record(
        PaymentDoubted(**order.next(now), payment_id=payment_id, source=source, detail=detail, held=len(unsent), sent=sent)
    )
    for transfer in unsent:
        transfer.hold_back(detail, now)
    return True
