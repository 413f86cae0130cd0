"""Actions of bulk jobs on stored webhooks: replay and discard, if still parked or dead."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from application.bulk import BulkKind
from domain.errors import Refused
from infrastructure.service import Storage

OPEN = ("parked", "dead")


def webhook_actions(storage: Storage) -> Mapping[str, Callable[[int, str, str], Awaitable[object]]]:
    """Return the action of each kind of job. Each may be repeated."""
    return {
        BulkKind.REPLAY_WEBHOOKS: partial(_replay, storage),
        BulkKind.DISCARD_WEBHOOKS: partial(_discard, storage),
    }


async def _replay(storage: Storage, inbox_id: int, actor: str, reason: str) -> None:
    """Have a webhook handled again. One that is not parked or dead any more is left alone: it was
    handled meanwhile, or this job has replayed it before a crash. Raises Refused."""
    if await _open(storage, inbox_id):
        await storage.commands.inbox.ask_for_replay(inbox_id, actor, reason)
        if not await storage.inbox.replay(inbox_id):
            raise Refused(f"Webhook {inbox_id} has no body, or is being handled now.")


async def _discard(storage: Storage, inbox_id: int, actor: str, reason: str) -> None:
    """Discard a webhook that is still parked or dead. Raises Refused."""
    if await _open(storage, inbox_id):
        await storage.commands.inbox.discard(inbox_id, actor, reason)


async def _open(storage: Storage, inbox_id: int) -> bool:
    row = await storage.inbox.one(inbox_id)
    return row is not None and row.status in OPEN
