"""Split payments and split refunds of the PSP: money that Stripe has moved with the payment or the
refund itself. The ledger adopts the transfer or the reversal that exists, and sends none.

An order learns of such a movement by a fact of its own, before its payment or refund is recorded.
So in any order of reports the payment finds the transfer, and the refund its reversal.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from domain.currency import in_major_units
from domain.errors import Refused
from domain.identity import SALE
from domain.order.aggregate import Order
from domain.order.facts import ReversalMadeByRefund, TransferMadeByCharge
from domain.order.state import AllocatedRefund
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.external_reversals import external_id, record_external
from domain.seller_transfer.facts import ReversalAttributed
from domain.seller_transfer.reversal import Reason
from domain.seller_transfer.transfer_outcome import complete

ROUNDING = 1
"""Minor units by which Stripe's part of a refund may differ from the ledger's."""


class DoesNotFit(Refused):
    """A movement at Stripe fits no share, or no part of a refund: a person has to decide."""


class NotMadeYet(Refused):
    """Stripe does not show the reversal that a refund has announced, or it cannot be recorded
    yet."""


def learn_made_transfer(
    order: Order,
    transfers: Sequence[SellerTransfer],
    seen: TransferAtStripe,
    source: str,
    now: datetime,
) -> None:
    """Record the transfer that the charge has made, and adopt it if the sellers' transfers exist.

    Repeating this changes nothing. Raises DoesNotFit unless exactly one share fits.
    """
    known = {made.stripe_transfer_id for made in order.made_by_charge.values()}
    if seen.stripe_transfer_id not in known:
        fitting = [
            seller_id
            for seller_id, share in order.shares.items()
            if (share["destination"], share["amount"]) == (seen.destination, seen.amount)
            and order.share_currency(seller_id) == seen.currency
            and seller_id not in order.made_by_charge
        ]
        if len(fitting) != 1:
            raise DoesNotFit(
                f"{seen.stripe_transfer_id} pays {in_major_units(seen.amount, seen.currency)} to "
                f"{seen.destination}, which is the share of {len(fitting)} sellers of order "
                f"{order.order_id!r}; expected exactly one. Compare the split of the payment with "
                "the order's shares."
            )
        order.record(
            TransferMadeByCharge(
                **order.next(now),
                seller_id=fitting[0],
                stripe_transfer_id=seen.stripe_transfer_id,
                amount=seen.amount,
                source=source,
            )
        )
    adopt_made_transfers(order, transfers, now)


def adopt_made_transfers(order: Order, transfers: Iterable[SellerTransfer], now: datetime) -> None:
    """Record that Stripe holds the transfers that the charge has made.

    One that was sent as well is kept as evidence, with an alarm: the seller is paid twice.
    """
    for transfer in transfers:
        made = order.made_by_charge.get(transfer.seller_id)
        if made is not None and transfer.cause == SALE:
            note = "made by the buyer's payment itself"
            complete(transfer, made.stripe_transfer_id, made.amount, None, now, note)


def learn_made_reversal(
    order: Order,
    transfers: Sequence[SellerTransfer],
    refund_id: str,
    amount: int,
    explicit: dict[str, int] | None,
    seen: TransferAtStripe,
    source: str,
    now: datetime,
) -> None:
    """Record the reversal that a refund has made of a transfer of the charge. Repeating this
    changes nothing.

    Raises NotMadeYet while Stripe does not show it, or while a reversal of ours runs, and
    DoesNotFit for one of another amount.
    """
    transfer = next(t for t in transfers if t.stripe_transfer_id == seen.stripe_transfer_id)
    known = order.refunds.get(refund_id)
    learned = transfer.seller_id in order.reversed_by_refund.get(refund_id, {})
    if learned or (known is not None and known.effective):
        return
    if order.objection_to_refund(amount, order.currency, explicit) is not None:
        return  # the refund is set aside, and a person decides
    refunds = {**order.refunds, refund_id: AllocatedRefund(amount, explicit, True)}
    target = order.targets_for(refunds, order.disputes)[transfer.seller_id]
    of_one = [t for t in transfers if t.seller_id == transfer.seller_id]
    part = target - sum(t.taken - (0 if t.cause == SALE else t.original) for t in of_one)
    if part <= 0:
        return  # the part is taken, or was sent less, already
    made = _made_for(order, transfer, seen, part)
    record_external(transfer, seen, now, only=made.stripe_reversal_id)
    if external_id(transfer.id, made.stripe_reversal_id) not in transfer.reversals:
        # learned without its record, it would not count, and the part would be taken twice
        raise NotMadeYet(
            f"The refund has made {made.stripe_reversal_id} itself, and our transfer "
            f"{transfer.id} is {transfer.status}: its outcome comes first, then the refund is "
            "recorded."
        )
    order.record(
        ReversalMadeByRefund(
            **order.next(now),
            refund_id=refund_id,
            seller_id=transfer.seller_id,
            stripe_reversal_id=made.stripe_reversal_id,
            amount=made.amount,
            source=source,
        )
    )


def _made_for(
    order: Order, transfer: SellerTransfer, seen: TransferAtStripe, part: int
) -> ReversalAtStripe:
    claimed = {
        stripe_id for made in order.reversed_by_refund.values() for stripe_id in made.values()
    }
    free = [
        made
        for made in reversed(seen.reversals)
        if made.taken
        and made.reversal_id is None
        and made.stripe_reversal_id not in claimed
        and _unattributed(transfer, made)
    ]
    fitting = [made for made in free if abs(made.amount - part) <= ROUNDING]
    # one that names a refund at Stripe first
    chosen = min(fitting, key=lambda made: made.source_refund is None, default=None)
    if chosen is not None:
        return chosen
    name = seen.stripe_transfer_id
    if any(made.source_refund is not None for made in free):
        sizes = ", ".join(str(made.amount) for made in free)
        raise DoesNotFit(
            f"The refund reverses its part of {name} itself; Stripe shows reversals of {sizes}, "
            f"expected {part} (minor units). Compare the refund with Stripe's dashboard."
        )
    raise NotMadeYet(
        f"The refund reverses {part} (minor units) of {name} itself, and Stripe does not show "
        "that reversal yet; nothing is sent."
    )


def _unattributed(transfer: SellerTransfer, made: ReversalAtStripe) -> bool:
    known = transfer.reversals.get(external_id(transfer.id, made.stripe_reversal_id))
    recorded = {one.stripe_reversal_id for one in transfer.reversals.values()}
    return (known is not None and known.reason == Reason.EXTERNAL) or (
        made.stripe_reversal_id not in recorded
    )


def attribute_made_reversal(
    order: Order, transfers: Iterable[SellerTransfer], cause_id: str, due: int, now: datetime
) -> int:
    """Let the reversal that a refund itself has made count for the seller's part, but for its own
    amount if the part has become another since; return the amount that is not due any more."""
    for transfer in transfers:
        stripe_id = order.reversed_by_refund.get(cause_id, {}).get(transfer.seller_id)
        made = transfer.reversals.get(external_id(transfer.id, stripe_id)) if stripe_id else None
        if made is not None and made.reason == Reason.EXTERNAL and due > 0:
            part = due if abs(made.amount - due) <= ROUNDING else made.amount
            transfer.record(
                ReversalAttributed(
                    **transfer.next(now),
                    reversal_id=made.reversal_id,
                    refund_id=cause_id,
                    amount=part,
                )
            )
            return part
    return 0
