"""Endpoints of sellers' transfers: list them, show one as it is or was, retry one."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from uuid import UUID

from domain.errors import UnknownId
from infrastructure.postgres.read_side.lists import Lists, TransferFilters
from infrastructure.postgres.read_side.read_models import ReadModels
from infrastructure.web.as_of import asks_for_the_past, before_its_time, moment_of
from infrastructure.web.list_requests import TransferListQuery
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.pagination import cursor_at, place_of
from infrastructure.web.requests import Parameters, PastQuery, RetryIn
from infrastructure.web.responses import Reversal, Transfer, TransferPage
from projections.seller_transfers import SellerTransferRow
from projections.transfer_and_reversals import TransferFold
from projections.transfer_reversals import ReversalRow

SHOWN = [shown.name for shown in fields(Transfer) if shown.name != "reversals"]


async def list_transfers(call: ApiCall[None, TransferListQuery]) -> Reply:
    query = call.query
    after = place_of(query.cursor) if query.cursor is not None else None
    filters = TransferFilters(**{name: getattr(query, name) for name in TransferFilters._fields})
    page = await Lists(call.service.pool).transfers(filters, query.limit, after)
    next_cursor = cursor_at(*page.next) if page.next is not None else None
    return Reply(200, TransferPage(await with_reversals(call.reads, page.rows), next_cursor))


async def show_transfer(call: ApiCall[None, PastQuery]) -> Reply:
    if asks_for_the_past(call.query):
        return Reply(200, await _as_it_was(call, call.transfer_id()))
    return Reply(200, await shown_now(call.reads, call.transfer_id()))


async def retry_transfer(call: ApiCall[RetryIn, Parameters]) -> Reply:
    transfer_id = call.transfer_id()
    await call.service.commands.operator.retry(transfer_id, call.body.actor, call.body.reason)
    return Reply(202, await shown_now(call.reads, transfer_id))


async def shown_now(reads: ReadModels, transfer_id: UUID) -> Transfer:
    """Return the transfer as callers see it. Raises UnknownId."""
    row = await reads.transfer(transfer_id)
    if row is None:
        raise UnknownId("transfer", str(transfer_id))
    (shown,) = await with_reversals(reads, [row])
    return shown


async def _as_it_was(call: ApiCall[None, PastQuery], transfer_id: UUID) -> Transfer:
    folded = await call.past.transfer(transfer_id, await moment_of(call))
    if folded is None:
        raise before_its_time("transfer", str(transfer_id), call.query)
    return as_folded(folded)


async def with_reversals(reads: ReadModels, rows: Sequence[SellerTransferRow]) -> list[Transfer]:
    """Return rows as callers see them."""
    reversals = await reads.reversals([row.transfer_id for row in rows])
    return [_shown(row, reversals[row.transfer_id]) for row in rows]


def as_folded(folded: TransferFold) -> Transfer:
    """Return a past state of a transfer as callers see it."""
    return _shown(
        folded.transfer,
        sorted(folded.reversals.rows.values(), key=attrgetter("created_at", "reversal_id")),
    )


def _shown(row: SellerTransferRow, reversals: Iterable[ReversalRow]) -> Transfer:
    shown = [
        Reversal(r.reversal_id, r.refund_id, r.amount, r.status, r.stripe_reversal_id)
        for r in reversals
    ]
    return Transfer(**{name: getattr(row, name) for name in SHOWN}, reversals=shown)
