"""Comparison of Stripe's books with the facts and the rows, for the end of every scenario.

The expected amount of each seller is computed from the order and its refunds, not by the ledger's
code.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from domain.currency import from_stripe
from domain.fact import Fact, Stream
from domain.identity import DISPUTE, SALE
from domain.provider_call.operation import TRANSFER
from domain.seller_transfer.aggregate import SellerTransfer
from infrastructure.postgres.event_store import RecordedFact
from infrastructure.postgres.integrity.hash_chain import breaks
from infrastructure.postgres.ledger import FactCodec, replayed
from infrastructure.simulation.in_memory.constraints import KINDS
from projections.disputes import DisputeRow
from projections.findings import FindingRow
from projections.orders import OrderRow
from projections.pauses import PauseRow
from projections.payouts import PayoutRow
from projections.refunds import RefundRow
from projections.registry import Fold, fold
from projections.seller_transfers import SellerTransferRow
from projections.transfer_and_reversals import TransferFold

Json = dict[str, Any]
AnyRow = Any
"""A row of any read model."""
OURS = len(str(UUID(int=0)))
"""Only what is as long as our ids can name a transfer of ours."""
UNSETTLED = ("pending", "failed", "reversal_pending")


class Snapshot(NamedTuple):
    """The database at one instant."""

    recorded: Sequence[RecordedFact]
    rows: Mapping[str, Sequence[AnyRow]]
    inbox: Mapping[str, int]


class Refolded(NamedTuple):
    """Streams and rows folded from the facts alone."""

    streams: Mapping[UUID, Stream]
    folds: Mapping[UUID, Fold]

    @property
    def transfers(self) -> list[tuple[SellerTransfer, TransferFold]]:
        pairs = ((self.streams[key], folded) for key, folded in self.folds.items())
        return [
            (s, folded)
            for s, folded in pairs
            if isinstance(s, SellerTransfer) and isinstance(folded, TransferFold)
        ]


def compared(
    snapshot: Snapshot, held: Sequence[Json], violations: Sequence[str], *, restored: bool = False
) -> list[str]:
    """Compare books that were read already. `held`: every transfer that Stripe holds. `restored`: a
    refund that was lost and reported again may have taken the rest of its part."""
    broken = [
        f"chain: position {found.position} {found.what}" for found in breaks(snapshot.recorded)
    ]
    if broken:
        return broken  # nothing can be told from facts that are not what they were
    facts = _refolded(snapshot.recorded)
    held = [_as_the_ledger_counts(theirs) for theirs in held]
    return [
        *violations,
        *_rows_against_facts(snapshot.rows, facts.folds),
        *_stripe_against_facts(held, facts),
        *_named_twice(held, restored=restored),
        *_dues(snapshot.rows["seller_transfers"]),
        *_shares(facts, held),
        *(
            f"inbox: {count} webhooks are {status}"
            for status, count in snapshot.inbox.items()
            if status in ("stored", "dead")
        ),
    ]


def _as_the_ledger_counts(theirs: Json) -> Json:
    """Return a transfer at Stripe with its amounts in the ledger's units."""
    currency = theirs["currency"]
    return theirs | {
        "amount": from_stripe(currency, theirs["amount"]),
        "amount_reversed": from_stripe(currency, theirs["amount_reversed"]),
        "reversals": [
            reversal | {"amount": from_stripe(currency, reversal["amount"])}
            for reversal in theirs["reversals"]
        ],
    }


def _refolded(recorded: Sequence[RecordedFact]) -> Refolded:
    codec, facts = FactCodec(), defaultdict[UUID, list[Fact]](list)
    for one in recorded:
        facts[one.originator_id].append(codec.fact(one))
    streams = {key: replayed(several) for key, several in facts.items()}
    return Refolded(
        streams,
        {
            key: folded
            for key, several in facts.items()
            if (folded := fold(None, several)) is not None
        },
    )


# --- rows = facts ---------------------------------------------------------------------------------


def _rows_against_facts(
    stored: Mapping[str, Sequence[AnyRow]], folds: Mapping[UUID, Fold]
) -> Iterator[str]:
    for table, expected in _expected_rows(folds).items():
        kept = {row[0]: row for row in stored[table]}
        for key in kept.keys() | expected.keys():
            if kept.get(key) != expected.get(key):
                yield (
                    f"{table}: row {key} is {kept.get(key)}, its facts fold to {expected.get(key)}"
                )


