"""Sellers' transfers: list, one (now or as it was), its audit trail, and an operator's retry."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from uuid import UUID

from domain.errors import UnknownId
from domain.transfer_facts import AnyTransferFact, Created, Imported
from infrastructure.postgres.read_models import Filters, ReadModels
from infrastructure.web.calls import Call, Reply
from infrastructure.web.cursors import cursor_at, place_of
from infrastructure.web.models import Parameters, RetryIn, TransferQuery, TransfersQuery
from infrastructure.web.problems import Problem
from infrastructure.web.views import History, HistoryEntry, Reversal, Transfer, TransferPage
from projections.folding import TransferFold
from projections.narrative import payload, sentence
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import ReversalRow

SHOWN = [shown.name for shown in fields(Transfer) if shown.name != "reversals"]


async def list_transfers(call: Call[None, TransfersQuery]) -> Reply:
    query = call.query
    before = place_of(query.cursor) if query.cursor is not None else None
    # one more than asked tells whether there is another page
    rows = await call.reads.transfers(Filters(query.status, query.seller_id, query.order_id, before), query.limit + 1)
    page = rows[: query.limit]
    next_cursor = cursor_at(page[-1].created_at, page[-1].transfer_id) if len(rows) > len(page) else None
    return Reply(200, TransferPage(await with_reversals(call.reads, page), next_cursor))


async def show_transfer(call: Call[None, TransferQuery]) -> Reply:
    if call.query.as_of is not None:
        return await _as_it_was(call, call.transfer_id())
    return Reply(200, await shown_now(call.reads, call.transfer_id()))


async def tell_history(call: Call[None, Parameters]) -> Reply:
    transfer_id = call.transfer_id()
    told = await call.backend.history.of(transfer_id)
    opening = told[0].fact if told else None
    if not isinstance(opening, Created | Imported):  # other streams have ids too
        raise UnknownId("transfer", str(transfer_id))
    entries = [
        HistoryEntry(
            position,
            fact.originator_version,
            fact.timestamp,
            type(fact).__name__,
            payload(fact),
            sentence(fact, opening.currency),
        )
        for position, _, fact in told
        if isinstance(fact, AnyTransferFact)
    ]
    return Reply(200, History(entries))


async def retry_transfer(call: Call[RetryIn, Parameters]) -> Reply:
    transfer_id = call.transfer_id()
    await call.service.ledger.retry(transfer_id, call.body.actor, call.body.reason)
    return Reply(202, await shown_now(call.reads, transfer_id))


async def shown_now(reads: ReadModels, transfer_id: UUID) -> Transfer:
    """A transfer as callers see it. Raises UnknownId."""
    row = await reads.transfer(transfer_id)
    if row is None:
        raise UnknownId("transfer", str(transfer_id))
    (shown,) = await with_reversals(reads, [row])
    return shown


async def _as_it_was(call: Call[None, TransferQuery], transfer_id: UUID) -> Reply:
    assert call.query.as_of is not None
    folded = await call.backend.history.transfer_as_of(transfer_id, call.query.as_of)
    if folded is None:
        when = call.query.as_of.isoformat()
        raise Problem(
            "not_found", f"There was no transfer {str(transfer_id)!r} at {when}; check the id, or ask for a later instant."
        )
    return Reply(200, _folded(folded))


async def with_reversals(reads: ReadModels, rows: Sequence[SellerTransferRow]) -> list[Transfer]:
    """Rows as callers see them."""
    reversals = await reads.reversals([row.transfer_id for row in rows])
    return [_shown(row, reversals[row.transfer_id]) for row in rows]


def _folded(folded: TransferFold) -> Transfer:
    return _shown(folded.transfer, sorted(folded.reversals.rows.values(), key=attrgetter("created_at", "reversal_id")))


def _shown(row: SellerTransferRow, reversals: Iterable[ReversalRow]) -> Transfer:
    shown = [Reversal(r.reversal_id, r.refund_id, r.amount, r.status, r.stripe_reversal_id) for r in reversals]
    return Transfer(**{name: getattr(row, name) for name in SHOWN}, reversals=shown)
