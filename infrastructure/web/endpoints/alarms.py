"""Endpoints of one alarm: show it, and acknowledge one that has no end of its own."""

from domain.errors import UnknownId
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.requests import AcknowledgeIn, Parameters
from infrastructure.web.responses import Alarm


async def show_alarm(call: ApiCall[None, Parameters]) -> Reply:
    return Reply(200, await _shown(call))


async def acknowledge_alarm(call: ApiCall[AcknowledgeIn, Parameters]) -> Reply:
    body = call.body
    await call.service.commands.alarms.acknowledge(
        call.id("kind"), call.id("subject"), body.actor, body.reason, body.count
    )
    return Reply(200, await _shown(call))


async def _shown(
    call: ApiCall[None, Parameters] | ApiCall[AcknowledgeIn, Parameters],
) -> Alarm:
    kind, subject = call.id("kind"), call.id("subject")
    alarm = await call.service.alarms.one(kind, subject)
    if alarm is None:
        raise UnknownId("alarm", f"{kind} of {subject}")
    return Alarm(*alarm)