def _expected_rows(folds: Mapping[UUID, Fold]) -> dict[str, dict[object, AnyRow]]:
    """Return the rows of the facts by table and primary key, which is each row's first column."""
    expected: dict[str, dict[object, AnyRow]] = {table: {} for table in KINDS}
    for folded in folds.values():
        match folded:
            case TransferFold():
                expected["seller_transfers"][folded.transfer.transfer_id] = folded.transfer
                expected["transfer_reversals"] |= {
                    row.reversal_id: row for row in folded.reversals.rows.values()
                }
            case OrderRow():
                expected["orders"][folded.order_id] = folded
            case RefundRow():
                expected["refunds"][folded.stream_id] = folded
            case DisputeRow():
                expected["disputes"][folded.stream_id] = folded
            case PayoutRow():
                expected["payouts"][folded.stream_id] = folded
            case PauseRow():
                expected["pauses"][folded.stream_id] = folded
            case FindingRow():
                expected["findings"][folded.stream_id] = folded
    return expected


# --- Stripe = facts -------------------------------------------------------------------------------


def _stripe_against_facts(held: Sequence[Json], facts: Refolded) -> Iterator[str]:
    known = {str(transfer.id) for transfer, _ in facts.transfers}
    taken_over = {
        transfer.stripe_transfer_id for transfer, _ in facts.transfers if transfer.imported
    }
    for theirs in held:
        named = theirs["metadata"].get("transfer_id")
        if (
            named is not None
            and len(named) == OURS
            and named not in known
            and theirs["id"] not in taken_over
        ):
            yield f"{theirs['id']} at Stripe names transfer {named}, which we do not know"
    ours = defaultdict[str | None, list[Json]](list)
    for theirs in held:
        for name in {theirs["id"], theirs["metadata"].get("transfer_id")}:
            ours[name].append(theirs)
    for transfer, folded in facts.transfers:
        named = [
            *ours.get(str(transfer.id), ()),
            *ours.get(folded.transfer.stripe_transfer_id or "", ()),
        ]
        yield from _one_transfer(
            transfer, folded, list({theirs["id"]: theirs for theirs in named}.values())
        )


def _one_transfer(
    transfer: SellerTransfer, folded: TransferFold, found: Sequence[Json]
) -> Iterator[str]:
    """Compare a transfer with `found`: the transfers at Stripe under our id, or under the Stripe id
    that we know."""
    row = folded.transfer
    paying = (
        transfer.operation is not None
        and transfer.operation.what == TRANSFER
        and transfer.operation.open
    )
    if row.stripe_transfer_id and [t["id"] for t in found] != [row.stripe_transfer_id]:
        if found or not _not_found(row):
            yield (
                f"transfer {row.transfer_id} is {row.stripe_transfer_id} here and "
                f"{[t['id'] for t in found]} at Stripe"
            )
    elif not row.stripe_transfer_id and len(found) > paying:
        yield (
            f"transfer {row.transfer_id} is {row.status} here, but Stripe holds "
            f"{[t['id'] for t in found]}"
        )
    for theirs in found if row.stripe_transfer_id else ():
        yield from _same_money(transfer, folded, theirs)


def _not_found(row: SellerTransferRow) -> bool:
    """Return whether the ledger recorded that Stripe does not know the transfer."""
    return row.status == "permanently_failed" and (row.last_error or "").startswith("not_found")


def _same_money(transfer: SellerTransfer, folded: TransferFold, theirs: Json) -> Iterator[str]:
    row = folded.transfer
    ours = (row.amount, row.currency, row.destination)
    if ours != (theirs["amount"], theirs["currency"].upper(), theirs["destination"]):
        yield (
            f"{theirs['id']} is {ours} here and {theirs['amount']} {theirs['currency']} to "
            f"{theirs['destination']} at Stripe"
        )
    open_, operation = 0, transfer.operation
    if operation is not None and operation.what != TRANSFER and operation.open:
        open_ = transfer.reversals[operation.what].amount
    if theirs["amount_reversed"] - row.amount_reversed not in (0, open_):
        yield (
            f"{theirs['id']}: {row.amount_reversed} is reversed here, "
            f"{theirs['amount_reversed']} at Stripe"
        )
    yield from _same_reversals(folded, theirs, operation.what if open_ and operation else None)


def _taken(theirs: Json) -> list[Json]:
    """Return the reversals at Stripe that have moved money."""
    return [one for one in theirs["reversals"] if one.get("status") in (None, "succeeded")]


def _same_reversals(folded: TransferFold, theirs: Json, open_: str | None) -> Iterator[str]:
    by_stripe_id = {
        row.stripe_reversal_id: row
        for row in folded.reversals.rows.values()
        if row.stripe_reversal_id
    }
    at_stripe = {reversal["id"]: reversal for reversal in _taken(theirs)}
    for id_ in by_stripe_id.keys() - at_stripe.keys():
        yield f"reversal {id_} is recorded here, but not at Stripe"
    for id_, reversal in at_stripe.items():
        named, row = reversal["metadata"].get("reversal_id"), by_stripe_id.get(id_)
        if named is not None and named != open_ and (row is None or str(row.reversal_id) != named):
            yield f"reversal {id_} at Stripe names {named}, which has not taken it in"
        if row is not None and row.settled_by == "us" and row.amount != reversal["amount"]:
            yield f"reversal {id_} took {row.amount} here and {reversal['amount']} at Stripe"


