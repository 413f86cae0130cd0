"""Command on a stored webhook that cannot be handled."""

from datetime import datetime

from application.command_handler import NO_EXTRAS, CommandHandler
from application.ports import Directory, WebhookName
from application.unit_of_work import CommitExtras, InboxMark, UnitOfWork
from domain.errors import Refused, UnknownId
from domain.identity import webhook_stream
from domain.webhook import Webhook

DISCARDED = "discarded"


class InboxCommands:
    """Commands on stored webhooks, each with its actor and reason."""

    def __init__(self, handler: CommandHandler, directory: Directory) -> None:
        self._handler, self._directory = handler, directory

    async def discard(self, inbox_id: int, actor: str, reason: str) -> bool:
        """Decide that a webhook is not handled; return whether that is news.

        Its alarms are cleared, and the same event later counts as a duplicate. Raises UnknownId,
        and Refused for one that was handled, or is being handled.
        """
        found: list[WebhookName] = []

        async def load() -> UnitOfWork:
            row = await self._directory.webhook(inbox_id)
            if row is None:
                raise UnknownId("webhook", str(inbox_id))
            found[:] = [row]
            return await self._handler.load(webhook_stream(row.provider, row.event_id))

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            return _discard(uow, inbox_id, found[0], actor, reason, now)

        mark = InboxMark(inbox_id, DISCARDED, f"discarded by {actor}: {reason}")
        return await self._handler.handle(
            load, decide, lambda news: CommitExtras(inbox=mark) if news else NO_EXTRAS
        )


def _discard(
    uow: UnitOfWork, inbox_id: int, row: WebhookName, actor: str, reason: str, now: datetime
) -> bool:
    if row.status == DISCARDED:
        return False
    if row.status == "done":
        raise Refused(f"Webhook {inbox_id} was handled, so there is nothing to discard.")
    if row.leased:
        raise Refused(f"Webhook {inbox_id} is being handled now; try again in a moment.")
    webhook = uow.webhook(row.provider, row.event_id)
    if webhook is None:
        webhook = Webhook.note(
            now,
            inbox_id=inbox_id,
            provider=row.provider,
            event_id=row.event_id,
            event_type=row.event_type,
        )
        uow.add([webhook])
    webhook.discard(row.status, row.reason, actor, reason, now)
    return True
