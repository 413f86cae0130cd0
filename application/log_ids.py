"""Ids that the log lines of one piece of work have: of the ledger, checkout and provider."""

from uuid import UUID

from structlog.contextvars import bind_contextvars

from application.unit_of_work import UnitOfWork
from domain.errors import UnknownId


def bind_subject(kind: str, uow: UnitOfWork, subject_id: UUID) -> None:
    """Add the kind of work and the ids of its subject to the log lines of this task."""
    bind_contextvars(kind=kind, **ids_of(uow, subject_id))


def bind_webhook(provider: str, event_id: str, event_type: str, inbox_id: int) -> None:
    """Add the names of a webhook to the log lines of this task."""
    bind_contextvars(provider=provider, event_id=event_id, event_type=event_type, inbox_id=inbox_id)


def bind_call(key: str | None = None, request_id: object = None) -> None:
    """Add the idempotency key of a call, or the provider's id of the request."""
    named = {"idempotency_key": key, "provider_request_id": request_id}
    bind_contextvars(**{name: value for name, value in named.items() if value is not None})


def bind_ids(**ids: str | UUID | None) -> None:
    """Add ids that are known now to the log lines of this task, such as `order_id`."""
    bind_contextvars(**{name: str(value) for name, value in ids.items() if value is not None})


def bind_loaded(uow: UnitOfWork) -> None:
    """Add the order and the refund of a command to the log lines of this task, and its transfer if
    it is the only one."""
    transfers, refund = uow.transfers(), uow.refund()
    if refund is not None:
        bind_ids(refund_id=refund.refund_id, order_id=refund.order_id)
    if transfers:
        bind_ids(order_id=transfers[0].order_id)
    if len(transfers) == 1:
        bind_ids(transfer_id=transfers[0].id, seller_id=transfers[0].seller_id)


def ids_of(uow: UnitOfWork, subject_id: UUID) -> dict[str, str]:
    """Return the ids of a transfer, a refund or an order, under the names of the API."""
    try:
        transfer = uow.transfer(subject_id)
    except UnknownId:
        if (refund := uow.refund()) is not None:
            return {"refund_id": refund.refund_id, "order_id": refund.order_id}
        order = uow.order_with(subject_id)
        return {"order_id": order.order_id} if order is not None else {}
    ids = {"transfer_id": str(subject_id), "order_id": transfer.order_id}
    ids["seller_id"] = transfer.seller_id
    what = transfer.operation.what if transfer.operation is not None else ""
    if (reversal := transfer.reversals.get(what)) is not None:
        ids |= {"reversal_id": what, "refund_id": reversal.refund_id or ""}
    return ids
