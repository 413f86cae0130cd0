"""Endpoints of decisions of a person about stored webhooks and findings: replay, adopt, ignore."""

from domain.errors import UnknownId
from domain.finding import DecidedBy
from infrastructure.findings import adopt_finding as adopt
from infrastructure.findings import ignore_finding as ignore
from infrastructure.postgres.read_side.lists import Lists
from infrastructure.web.endpoints.decisions import number_of, shown_webhook
from infrastructure.web.endpoints.lists import shown
from infrastructure.web.list_responses import FindingShown
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.problems import Problem
from infrastructure.web.requests import Parameters, RetryIn


async def replay_webhook(call: ApiCall[RetryIn, Parameters]) -> Reply:
    inbox_id, inbox = number_of(call.id("inbox_id")), call.service.inbox
    if await inbox.one(inbox_id) is not None and not await inbox.body(inbox_id):
        raise Problem(
            "nothing_to_replay",
            f"The body of webhook {inbox_id} was erased; ask the provider to send the event again.",
        )
    body = call.body
    await call.service.commands.inbox.ask_for_replay(inbox_id, body.actor, body.reason)
    if not await inbox.replay(inbox_id):
        raise Problem(
            "nothing_to_replay",
            f"Webhook {inbox_id} is being handled now; look at its status in a moment.",
        )
    return Reply(202, await shown_webhook(call, inbox_id))


async def show_finding(call: ApiCall[None, Parameters]) -> Reply:
    return Reply(200, await _shown(call, call.id("finding_id")))


async def adopt_finding(call: ApiCall[RetryIn, Parameters]) -> Reply:
    finding_id = call.id("finding_id")
    await adopt(call.service, finding_id, DecidedBy(call.body.actor, call.body.reason))
    return Reply(200, await _shown(call, finding_id))


async def ignore_finding(call: ApiCall[RetryIn, Parameters]) -> Reply:
    finding_id = call.id("finding_id")
    await ignore(call.service, finding_id, DecidedBy(call.body.actor, call.body.reason))
    return Reply(200, await _shown(call, finding_id))


async def _shown(
    call: ApiCall[RetryIn, Parameters] | ApiCall[None, Parameters], finding_id: str
) -> FindingShown:
    entry = await Lists(call.service.pool).finding(finding_id)
    if entry is None:
        raise UnknownId("finding", finding_id)
    (found,) = shown(FindingShown, [entry])
    return found
