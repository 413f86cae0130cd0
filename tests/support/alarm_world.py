"""A ledger on PostgreSQL in which every kind of alarm can be caused, and ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from uuid import UUID

from application.unit_of_work import UnitOfWork
from domain.fact import Stream
from infrastructure.postgres.alarms import StoredAlarm
from infrastructure.service import Service
from tests.support.domain_story import Story
from tests.support.storage import Storage
from tests.support.told_ledger import ToldLedger

MIA = ("mia", "settled by hand")


@dataclass
class AlarmWorld:
    """One ledger: its ports, the handlers of webhooks, and streams of the pure domain."""

    service: Service
    storage: Storage
    told: ToldLedger = field(init=False)
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _kept: dict[UUID, UnitOfWork] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.told = ToldLedger(self.storage)
        self.commands = self.told.commands

    async def keep(self, *streams: Stream) -> None:
        """Store new streams."""
        uow = UnitOfWork({}, {})
        uow.add(streams)
        await self.storage.ledger.append(uow)

    async def keep_story(self, story: Story) -> None:
        """Store what the story's transfer has told since it was stored last."""
        transfer = story.transfer
        if transfer.id in self._kept:
            await self.storage.ledger.append(self._kept[transfer.id])
        else:
            await self.keep(transfer)
        self._kept[transfer.id] = await self.storage.ledger.load([transfer.id])
        story.transfer = self._kept[transfer.id].transfer(transfer.id)

    async def psp_tells(self, event_type: str, **told: object) -> None:
        """Handle a webhook of the PSP."""
        body = {"event_id": "evt", "event_type": event_type, "content": {"object": told}}
        await self._hears("hyperswitch", event_type, body)

    async def stripe_tells(self, event_type: str, **told: object) -> None:
        """Handle a webhook of Stripe."""
        body = {"id": "evt", "type": event_type, "livemode": False, "data": {"object": told}}
        await self._hears("stripe", event_type, body)

    async def _hears(self, provider: str, event_type: str, body: Mapping[str, object]) -> None:
        name = f"evt_{next(self._numbers)}"
        await self.told.hears_bytes(provider, name, event_type, json.dumps(body).encode())

    async def later(self, time: timedelta) -> None:
        """Let time pass, then handle the webhooks that are due."""
        await self.storage.let_pass(time)
        await self.told.handles()

    async def discard(self) -> None:
        """Discard every open webhook, as a person does."""
        for row in await self.service.inbox.newest():
            if row.status in ("parked", "dead"):
                await self.commands.inbox.discard(row.inbox_id, *MIA)

    async def acknowledge(self, kind: str) -> None:
        """Acknowledge the open alarm of this kind."""
        assert await self.commands.alarms.acknowledge(
            kind, (await self.open(kind))[0].subject, *MIA
        )

    async def open(self, kind: str) -> list[StoredAlarm]:
        """Return the open alarms of this kind."""
        return [one for one in await self.service.alarms.raised() if one.kind == kind]
