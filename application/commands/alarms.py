"""Command on an alarm that has no end of its own."""

from datetime import datetime
from functools import partial
from uuid import UUID

from application.command_handler import CommandHandler
from application.ports import AlarmState, Directory
from application.unit_of_work import UnitOfWork
from domain.alarm import ACKNOWLEDGED, acknowledge
from domain.errors import AlarmSeenAgain, EndsWithItsCause, UnknownId


class AlarmCommands:
    """Commands on alarms, each with its actor and reason."""

    def __init__(self, handler: CommandHandler, directory: Directory) -> None:
        self._handler, self._directory = handler, directory

    async def acknowledge(
        self, kind: str, subject: str, actor: str, reason: str, times: int | None = None
    ) -> bool:
        """Record that a person has dealt with an alarm, which ends it; return whether that is news.

        `times`: the number of times that the person has seen on it. Raises UnknownId,
        EndsWithItsCause, and AlarmSeenAgain if the alarm was raised again since.
        """
        if kind not in ACKNOWLEDGED:
            raise EndsWithItsCause(kind)
        stream_id, found = _stream(kind, subject), list[AlarmState]()

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            alarm, stream = found[0], uow.stream(stream_id)
            if not alarm.open or stream is None:
                return False
            if times is not None and alarm.times > times:
                raise AlarmSeenAgain(kind, subject)
            acknowledge(stream, kind, actor, reason, now)
            return True

        return await self._handler.handle(
            partial(self._load, kind, subject, stream_id, found), decide
        )

    async def _load(
        self, kind: str, subject: str, stream_id: UUID, found: list[AlarmState]
    ) -> UnitOfWork:
        """Load the stream before the alarm: a fact that raises it again then conflicts."""
        uow = await self._handler.load(stream_id)
        alarm = await self._directory.alarm(kind, subject)
        if alarm is None:
            raise UnknownId("alarm", f"{kind} of {subject}")
        found[:] = [alarm]
        return uow


def _stream(kind: str, subject: str) -> UUID:
    try:
        return UUID(subject)
    except ValueError:
        raise UnknownId("alarm", f"{kind} of {subject}") from None
