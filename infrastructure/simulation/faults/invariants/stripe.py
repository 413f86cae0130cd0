"""Safety at Stripe: invariants of transfers, reversals and requests that hold after every step."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infrastructure.simulation.faults.books import HeldReversal, HeldTransfer, StripeRequest
from infrastructure.simulation.faults.invariants.arithmetic import remaining
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.glance import Glance
from infrastructure.simulation.faults.invariants.told import Told, ToldOrder
from infrastructure.simulation.faults.invariants.world import World, claims

Json = Mapping[str, Any]
OVER = ("failed", "canceled")
"""Statuses of reversals that move no money and never will."""


def moved(transfer: HeldTransfer) -> list[HeldReversal]:
    """Return the reversals of a transfer that have moved money."""
    return [one for one in transfer.reversals if one.status in (None, "succeeded")]


def ours(transfer: HeldTransfer, told: Told) -> bool:
    """Return whether the ledger made a transfer, or has recorded it as its own."""
    return "transfer_id" in transfer.metadata or any(
        one.stripe_id == transfer.id for one in told.transfers.values()
    )


def broken_at_stripe(books: Glance, told: Told, world: World) -> Iterator[str]:
    """Yield the invariants that Stripe's books break now."""
    held = [one for one in books.transfers if ours(one, told)]
    yield from _one_transfer_per_cause(held, told)
    for transfer in held:
        yield from _one_reversal_per_cause(transfer, books, told, world)
        yield from _adds_up(transfer)
        yield from _caused(transfer, told, world)
    yield from _sellers(held, told, world)
    for order in told.orders.values():
        yield from _shares(books, held, order, told, world)


def _one_transfer_per_cause(held: Sequence[HeldTransfer], told: Told) -> Iterator[str]:
    by_name = defaultdict[tuple[str, ...], list[str]](list)
    for transfer in held:
        named = transfer.metadata
        by_name[("transfer", named.get("transfer_id", transfer.id))].append(transfer.id)
        if "compensates" not in named and "order_id" in named:
            sale = "sale", named["order_id"], named.get("seller_id", transfer.destination)
            by_name[sale].append(transfer.id)
    for name, ids in by_name.items():
        if len(ids) > 1:
            yield broken(
                "one_transfer_per_cause",
                f"Stripe holds {len(ids)} transfers for {' '.join(name)}, expected 1: "
                f"{', '.join(ids)}",
            )


def _one_reversal_per_cause(
    transfer: HeldTransfer, books: Glance, told: Told, world: World
) -> Iterator[str]:
    by_id, by_cause = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for reversal in transfer.reversals:
        if reversal.status in OVER:
            continue
        if "reversal_id" in reversal.metadata:
            by_id[reversal.metadata["reversal_id"]].append(reversal.id)
        if "refund_id" in reversal.metadata:
            by_cause[reversal.metadata["refund_id"]].append(reversal.id)
    for name, ids in by_id.items():
        if len(ids) > 1:
            yield broken(
                "one_reversal_per_cause",
                f"Stripe holds {len(ids)} reversals {name} of {transfer.id}, expected 1: "
                f"{', '.join(ids)}",
            )
    for cause, ids in by_cause.items():
        rounds = world.ever(told, cause) + _rounded_anew(transfer, cause, books, told, world)
        if len(ids) > max(1, rounds) and not cause.startswith("dispute "):
            yield broken(
                "one_reversal_per_cause",
                f"Stripe holds {len(ids)} reversals of {transfer.id} for {cause}, which succeeded "
                f"{rounds} times: {', '.join(ids)}",
            )


