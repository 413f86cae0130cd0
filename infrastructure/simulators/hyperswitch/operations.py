"""The API as a table: name, method, path, and the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from infrastructure.simulators.common.request import Call
from infrastructure.simulators.hyperswitch.render import payment_json, refund_json
from infrastructure.simulators.hyperswitch.requests import (
    CancelRequest,
    CaptureRequest,
    PaymentRequest,
    RefundListRequest,
    RefundRequest,
    asked,
)
from infrastructure.simulators.hyperswitch.rows import Json, Payment
from infrastructure.simulators.hyperswitch.world import HyperswitchWorld

Execute: TypeAlias = Callable[[HyperswitchWorld, Call], Json]


@dataclass(frozen=True, slots=True)
class Operation:
    """`writes`: one at a time for each payment."""

    name: str
    method: str
    path: str
    execute: Execute
    writes: bool = True


def subject_of(call: Call) -> str | None:
    """The payment that the call works on."""
    named = call.target.get("payment_id") or call.params.get("payment_id")
    return named if isinstance(named, str) else None


def _shown(world: HyperswitchWorld, payment: Payment) -> Json:
    return payment_json(payment, world.config)


def _create_payment(world: HyperswitchWorld, call: Call) -> Json:
    wanted = asked(PaymentRequest, call.params)
    payment = world.books.create_payment(wanted)
    if wanted.confirm:
        _confirmed(world, payment)
    return _shown(world, payment)


def _retrieve_payment(world: HyperswitchWorld, call: Call) -> Json:
    return _shown(world, world.books.payment(call.target["payment_id"]))


def _confirm(world: HyperswitchWorld, call: Call) -> Json:
    payment = world.books.payment(call.target["payment_id"])
    _confirmed(world, payment)
    return _shown(world, payment)


def _confirmed(world: HyperswitchWorld, payment: Payment) -> None:
    world.books.confirm(payment)
    if payment.status == "processing":
        world.let_become("payments", partial(world.books.settle_payment, payment))


def _capture(world: HyperswitchWorld, call: Call) -> Json:
    payment = world.books.payment(call.target["payment_id"])
    world.books.capture(payment, asked(CaptureRequest, call.params).amount_to_capture)
    return _shown(world, payment)


def _cancel(world: HyperswitchWorld, call: Call) -> Json:
    payment = world.books.payment(call.target["payment_id"])
    asked(CancelRequest, call.params)
    world.books.cancel(payment)
    return _shown(world, payment)


def _create_refund(world: HyperswitchWorld, call: Call) -> Json:
    refund = world.books.create_refund(asked(RefundRequest, call.params))
    world.let_become("refunds", partial(world.books.settle_refund, refund))
    return refund_json(refund, world.config)


def _retrieve_refund(world: HyperswitchWorld, call: Call) -> Json:
    return refund_json(world.books.refund(call.target["refund_id"]), world.config)


def _list_refunds(world: HyperswitchWorld, call: Call) -> Json:
    page, total = world.books.page(asked(RefundListRequest, call.params))
    return {"count": len(page), "total_count": total, "data": [refund_json(refund, world.config) for refund in page]}


_PAYMENT = "/payments/{payment_id}"

OPERATIONS: tuple[Operation, ...] = (
    Operation("payments.create", "POST", "/payments", _create_payment),
    Operation("payments.retrieve", "GET", _PAYMENT, _retrieve_payment, writes=False),
    Operation("payments.confirm", "POST", _PAYMENT + "/confirm", _confirm),
    Operation("payments.capture", "POST", _PAYMENT + "/capture", _capture),
    Operation("payments.cancel", "POST", _PAYMENT + "/cancel", _cancel),
    Operation("refunds.create", "POST", "/refunds", _create_refund),
    Operation("refunds.list", "POST", "/refunds/list", _list_refunds, writes=False),
    Operation("refunds.retrieve", "GET", "/refunds/{refund_id}", _retrieve_refund, writes=False),
)
