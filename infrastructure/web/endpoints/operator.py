"""Endpoints of an operator: alarms, pauses, and the resolution of a stuck transfer."""

from domain.pause import EVERYTHING, scope_of_seller, scope_of_work
from infrastructure.web.endpoints.transfers import shown_now
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.requests import AlarmsQuery, Parameters, PauseIn, ResolveIn
from infrastructure.web.responses import Alarm, Alarms, Pause, Pauses
from projections.pauses import PauseRow


async def list_alarms(call: ApiCall[None, AlarmsQuery]) -> Reply:
    alarms, limit = call.service.alarms, call.query.limit
    found = await (alarms.latest(limit) if call.query.cleared else alarms.raised(limit))
    return Reply(200, Alarms([Alarm(*alarm) for alarm in found]))


async def resolve_transfer(call: ApiCall[ResolveIn, Parameters]) -> Reply:
    transfer_id, body = call.transfer_id(), call.body
    await call.service.commands.operator.resolve(
        call.service.gateway, transfer_id, body.actor, body.reason, body.evidence
    )
    return Reply(200, await shown_now(call.reads, transfer_id))


async def list_pauses(call: ApiCall[None, Parameters]) -> Reply:
    return Reply(200, Pauses([_shown(row) for row in await call.reads.pauses()]))


async def pause(call: ApiCall[PauseIn, Parameters]) -> Reply:
    await call.service.commands.operator.pause(_scope(call.body), call.body.actor, call.body.reason)
    return await _shown_pause(call)


async def resume(call: ApiCall[PauseIn, Parameters]) -> Reply:
    await call.service.commands.operator.resume(
        _scope(call.body), call.body.actor, call.body.reason
    )
    return await _shown_pause(call)


async def _shown_pause(call: ApiCall[PauseIn, Parameters]) -> Reply:
    scope = _scope(call.body)
    row = await call.reads.pause(scope)
    return Reply(200, _shown(row) if row is not None else Pause(scope, False, None, None, None))


def _scope(body: PauseIn) -> str:
    if body.seller_id is not None:
        return scope_of_seller(body.seller_id)
    return scope_of_work(body.work) if body.work is not None else EVERYTHING


def _shown(row: PauseRow) -> Pause:
    return Pause(row.scope, row.paused, row.actor, row.reason, row.updated_at)