def _rounded_anew(
    transfer: HeldTransfer, cause: str, books: Glance, told: Told, world: World
) -> int:
    """Return how many more reversals a refund may have after a restore that lost it: it is reported
    again in another order, and its part can be a unit larger than the one that was taken."""
    order = told.orders.get(transfer.metadata.get("order_id", ""))
    taken = sum(one.amount for one in moved(transfer) if one.metadata.get("refund_id") == cause)
    if order is None or not books.era:
        return 0
    share, names = order.share(transfer.metadata["seller_id"]), {cause, *told.names_of(cause)}
    largest = sum(
        -(-share * one.amount // order.amount)
        for one in claims(books, told, order, ever=world)
        if one.cause in names and one.explicit is None
    )
    return books.era * (taken <= largest)


def _adds_up(transfer: HeldTransfer) -> Iterator[str]:
    total = sum(reversal.amount for reversal in moved(transfer))
    if transfer.amount_reversed > transfer.amount or total != transfer.amount_reversed:
        yield broken(
            "reversed_never_exceeds_sent",
            f"{transfer.id} over {transfer.amount}: {transfer.amount_reversed} is reversed, and "
            f"its reversals sum to {total}",
        )


def _caused(transfer: HeldTransfer, told: Told, world: World) -> Iterator[str]:
    """Check that each reversal of ours was made for a refund that succeeded, or a dispute that was
    lost."""
    for reversal in transfer.reversals:
        cause = reversal.metadata.get("refund_id")
        if "reversal_id" not in reversal.metadata or cause is None:
            continue
        if not world.ever(told, cause):
            yield broken(
                "no_reversal_without_cause",
                f"{reversal.id} of {transfer.id} took {reversal.amount} for {cause}, which never "
                f"succeeded and was never lost",
            )


def _sellers(held: Sequence[HeldTransfer], told: Told, world: World) -> Iterator[str]:
    for transfer in held:
        order = told.orders.get(transfer.metadata.get("order_id", ""))
        if order is None:
            continue  # a restore has taken the order away
        seller = transfer.metadata.get("seller_id", "")
        share = order.shares.get(seller)
        accounts = told.moved.get(seller, set()) | ({share["destination"]} if share else set())
        if share is None or transfer.destination not in accounts:
            yield broken(
                "only_sellers_are_paid",
                f"{transfer.id} pays {transfer.amount} to {transfer.destination}, expected "
                f"an account of a seller of order {order.order_id}: {sorted(accounts)}",
            )
        elif transfer.currency.upper() != share.get("currency", order.currency):
            yield broken(
                "only_sellers_are_paid",
                f"{transfer.id} of order {order.order_id} pays in {transfer.currency}",
            )
        if order.order_id not in world.paid:
            yield broken(
                "nothing_is_sent_before_the_payment",
                f"{transfer.id} pays {transfer.amount} to {seller} for order {order.order_id}, "
                f"which is not paid",
            )


def _shares(
    books: Glance, held: Sequence[HeldTransfer], order: ToldOrder, told: Told, world: World
) -> Iterator[str]:
    """Check the bounds of each seller: never more than the share, and never less than all refunds
    and disputes that were ever effective leave of it.

    A refund that failed after another one may give back a unit of rounding before the other one's
    reversal has taken it: one minor unit for each such refund. The end is judged to the unit."""
    ever = claims(books, told, order, ever=world)
    failed = len(ever) - len(claims(books, told, order))
    shares = {seller: order.share(seller) for seller in order.shares}
    keeps = remaining(shares, order.amount, ever)
    for seller, share in shares.items():
        theirs = [one for one in held if one.metadata.get("order_id") == order.order_id
                  and one.metadata.get("seller_id") == seller]  # fmt: skip
        net = sum(one.amount - one.amount_reversed for one in theirs)
        if net > share + min(failed, max(0, len(ever) - 1)):
            yield broken(
                "no_seller_gets_more_than_the_share",
                f"order {order.order_id}: seller {seller} has {net} at Stripe of a share of "
                f"{share}",
            )
        if any(claim.explicit for claim in ever):
            continue  # the bound below holds for proportional claims only
        by_us = sum(reversal.amount for one in theirs for reversal in moved(one)
                    if "reversal_id" in reversal.metadata)  # fmt: skip
        back = sum(one.amount for one in theirs if "compensates" in one.metadata)
        if by_us - back > share - keeps[seller]:
            yield broken(
                "no_more_is_taken_than_the_causes",
                f"order {order.order_id}: {by_us} was taken from seller {seller} and {back} given "
                f"back, expected at most {share - keeps[seller]} for {len(ever)} causes",
            )


# --- requests -------------------------------------------------------------------------------------


class RequestLog:
    """Checks of the requests, each looked at once."""

    def __init__(self) -> None:
        self._seen = 0
        self._bodies: dict[str, list[tuple[str, Json]]] = {}
        self._made_under: dict[str, str] = {}
        """The key under which Stripe has made each object of ours, by our id."""

    def broken(self, books: Glance, world: World) -> Iterator[str]:
        """Yield the invariants that the new requests break."""
        for request in books.requests[self._seen :]:
            if "/transfers" in request.path:
                yield from self._one(request, world, books)
        self._seen = len(books.requests)

    def _one(self, request: StripeRequest, world: World, books: Glance) -> Iterator[str]:
        key, amount = request.key or "", request.form.get("amount")
        if not key:
            yield broken(
                "every_call_has_a_key",
                f"request {request.number} to {request.path} has no idempotency key",
            )
            return
        repeated = key in self._bodies
        bodies = self._bodies.setdefault(key, [])
        if (request.path, request.form) not in bodies:
            bodies.append((request.path, request.form))
        # a restored ledger may use a first key again, which Stripe then recognises
        if len(bodies) > 1 + books.era:
            yield broken(
                "one_body_per_key",
                f"request {request.number} is the first of another body under key {key}: {bodies}",
            )
        yield from self._made_already(request, key, books, repeated=repeated)
        intents = [str(body["amount"]) for body in world.intents.get(key, ())]
        if amount not in intents:
            yield broken(
                "intent_precedes_call",
                f"request {request.number} under key {key} is over {amount}, and its stored "
                f"intents are over {intents}",
            )

    def _made_already(
        self, request: StripeRequest, key: str, books: Glance, *, repeated: bool
    ) -> Iterator[str]:
        """Check that no other key is used for an object that Stripe has made: a look-up would have
        found it. A reversal that was pending and has failed since is asked for anew. To a repeated
        key Stripe repeats its answer, so a process that was frozen may send it late."""
        form = request.form
        name = form.get("metadata[reversal_id]") or form.get("metadata[transfer_id]", "")
        known = self._made_under.get(name, key)
        if name and known != key and not repeated:
            if _has_failed(name, books):
                del self._made_under[name]
            else:
                yield broken(
                    "no_new_key_after_success",
                    f"request {request.number} asks for {name} under key {key}, and Stripe has "
                    f"made it under {known}",
                )
        if 200 <= request.status < 300:
            self._made_under.setdefault(name, key)


def _has_failed(reversal_id: str, books: Glance) -> bool:
    """Return whether a reversal of ours has failed at Stripe."""
    return any(
        reversal.metadata.get("reversal_id") == reversal_id and reversal.status in OVER
        for transfer in books.transfers
        for reversal in transfer.reversals
    )
