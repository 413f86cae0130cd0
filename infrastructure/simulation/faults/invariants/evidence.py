"""Evidence of facts: each recorded outcome and each recorded report is true at a provider."""

from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure.simulation.faults.books import HeldReversal, HeldTransfer, StoredFactView
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.glance import Glance
from infrastructure.simulation.faults.invariants.stripe import moved
from infrastructure.simulation.faults.invariants.told import Told, ToldTransfer
from infrastructure.simulation.faults.invariants.world import DISPUTE, World

Json = Mapping[str, Any]
GIVEN_UP = ("exhausted", "rejected", "funds_deadline")
"""Reasons of a permanent failure that claim that Stripe has not done it."""
TOPIC = "ledger.seller_transfer."


def without_evidence(one: StoredFactView, books: Glance, told: Told, world: World) -> Iterator[str]:
    """Yield what a new fact claims and no provider shows."""
    fact = one.fact
    transfer = told.transfers.get(one.stream_id)
    if transfer is not None:
        yield from _of_transfer(one.topic.removeprefix(TOPIC), fact, transfer, books)
    elif one.topic == "ledger.order.paid" and fact["source"] != "api":
        order = next((o for o in told.orders.values() if o.stream == one.stream_id), None)
        if order is not None and order.order_id not in world.paid:
            yield broken(
                "reports_are_true",
                f"order {order.order_id} is recorded as paid by {fact['source']}, but no payment "
                f"has collected {order.amount} {order.currency}",
            )
    elif one.topic == "ledger.order.refund_allocated":
        yield from _effective(fact["refund_id"], "refund", told, world)
    elif one.topic == "ledger.order.dispute_counted":
        yield from _effective(DISPUTE + fact["dispute_id"], "dispute", told, world)


def _effective(cause: str, kind: str, told: Told, world: World) -> Iterator[str]:
    settled_elsewhere = any(
        cause in one.names and one.origin == "settled" for one in told.refunds.values()
    )
    if not settled_elsewhere and not world.ever(told, cause):
        yield broken(
            "reports_are_true",
            f"{kind} {cause} is recorded as effective, but the PSP has never shown it so",
        )


def _of_transfer(name: str, fact: Json, transfer: ToldTransfer, books: Glance) -> Iterator[str]:
    match name:
        case "completed":
            yield from _completed(fact, transfer, books)
        case "partially_reversed" | "reversed" if fact["stripe_reversal_id"]:
            yield from _reversed(fact, transfer, books)
        case "cancelled":
            yield from _absent(transfer, books, "cancelled")
        case "permanently_failed" if fact["reason"] in GIVEN_UP:
            yield from _absent(transfer, books, f"given up ({fact['reason']})")


def _completed(fact: Json, transfer: ToldTransfer, books: Glance) -> Iterator[str]:
    held = _held(books, fact["stripe_transfer_id"])
    found = held and (held.amount, held.destination, held.currency.upper())
    expected = fact["amount"], transfer.destination, transfer.currency
    if found != expected:
        yield broken(
            "outcomes_have_evidence",
            f"transfer {transfer.id} is recorded as completed by {fact['stripe_transfer_id']} over "
            f"{expected}, Stripe holds {found}",
        )


def _reversed(fact: Json, transfer: ToldTransfer, books: Glance) -> Iterator[str]:
    held = _held(books, transfer.stripe_id or "")
    made = _reversal(held, fact["stripe_reversal_id"])
    if made is None or (fact["settled_by"] == "us" and made.amount != fact["amount"]):
        yield broken(
            "outcomes_have_evidence",
            f"reversal {fact['reversal_id']} of transfer {transfer.id} is recorded as "
            f"{fact['stripe_reversal_id']} over {fact['amount']}, Stripe holds "
            f"{made and made.amount}",
        )


def _absent(transfer: ToldTransfer, books: Glance, ended: str) -> Iterator[str]:
    """Check that Stripe does not hold the operation that ended without an outcome."""
    for held in books.transfers:
        if held.metadata.get("transfer_id") == transfer.id and transfer.stripe_id is None:
            yield broken(
                "unknown_is_not_failed",
                f"transfer {transfer.id} is {ended}, but Stripe holds it as {held.id}",
            )
        for reversal in moved(held):
            known = transfer.reversals.get(reversal.metadata.get("reversal_id", ""))
            if known is not None and known.state == "requested":
                yield broken(
                    "unknown_is_not_failed",
                    f"a reversal of transfer {transfer.id} is {ended}, but Stripe holds it as "
                    f"{reversal.id}",
                )


def _held(books: Glance, stripe_id: str) -> HeldTransfer | None:
    return next((one for one in books.transfers if one.id == stripe_id), None)


def _reversal(held: HeldTransfer | None, stripe_id: str) -> HeldReversal | None:
    made = moved(held) if held is not None else []
    return next((one for one in made if one.id == stripe_id), None)
