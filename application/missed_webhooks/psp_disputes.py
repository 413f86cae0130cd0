"""Disputes that changed at the PSP without a webhook. Until a lost one is recorded, its sellers
keep their shares.

The PSP lists disputes by the time at which it received them. As with refunds, every dispute is
looked at again at certain ages, up to four months: banks decide in weeks. The list shows the stored
status of each dispute, so no single dispute is read.
"""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import structlog

from application.missed_webhooks.ports import (
    KnownDispute,
    KnownDisputes,
    PolledEvent,
    PolledInbox,
    Span,
)
from application.missed_webhooks.psp_reader import AGES, PspReader, is_old_enough
from application.webhooks.hyperswitch.disputes import STATUSES
from domain.dispute import RANK
from domain.provider_call.outcome import NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import DisputeAtPsp

LIST = "psp.disputes.list"
"""Endpoint of the rate limiter."""
DISPUTE_AGES = (*AGES, 2 * AGES[-1], 4 * AGES[-1])
NO_LIST = (400, 404, 405)
"""Statuses of a PSP that has no such list: an older version, or another API before it."""

log = structlog.get_logger()


class MissedDisputes:
    """Missed disputes of the provider `hyperswitch`."""

    def __init__(
        self, provider: str, reader: PspReader, known: KnownDisputes, inbox: PolledInbox
    ) -> None:
        self._provider, self._reader, self._known, self._inbox = provider, reader, known, inbox

    async def events(self, span: Span) -> AsyncIterator[Sequence[PolledEvent]]:
        """Yield a slice for each age. Raises LookUpFailed."""
        for age in DISPUTE_AGES:
            since, until = max(span.since - age, span.begun_at), span.until - age
            if since < until:
                listed = await self._listed(since, until)
                if listed is None:
                    return
                yield await self._missed(listed, span.horizon)

    async def _listed(self, since: datetime, until: datetime) -> Sequence[DisputeAtPsp] | None:
        """Return the disputes of a slice; None if the PSP has no list of disputes."""
        await self._reader.turn(LIST)
        listed = await self._reader.psp.disputes(since, until)
        match listed:
            case Rejected() | Unknown() if listed.status in NO_LIST:
                log.warning("the PSP lists no disputes; lost webhooks about them are not found")
                return None
            case Rejected() | NotExecuted() | Unknown():
                raise await self._reader.failed(LIST, "disputes", listed)
        return listed

    async def _missed(self, listed: Sequence[DisputeAtPsp], horizon: datetime) -> list[PolledEvent]:
        """Return the events of the disputes whose status neither the inbox nor the ledger has."""
        changed = [
            dispute
            for dispute, _ in await self._unrecorded(listed)
            if is_old_enough(dispute.updated_at, horizon)
        ]
        if not changed:
            return []
        # The inbox first, then the ledger: the other way round, an event that is handled in between
        # would be in neither.
        waiting = await self._inbox.waiting(self._provider, [_about(one) for one in changed])
        return [
            _event(dispute, known)
            for dispute, known in await self._unrecorded(changed)
            if _about(dispute) not in waiting
        ]

    async def _unrecorded(
        self, disputes: Sequence[DisputeAtPsp]
    ) -> list[tuple[DisputeAtPsp, KnownDispute | None]]:
        """Return the disputes whose status at the PSP ranks higher than the one here."""
        told = [dispute for dispute in disputes if dispute.status in STATUSES]
        names = [dispute.dispute_id for dispute in told]
        known = await self._known.dispute_statuses(self._provider, names) if names else {}
        pairs = [(dispute, known.get(dispute.dispute_id)) for dispute in told]
        return [
            (dispute, here)
            for dispute, here in pairs
            if here is None or RANK[here.status] < RANK[STATUSES[dispute.status][-1]]
        ]


def _about(dispute: DisputeAtPsp) -> tuple[str, str]:
    return dispute.status, dispute.dispute_id


def _event(dispute: DisputeAtPsp, known: KnownDispute | None) -> PolledEvent:
    """Return the event of a status in the shape of the PSP's own webhooks, under the same id
    however often this status is found."""
    change = f"v{known.version if known is not None else 0}"
    event_id = f"polled:{dispute.status}:{dispute.dispute_id}:{change}"
    shown = {
        "dispute_id": dispute.dispute_id,
        "payment_id": dispute.payment_id,
        "amount": str(dispute.amount),
        "currency": dispute.currency,
        "dispute_status": dispute.status,
        "connector_reason": dispute.reason,
    }
    content = {"type": "dispute_details", "object": shown}
    body = {"event_id": event_id, "event_type": dispute.status, "content": content}
    return PolledEvent(event_id, dispute.status, json.dumps(body).encode())
