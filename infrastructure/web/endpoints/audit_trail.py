"""Audit trail of a transfer and of an order."""

from dataclasses import fields
from typing import Any

from domain.errors import UnknownId
from infrastructure.postgres.read_side.audit_trail import AuditTrail
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.requests import Parameters
from infrastructure.web.responses import (
    History,
    HistoryEntry,
    OrderHistory,
    OrderHistoryEntry,
)
from projections.audit_trail.entries import Entry

OF_A_TRANSFER = [shown.name for shown in fields(HistoryEntry)]
OF_AN_ORDER = [shown.name for shown in fields(OrderHistoryEntry)]


async def tell_history(call: ApiCall[None, Parameters]) -> Reply:
    transfer_id = call.transfer_id()
    entries = await _trail(call).of_stream(transfer_id)
    if (
        not entries or entries[0].stream != "seller_transfer"
    ):  # streams of other kinds have UUIDs too
        raise UnknownId("transfer", str(transfer_id))
    return Reply(
        200, History([HistoryEntry(**_members(entry, OF_A_TRANSFER)) for entry in entries])
    )


async def tell_order_history(call: ApiCall[None, Parameters]) -> Reply:
    order_id = call.id("order_id")
    entries = await _trail(call).of_order(order_id)
    if not entries:
        raise UnknownId("order", order_id)
    return Reply(
        200, OrderHistory([OrderHistoryEntry(**_members(entry, OF_AN_ORDER)) for entry in entries])
    )


def _trail(call: ApiCall[None, Parameters]) -> AuditTrail:
    return AuditTrail(call.past, call.backend.history)


def _members(entry: Entry, names: list[str]) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in names}
