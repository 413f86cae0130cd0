"""Operations of Hyperswitch's API as a table: name, method, path, function."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from infrastructure.simulators.common.request import ApiOperation, ApiRequest
from infrastructure.simulators.hyperswitch.render import dispute_json, payment_json, refund_json
from infrastructure.simulators.hyperswitch.requests import (
    CancelRequest,
    CaptureRequest,
    CreateRefundRequest,
    DisputeListRequest,
    PaymentRequest,
    RefundListRequest,
    checked_body,
)
from infrastructure.simulators.hyperswitch.rows import Json, PaymentRow
from infrastructure.simulators.hyperswitch.world import PspWorld

Execute: TypeAlias = Callable[[PspWorld, ApiRequest], Json | list[Json]]


@dataclass(frozen=True, slots=True)
class PspOperation(ApiOperation):
    """One operation. `writes`: one at a time for each payment."""

    execute: Execute
    writes: bool = True


def subject_of(request: ApiRequest) -> str | None:
    """Return the id of the payment that the request works on, if any."""
    named = request.target.get("payment_id") or request.params.get("payment_id")
    return named if isinstance(named, str) else None


def _shown(world: PspWorld, payment: PaymentRow) -> Json:
    return payment_json(payment, world.config)


def _create_payment(world: PspWorld, request: ApiRequest) -> Json:
    body = checked_body(PaymentRequest, request.params)
    payment = world.books.create_payment(body)
    if body.confirm:
        _confirmed(world, payment)
    return _shown(world, payment)


def _retrieve_payment(world: PspWorld, request: ApiRequest) -> Json:
    return _shown(world, world.books.payment(request.target["payment_id"]))


def _confirm(world: PspWorld, request: ApiRequest) -> Json:
    payment = world.books.payment(request.target["payment_id"])
    _confirmed(world, payment)
    return _shown(world, payment)


def _confirmed(world: PspWorld, payment: PaymentRow) -> None:
    world.books.confirm(payment)
    if payment.status == "processing":
        world.schedule("payments", partial(world.books.settle_payment, payment))


def _capture(world: PspWorld, request: ApiRequest) -> Json:
    payment = world.books.payment(request.target["payment_id"])
    world.books.capture(payment, checked_body(CaptureRequest, request.params).amount_to_capture)
    return _shown(world, payment)


def _cancel(world: PspWorld, request: ApiRequest) -> Json:
    payment = world.books.payment(request.target["payment_id"])
    checked_body(CancelRequest, request.params)
    world.books.cancel(payment)
    return _shown(world, payment)


def _create_refund(world: PspWorld, request: ApiRequest) -> Json:
    refund = world.books.create_refund(checked_body(CreateRefundRequest, request.params))
    world.schedule("refunds", partial(world.books.settle_refund, refund))
    return refund_json(refund, world.config)


def _retrieve_refund(world: PspWorld, request: ApiRequest) -> Json:
    return refund_json(world.books.refund(request.target["refund_id"]), world.config)


def _list_refunds(world: PspWorld, request: ApiRequest) -> Json:
    page, total = world.books.page(checked_body(RefundListRequest, request.params))
    return {
        "count": len(page),
        "total_count": total,
        "data": [refund_json(refund, world.config) for refund in page],
    }


def _retrieve_dispute(world: PspWorld, request: ApiRequest) -> Json:
    return dispute_json(world.books.dispute(request.target["dispute_id"]))


def _list_disputes(world: PspWorld, request: ApiRequest) -> list[Json]:
    query = checked_body(DisputeListRequest, dict(request.pairs))
    return [dispute_json(dispute) for dispute in world.books.page_of_disputes(query)]


_PAYMENT = "/payments/{payment_id}"

OPERATIONS: tuple[PspOperation, ...] = (
    PspOperation("payments.create", "POST", "/payments", _create_payment),
    PspOperation("payments.retrieve", "GET", _PAYMENT, _retrieve_payment, writes=False),
    PspOperation("payments.confirm", "POST", _PAYMENT + "/confirm", _confirm),
    PspOperation("payments.capture", "POST", _PAYMENT + "/capture", _capture),
    PspOperation("payments.cancel", "POST", _PAYMENT + "/cancel", _cancel),
    PspOperation("refunds.create", "POST", "/refunds", _create_refund),
    PspOperation("refunds.list", "POST", "/refunds/list", _list_refunds, writes=False),
    PspOperation("disputes.list", "GET", "/disputes/list", _list_disputes, writes=False),
    PspOperation(
        "disputes.retrieve", "GET", "/disputes/{dispute_id}", _retrieve_dispute, writes=False
    ),
    PspOperation("refunds.retrieve", "GET", "/refunds/{refund_id}", _retrieve_refund, writes=False),
)
