"""Command on a stored webhook that cannot be handled."""

from datetime import datetime
from functools import partial

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

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            return _discard(uow, inbox_id, found[0], actor, reason, now)

        mark = InboxMark(inbox_id, DISCARDED, f"discarded by {actor}: {reason}")
        return await self._handler.handle(
            partial(self._load, inbox_id, found),
            decide,
            lambda news: CommitExtras(inbox=mark) if news else NO_EXTRAS,
        )

    async def ask_for_replay(self, inbox_id: int, actor: str, reason: str) -> None:
        """Record that a person has a webhook handled again; the caller then replays it.

        The fact comes first: a replay without its author would be worse than a fact without its
        replay, which is repeated. Raises UnknownId, and Refused for one that is being handled.
        """
        found: list[WebhookName] = []

        def decide(uow: UnitOfWork, now: datetime) -> None:
            row = found[0]
            if row.leased:
                raise Refused(f"Webhook {inbox_id} is being handled now; try again in a moment.")
            webhook = _noted(uow, inbox_id, row, now)
            webhook.ask_again(row.status, row.reason, actor, reason, now)

        await self._handler.handle(partial(self._load, inbox_id, found), decide)

    async def _load(self, inbox_id: int, found: list[WebhookName]) -> UnitOfWork:
        row = await self._directory.webhook(inbox_id)
        if row is None:
            raise UnknownId("webhook", str(inbox_id))
        found[:] = [row]
        return await self._handler.load(webhook_stream(row.provider, row.event_id))


def _noted(uow: UnitOfWork, inbox_id: int, row: WebhookName, now: datetime) -> Webhook:
    webhook = uow.webhook(row.provider, row.event_id)
    if webhook is not None:
        return webhook
    webhook = Webhook.note(
        now,
        inbox_id=inbox_id,
        provider=row.provider,
        event_id=row.event_id,
        event_type=row.event_type,
    )
    uow.add([webhook])
    return webhook


def _discard(
    uow: UnitOfWork, inbox_id: int, row: WebhookName, actor: str, reason: str, now: datetime
) -> bool:
    if row.status == DISCARDED:
        return False
    if row.status == "done":
        raise Refused(f"Webhook {inbox_id} was handled, so there is nothing to discard.")
    if row.leased:
        raise Refused(f"Webhook {inbox_id} is being handled now; try again in a moment.")
    webhook = _noted(uow, inbox_id, row, now)
    webhook.discard(row.status, row.reason, actor, reason, now)
    return True