# --- invariants -----------------------------------------------------------------------------------


def _named_twice(held: Sequence[Json], *, restored: bool) -> Iterator[str]:
    """Find a second transfer for one (order, seller, cause) or a second reversal for one (transfer,
    refund), by our ids. A dispute takes more when a refund before it is revoked."""
    names: list[tuple[str, ...]] = [
        ("transfer", t["metadata"]["transfer_id"]) for t in held if "transfer_id" in t["metadata"]
    ]
    for theirs in held:
        ours = [
            reversal["metadata"]
            for reversal in _taken(theirs)
            if "reversal_id" in reversal["metadata"]
        ]
        names += [("reversal", metadata["reversal_id"]) for metadata in ours]
        names += [
            ("refund", metadata["refund_id"], "of", theirs["id"])
            for metadata in ours
            if not (restored or metadata.get("refund_id", DISPUTE).startswith(DISPUTE))
        ]
    for name, times in Counter(names).items():
        if times > 1:
            yield f"Stripe holds {times} objects for {' '.join(name)}"


def _dues(rows: Sequence[SellerTransferRow]) -> Iterator[str]:
    """Check that an unsettled row has a due instant or a reason to wait, and a settled row
    neither."""
    for row in rows:
        says_when, says_what = row.next_retry_at is not None, row.waiting_for is not None
        if row.status == "reversal_pending" and not says_when:
            yield f"transfer {row.transfer_id} is reversal_pending without next_retry_at"
        if row.status in UNSETTLED and not (says_when or says_what):
            yield f"transfer {row.transfer_id} is {row.status} and waits for nothing"
        if row.status not in UNSETTLED and (says_when or says_what):
            yield (
                f"transfer {row.transfer_id} is {row.status} and still waits for "
                f"{row.next_retry_at or row.waiting_for}"
            )


def _shares(facts: Refolded, held: Sequence[Json]) -> Iterator[str]:
    orders = [folded for folded in facts.folds.values() if isinstance(folded, OrderRow)]
    refunds = [folded for folded in facts.folds.values() if isinstance(folded, RefundRow)]
    disputed_of, refunded_of = Counter[str](), Counter[str]()
    for refund in refunds:
        refunded_of[refund.order_id] += refund.amount if refund.status == "succeeded" else 0
    for dispute in facts.folds.values():
        if (
            isinstance(dispute, DisputeRow) and dispute.withdrawn and not dispute.reinstated
        ):  # the bank has the money
            disputed_of[dispute.order_id] += dispute.amount
    shares = defaultdict[tuple[str, str], list[tuple[SellerTransfer, TransferFold]]](list)
    for transfer, folded in facts.transfers:
        shares[folded.transfer.order_id, folded.transfer.seller_id].append((transfer, folded))
    by_id = {theirs["id"]: theirs for theirs in held}
    for order in orders:
        refunded, disputed = refunded_of[order.order_id], disputed_of[order.order_id]
        if refunded != order.refunded:
            yield (
                f"order {order.order_id}: {order.refunded} is refunded, its refunds sum to "
                f"{refunded}"
            )
        for share in order.shares:
            theirs = shares[order.order_id, share["seller_id"]]
            yield from _one_share(
                order, disputed, share["seller_id"], share["amount"], theirs, by_id
            )


def _one_share(
    order: OrderRow,
    disputed: int,
    seller: str,
    share: int,
    transfers: Sequence[tuple[SellerTransfer, TransferFold]],
    held: Mapping[str, Json],
) -> Iterator[str]:
    """Check a seller's amount at Stripe: never less than nothing, and once all is settled, exact to
    the cent."""
    ids = {folded.transfer.stripe_transfer_id for _, folded in transfers}
    net = sum(
        held[id_]["amount"] - held[id_]["amount_reversed"]
        for id_ in ids
        if id_ is not None and id_ in held
    )
    if not 0 <= net <= share:
        yield f"order {order.order_id}: seller {seller} has {net} of a share of {share}"
    for transfer, folded in transfers:
        back = transfer.original - folded.transfer.amount + folded.transfer.amount_reversed
        if transfer.cause == SALE and back > share:
            yield f"transfer {transfer.id}: reductions and reversals exceed the share of {share}"
    collected = order.collected or order.amount
    gone = min(order.refunded + disputed, collected)
    left = share - share * gone // collected if order.status == "paid" else 0
    if all(_settled(folded) for _, folded in transfers) and net != left:
        yield (
            f"order {order.order_id}: seller {seller} has {net}, but {left} is left of the share "
            f"of {share}"
        )


def _settled(folded: TransferFold) -> bool:
    """Return whether nothing is due, nothing waits, and there is no external reversal at Stripe."""
    external = any(row.settled_by == "external" for row in folded.reversals.rows.values())
    return folded.transfer.status not in (*UNSETTLED, "permanently_failed") and not external
