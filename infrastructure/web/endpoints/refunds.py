"""Endpoints of refunds: request one from the payment provider, record one made elsewhere, show
one."""

from application.commands.refunds import RefundRequest
from domain.errors import UnknownId
from domain.refund import state
from infrastructure.postgres.read_side.read_models import ReadModels
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.problems import psp_not_configured
from infrastructure.web.requests import Parameters, RefundIn
from infrastructure.web.responses import Part, Refund
from projections.refunds import RefundRow


async def record_refund(call: ApiCall[RefundIn, Parameters]) -> Reply:
    refunds = call.service.commands.refunds
    if not call.body.settled and call.service.psp is None:
        raise psp_not_configured()
    recorded = await (refunds.settle if call.body.settled else refunds.request)(_request(call.body))
    known = await refund_named(call.reads, recorded.refund.refund_id)
    return Reply(202 if recorded.news else 200, known)


def _request(body: RefundIn) -> RefundRequest:
    explicit = (
        None
        if body.allocation is None
        else {part.seller_id: part.amount for part in body.allocation}
    )
    return RefundRequest(
        refund_id=body.refund_id,
        order_id=body.order_id,
        amount=body.amount,
        reason=body.reason,
        explicit=explicit,
        psp_refund_id=body.psp_refund_id,
    )


async def show_refund(call: ApiCall[None, Parameters]) -> Reply:
    return Reply(200, await refund_named(call.reads, call.id("refund_id")))


async def refund_named(reads: ReadModels, name: str) -> Refund:
    """Return the refund with this id, ours or the payment provider's, as callers see it. Raises
    UnknownId."""
    row = await reads.refund(name)
    if row is None:
        raise UnknownId("refund", name)
    return shown(row)


def shown(row: RefundRow) -> Refund:
    """Return a refund as callers see it."""
    return Refund(
        refund_id=row.refund_id,
        order_id=row.order_id,
        amount=row.amount,
        currency=row.currency,
        status=row.status,
        psp_refund_id=row.psp_refund_id,
        reason=row.reason,
        last_error=row.last_error,
        next_retry_at=row.next_retry_at,
        allocation=[_part(part) for part in row.allocation],
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _part(part: state.Part) -> Part:
    return Part(
        part["seller_id"],
        part["amount"],
        part["transfer_id"],
        part["reversal_id"],
        part.get("status", ""),
    )
