"""Liveness: after the healing each seller has exactly the due amount, or a row waits for something
that is true."""

from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure.simulation.faults.books import HeldTransfer
from infrastructure.simulation.faults.invariants.arithmetic import remaining
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.faults.invariants.glance import Glance
from infrastructure.simulation.faults.invariants.statuses import UNSETTLED
from infrastructure.simulation.faults.invariants.stripe import moved
from infrastructure.simulation.faults.invariants.told import Told, ToldOrder
from infrastructure.simulation.faults.invariants.world import World, claims, payments_of

Json = Mapping[str, Any]
OVERDUE = 3_600.0
"""Seconds after its due time from which on a row counts as forgotten."""
FOR_A_PERSON = (
    "permanently_failed", "refund_missing", "refund_set_aside", "dispute_set_aside", "held_back",
    "awaiting_funds", "on_hold", "evidence_held", "resolution_lapsed", "reversal_undecided",
    "dispute_disagrees", "refund_disagrees", "payment_disagrees", "payment_failed_after_paid",
)  # fmt: skip
"""Alarms that explain why a seller has another amount than is due."""


def unsettled(books: Glance, told: Told, world: World) -> Iterator[str]:
    """Yield all that is not settled, and waits for nothing that is true."""
    alarms = _alarms(books)
    rows = {str(row["transfer_id"]): row for row in books.rows("seller_transfers")}
    for order in told.orders.values():
        yield from _of_order(order, books, told, world, rows, alarms)
    for row in rows.values():
        if row["status"] in UNSETTLED:
            yield from _waits(row, books, told, world, alarms)
    yield from _queued(books, rows, alarms)
    yield from _refunds(books, told, alarms)


def _alarms(books: Glance) -> dict[str, set[str]]:
    """Return the kinds of the open alarms by subject."""
    open_: dict[str, set[str]] = {}
    for row in books.rows("alarms"):
        if row.get("cleared_at") is None:
            open_.setdefault(str(row["subject"]), set()).add(str(row["kind"]))
    return open_


def _of_order(
    order: ToldOrder,
    books: Glance,
    told: Told,
    world: World,
    rows: Mapping[str, Json],
    alarms: Mapping[str, set[str]],
) -> Iterator[str]:
    collected = max((one.amount_received for one in payments_of(books, order)), default=0)
    effective = claims(books, told, order)
    shares = {seller: order.share(seller) for seller in order.shares}
    paid = order.order_id in world.paid
    due = remaining(shares, max(collected, order.amount), effective) if paid else {}
    for seller in shares:
        held = [one for one in books.transfers if one.metadata.get("order_id") == order.order_id
                and one.metadata.get("seller_id") == seller]  # fmt: skip
        net = sum(one.amount - one.amount_reversed for one in held)
        expected = due.get(seller, 0)
        if expected - _by_others(held) <= net <= expected:
            continue
        share = order.order_id, seller
        of_seller = [row for row in rows.values() if (row["order_id"], row["seller_id"]) == share]
        if not _explained(order, of_seller, told, alarms):
            yield broken(
                "each_seller_has_exactly_the_due_amount",
                f"order {order.order_id}: seller {seller} has {net} at Stripe, expected {expected} "
                f"of a share of {shares[seller]} after {_told(effective)} of {collected}; rows: "
                f"{[(row['status'], row['amount'], row['amount_reversed']) for row in of_seller]}",
            )


def _told(effective: list[Any]) -> str:
    return ", ".join(f"{claim.cause} {claim.amount}" for claim in effective) or "no refund"


def _by_others(held: list[HeldTransfer]) -> int:
    """Return the amount of the reversals that were made in Stripe's dashboard."""
    return sum(
        reversal.amount
        for transfer in held
        for reversal in moved(transfer)
        if "reversal_id" not in reversal.metadata
    )


def _explained(
    order: ToldOrder, rows: list[Json], told: Told, alarms: Mapping[str, set[str]]
) -> bool:
    """Return whether an unsettled row, or an alarm for a person, names the reason."""
    if any(row["status"] in UNSETTLED for row in rows):
        return True  # `_waits` judges it
    subjects = [str(row["transfer_id"]) for row in rows] + [order.stream]
    subjects += [stream for stream, one in told.refunds.items() if one.order_id == order.order_id]
    subjects += [stream for stream, one in told.disputes.items() if one.order_id == order.order_id]
    kinds = set[str]().union(*(alarms.get(subject, set()) for subject in subjects))
    resolved = any(told.transfers[str(row["transfer_id"])].resolved for row in rows
                   if str(row["transfer_id"]) in told.transfers)  # fmt: skip
    return resolved or bool(kinds & set(FOR_A_PERSON))


