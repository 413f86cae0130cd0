"""Endpoints for decisions of a person: about a refund or dispute that was set aside, a webhook that
cannot be handled, a seller who has moved, and a finding that is ignored."""

from application.commands.decisions import Decision
from domain.errors import UnknownId
from domain.finding import DecidedBy
from infrastructure.postgres.inbox import InboxRow
from infrastructure.web.endpoints.refunds import refund_named
from infrastructure.web.list_responses import Dispute
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.problems import Problem
from infrastructure.web.requests import DecideIn, DestinationIn, Parameters, RetryIn
from infrastructure.web.responses import (
    Finding,
    Refund,
    SellerDestination,
    StoredWebhook,
)


async def decide_refund(call: ApiCall[DecideIn, Parameters]) -> Reply:
    name = call.id("refund_id")
    await call.service.commands.decisions.refund(name, _decision(call.body))
    shown: Refund = await refund_named(call.reads, name)
    return Reply(200, shown)


async def decide_dispute(call: ApiCall[DecideIn, Parameters]) -> Reply:
    name = call.id("dispute_id")
    await call.service.commands.decisions.dispute(name, _decision(call.body))
    row = await call.reads.dispute(name)
    if row is None:
        raise UnknownId("dispute", name)
    members = {member: getattr(row, member) for member in Dispute.__slots__}
    return Reply(200, Dispute(**members))


def _decision(body: DecideIn) -> Decision:
    parts = body.allocation
    allocation = None if parts is None else {part.seller_id: part.amount for part in parts}
    return Decision(allocation, body.actor, body.reason, body.amount)


async def show_webhook(call: ApiCall[None, Parameters]) -> Reply:
    inbox_id = number_of(call.id("inbox_id"))
    row = await call.service.inbox.one(inbox_id)
    if row is None:
        raise UnknownId("webhook", str(inbox_id))
    return Reply(200, _shown(row, await call.service.inbox.body(inbox_id) or b""))


async def discard_webhook(call: ApiCall[RetryIn, Parameters]) -> Reply:
    inbox_id = number_of(call.id("inbox_id"))
    await call.service.commands.inbox.discard(inbox_id, call.body.actor, call.body.reason)
    return Reply(200, await shown_webhook(call, inbox_id))


async def shown_webhook(call: ApiCall[RetryIn, Parameters], inbox_id: int) -> StoredWebhook:
    """Return a webhook as callers see it, with its body. Raises UnknownId."""
    row = await call.service.inbox.one(inbox_id)
    if row is None:
        raise UnknownId("webhook", str(inbox_id))
    return _shown(row, await call.service.inbox.body(inbox_id) or b"")


def number_of(given: str) -> int:
    """Return the number of a webhook. Raises Problem for a text that is none."""
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise Problem("not_found", f"There is no webhook {given!r}; expected its number.")
    return int(given)


def _shown(row: InboxRow, body: bytes) -> StoredWebhook:
    return StoredWebhook(**row._asdict(), body=body.decode(errors="replace"))


async def move_seller(call: ApiCall[DestinationIn, Parameters]) -> Reply:
    body = call.body
    moved = await call.service.commands.seller_accounts.move(
        call.id("seller_id"), body.destination, body.actor, body.reason
    )
    return Reply(200, SellerDestination(*moved))


async def unignore_finding(call: ApiCall[RetryIn, Parameters]) -> Reply:
    finding_id, by = call.id("finding_id"), DecidedBy(call.body.actor, call.body.reason)
    await call.service.commands.reconciliation.unignore(finding_id, by)
    return Reply(200, Finding(finding_id, "noted"))
