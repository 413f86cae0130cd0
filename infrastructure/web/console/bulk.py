"""Retries of all transfers that a list shows: the preview, the job's progress, and its end."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from uuid import uuid4

from starlette.responses import Response

from infrastructure.web.console.actions import Action
from infrastructure.web.console.ledger import Json, path_of
from infrastructure.web.console.pages import NUMBERS, filters_of, id_of, number
from infrastructure.web.console.plans import Plan
from infrastructure.web.console.texts import money
from infrastructure.web.console.visit import Visit
from infrastructure.web.problems import KINDS, Problem

FIRST: Final = 5
"""Transfers that a preview shows."""
DIRECTIONS: Final = {"to_sellers": "to sellers", "from_sellers": "back from sellers"}


async def plan_cancel(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to end a job early. The effects name no number: it changes while a person reads."""
    await visit.ledger.get(path_of("/v1/bulk/{job_id}", **ids))
    effects = [
        "The job ends before its next step; everything that it has not handled stays as it is.",
        "Its steps until then stay: their calls are under way or made.",
    ]
    return Plan("Cancel the bulk job", effects)


CANCEL: Final = Action(
    "bulk/{job_id}/cancel",
    "/v1/bulk/{job_id}/cancel",
    "bulk/{job_id}",
    "Cancel the job",
    plan_cancel,
    "The job has ended. Everything that it has not handled stays as it was.",
    dangerous=True,
)


class Button(NamedTuple):
    """The button of the form that begins a job."""

    button: str = "Retry them all"
    dangerous: bool = False


async def retry_all(visit: Visit) -> Response:
    """Show which transfers a job would retry, or begin the job."""
    if not visit.may_act:
        raise Problem(
            "forbidden_role",
            "Your role may read, and change nothing; sign in with the token of an operator.",
        )
    filters = filters_of(visit)
    if visit.request.method != "POST":  # HEAD comes without the form's token
        return await _preview(visit, filters, None)
    form = visit.form
    author = {"actor": form["actor"]} if form.get("actor") else {}
    job_id = form.get("job_id", "")
    body = {
        **author,
        "job_id": job_id,
        "filter": _filter(filters),
        "reason": form.get("reason", ""),
        "at_most": number(form.get("at_most", "")),
    }
    try:
        await visit.ledger.post("/v1/bulk/retries", body)
    except Problem as refused:
        return await _preview(visit, filters, refused)
    return visit.redirect(path_of("bulk/{job_id}", job_id=job_id))


def _filter(filters: Mapping[str, str]) -> Json:
    return {name: number(text) if name in NUMBERS else text for name, text in filters.items()}


async def _preview(visit: Visit, filters: Mapping[str, str], refused: Problem | None) -> Response:
    author = {} if visit.caller is None or visit.caller.name else {"actor": "console"}
    job_id = f"console-{uuid4()}"
    asked = {"job_id": job_id, "filter": _filter(filters), "reason": "preview", "dry_run": True}
    planned = await visit.ledger.post("/v1/bulk/retries", asked | author)
    first = [
        await visit.ledger.get(path_of("/v1/transfers/{transfer_id}", transfer_id=one))
        for one in planned["sample"][:FIRST]
    ]
    return visit.page(
        "retry_all.html",
        KINDS[refused.code].status if refused is not None else 200,
        action=Button(),
        plan=Plan(f"Retry {_count(planned['total'])}", _effects(planned, filters)),
        back="transfers",
        refused=refused,
        form=visit.form,
        job_id=job_id,
        total=planned["total"],
        first=first,
    )


def _count(number: int) -> str:
    return "1 transfer" if number == 1 else f"{number:,} transfers"


def _effects(planned: Json, filters: Mapping[str, str]) -> Sequence[str]:
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in filters.items())
    sums = "; ".join(
        f"{money(one['amount'], one['currency'])} {DIRECTIONS[one['direction']]} ({one['number']})"
        for one in planned["money"]
    )
    return [
        f"Filter: {words or 'none'}. {_count(planned['total'])} that can be retried match now.",
        f"Money behind them: {sums or 'none'}.",
        "One job makes the next call of each transfer due now, one after another and oldest first. "
        "Workers make the calls within the limits of Stripe and of pauses.",
        "If an earlier call may have reached Stripe, the worker looks there first: nothing is sent "
        "or taken twice.",
    ]


async def show_bulk(visit: Visit) -> Response:
    """Show a job and its progress."""
    job = await visit.ledger.get(path_of("/v1/bulk/{job_id}", job_id=id_of(visit, "job_id")))
    return visit.page("bulk.html", job=job, cancel=visit.may_act and job["status"] == "running")


async def list_bulk(visit: Visit) -> Response:
    """List the newest jobs."""
    return visit.page("bulk_jobs.html", jobs=(await visit.ledger.get("/v1/bulk"))["data"])
