"""Actions of an operator. Each has a page that says what the action will do and asks for a reason;
its form then makes the API's call."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from starlette.responses import Response

from infrastructure.web.console.ledger import Json, path_of
from infrastructure.web.console.plans import (
    Plan,
    decision_body,
    plan_acknowledge,
    plan_adopt,
    plan_decide_dispute,
    plan_decide_refund,
    plan_discard,
    plan_ignore,
    plan_pause,
    plan_read_charge,
    plan_replay,
    plan_resolve,
    plan_resume,
    plan_retry,
    plan_unignore,
    scope_body,
    seen_body,
)
from infrastructure.web.console.visit import Visit
from infrastructure.web.problems import KINDS, Problem

CHANGED = (
    "The state has changed since this page was made; read below how it is now, then send again."
)


class Action(NamedTuple):
    """An action: its form at `path`, its call of the API, and the page to which it leads."""

    path: str
    call: str
    back: str
    button: str
    plan: Callable[[Visit, Mapping[str, str]], Awaitable[Plan]]
    done: str
    body: Callable[[Plan, Mapping[str, str], Mapping[str, str]], Json] | None = None
    dangerous: bool = False

    @property
    def key(self) -> str:
        """The name under which the next page finds `done`."""
        return self.path.replace("{", "").replace("}", "").replace("/", "-")


ACTIONS: Sequence[Action] = (
    Action(
        "transfers/{transfer_id}/retry",
        "/v1/transfers/{transfer_id}/retry",
        "transfers/{transfer_id}",
        "Retry now",
        plan_retry,
        "The retry is recorded. A worker acts on it now; the timeline shows each step.",
    ),
    Action(
        "transfers/{transfer_id}/resolve",
        "/v1/transfers/{transfer_id}/resolve",
        "transfers/{transfer_id}",
        "Resolve",
        plan_resolve,
        "The resolution is recorded with your evidence. The ledger does not try again.",
        dangerous=True,
    ),
    Action(
        "orders/{order_id}/read-charge",
        "/v1/orders/{order_id}/read-charge",
        "orders/{order_id}",
        "Read the charge",
        plan_read_charge,
        "A worker reads the charge at Stripe now.",
    ),
    Action(
        "refunds/{refund_id}/decide",
        "/v1/refunds/{refund_id}/decide",
        "refunds/{refund_id}",
        "Decide",
        plan_decide_refund,
        "The decision is recorded. Amounts that are taken from sellers are on their way.",
        decision_body,
        dangerous=True,
    ),
    Action(
        "disputes/{dispute_id}/decide",
        "/v1/disputes/{dispute_id}/decide",
        "disputes/{dispute_id}",
        "Decide",
        plan_decide_dispute,
        "The decision is recorded. Amounts that are taken from sellers are on their way.",
        decision_body,
        dangerous=True,
    ),
    Action(
        "pauses/{scope}/pause",
        "/v1/pause",
        "pauses",
        "Pause",
        plan_pause,
        "The pause is in force: nothing of this scope is sent.",
        scope_body,
        dangerous=True,
    ),
    Action(
        "pauses/{scope}/resume",
        "/v1/resume",
        "pauses",
        "End the pause",
        plan_resume,
        "The pause has ended: due work of this scope is sent now.",
        scope_body,
    ),
    Action(
        "inbox/{inbox_id}/replay",
        "/v1/inbox/{inbox_id}/replay",
        "inbox/{inbox_id}",
        "Replay",
        plan_replay,
        "The webhook is due now; a worker handles it.",
    ),
    Action(
        "inbox/{inbox_id}/discard",
        "/v1/inbox/{inbox_id}/discard",
        "inbox/{inbox_id}",
        "Discard",
        plan_discard,
        "The webhook is discarded, and its alarms have ended.",
        dangerous=True,
    ),
    Action(
        "alarms/{kind}/{subject}/acknowledge",
        "/v1/alarms/{kind}/{subject}/acknowledge",
        "alarms",
        "Acknowledge",
        plan_acknowledge,
        "The alarm has ended, and the audit trail says who has dealt with it.",
        seen_body,
    ),
    Action(
        "findings/{finding_id}/adopt",
        "/v1/findings/{finding_id}/adopt",
        "findings/{finding_id}",
        "Adopt",
        plan_adopt,
        "The ledger has recorded what Stripe shows.",
        dangerous=True,
    ),
    Action(
        "findings/{finding_id}/ignore",
        "/v1/findings/{finding_id}/ignore",
        "findings/{finding_id}",
        "Ignore",
        plan_ignore,
        "The difference is ignored until its amounts change.",
    ),
    Action(
        "findings/{finding_id}/unignore",
        "/v1/findings/{finding_id}/unignore",
        "findings/{finding_id}",
        "Report again",
        plan_unignore,
        "The next reconciliation reports the difference again.",
    ),
)
DONE: Mapping[str, str] = {action.key: action.done for action in ACTIONS}


async def act(action: Action, visit: Visit) -> Response:
    """Show the form of an action, or carry the action out and lead back to its object."""
    if not visit.may_act:
        raise Problem(
            "forbidden_role",
            "Your role may read, and change nothing; sign in with the token of an operator.",
        )
    ids = {name: unquote(value) for name, value in visit.request.path_params.items()}
    plan = await action.plan(visit, ids)
    if visit.request.method != "POST":  # HEAD comes without the form's token
        return _form(action, plan, visit, ids, None)
    if visit.form.get("plan", plan.digest) != plan.digest:
        return _form(action, plan, visit, ids, Problem("content_differs", CHANGED))
    try:
        await visit.ledger.post(path_of(action.call, **ids), _body(action, plan, visit, ids))
    except Problem as refused:
        return _form(action, plan, visit, ids, refused)
    return visit.redirect(path_of(action.back, **ids), done=action.key)


def _body(action: Action, plan: Plan, visit: Visit, ids: Mapping[str, str]) -> Json:
    named = {one.name: visit.form.get(one.name, "") for one in plan.fields if not one.money}
    chosen = action.body(plan, visit.form, ids) if action.body is not None else {}
    actor = visit.form.get("actor")
    author = {"actor": actor} if actor else {}
    return {**named, **chosen, **author, "reason": visit.form.get("reason", "")}


def _form(
    action: Action, plan: Plan, visit: Visit, ids: Mapping[str, str], refused: Problem | None
) -> Response:
    status = KINDS[refused.code].status if refused is not None else 200
    back = path_of(action.back, **ids)
    return visit.page(
        "action.html", status, action=action, plan=plan, back=back, refused=refused, form=visit.form
    )