def _waits(
    row: Json, books: Glance, told: Told, world: World, alarms: Mapping[str, set[str]]
) -> Iterator[str]:
    named = f"transfer {row['transfer_id']} of order {row['order_id']} is {row['status']}"
    due, waits = row["next_retry_at"], row["waiting_for"]
    if due is not None and due < books.now - OVERDUE:
        yield broken("due_work_is_done", f"{named} and was due {books.now - due:.0f} s ago: "
                     f"{row['last_error']}")  # fmt: skip
    elif waits is None:
        yield broken("everything_ends", f"{named}, is still tried after the healing, and waits for "
                     f"nothing: {row['last_error']}")  # fmt: skip
    elif not _is_true(row, books, told, world, alarms):
        yield broken("waits_are_true", f"{named} and waits for {waits}, which is not so: "
                     f"{row['last_error']}")  # fmt: skip


def _is_true(
    row: Json, books: Glance, told: Told, world: World, alarms: Mapping[str, set[str]]
) -> bool:
    transfer, currency = told.transfers[str(row["transfer_id"])], str(row["currency"]).lower()
    requested = [one.amount for one in transfer.reversals.values() if one.state == "requested"]
    match row["waiting_for"]:
        case "funds" if row["status"] == "reversal_pending":
            has = books.available.get(str(row["destination"]), {}).get(currency, 0)
            return has < max(requested, default=0)
        case "funds":
            has = books.available.get("platform", {}).get(currency, 0)
            return has < int(row["amount"])
        case "stripe":
            return any(
                reversal.status == "pending"
                for one in books.transfers
                if one.id == row["stripe_transfer_id"]
                for reversal in one.reversals
            )
        case "payment":
            order = told.orders.get(str(row["order_id"]))
            theirs = payments_of(books, order) if order is not None else []
            return any(one.id in world.failed_payments for one in theirs)
        case "charge":
            return any(str(one["order_id"]) == row["order_id"] and one["next_retry_at"] is not None
                       for one in books.rows("orders"))  # fmt: skip
        case _:
            return bool(alarms.get(str(row["transfer_id"])))


def _queued(
    books: Glance, rows: Mapping[str, Json], alarms: Mapping[str, set[str]]
) -> Iterator[str]:
    """Check that a queued reversal waits for something that is still to come."""
    all_ = list(books.rows("transfer_reversals"))
    running = {str(one["transfer_id"]) for one in all_ if one["status"] == "requested"}
    for one in all_:
        if one["status"] != "queued":
            continue
        name = str(one["transfer_id"])
        true = {
            "transfer": rows[name]["status"] in ("pending", "failed"),
            "reversal": name in running,
            "operator": bool(alarms.get(name)),
        }.get(str(one["waiting_for"]), False)
        if not true:
            yield broken(
                "waits_are_true",
                f"reversal {one['reversal_id']} of transfer {name} is queued and waits for "
                f"{one['waiting_for']}, which is not to come",
            )


def _refunds(books: Glance, told: Told, alarms: Mapping[str, set[str]]) -> Iterator[str]:
    """Check that the ledger knows each refund that has ended at the PSP, with its end."""
    payments = {one.id: order for order in told.orders.values()
                for one in payments_of(books, order)}  # fmt: skip
    for refund in books.refunds:
        order = payments.get(refund.payment_id)
        if order is None or not order.paid or refund.status not in ("succeeded", "failed"):
            continue
        known = {stream: one for stream, one in told.refunds.items() if refund.id in one.names}
        if not known and refund.status == "failed":
            continue  # nothing was taken for it
        if not any(one.status == refund.status for one in known.values()) and not any(
            alarms.get(stream) for stream in known
        ):
            yield broken(
                "each_refund_is_known",
                f"refund {refund.id} over {refund.amount} of order {order.order_id} has "
                f"{refund.status} at the PSP, the ledger has {[o.status for o in known.values()]}",
            )
