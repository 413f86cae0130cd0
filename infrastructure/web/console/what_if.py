"""Page with the forecast of a refund or dispute: the amount that each seller would give, the part
that the platform would bear, and the steps that would wait. Nothing changes."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from starlette.responses import Response

from infrastructure.web.console.ledger import Json, path_of
from infrastructure.web.console.outlook import OPEN_REVERSALS, stops
from infrastructure.web.console.pages import id_of
from infrastructure.web.console.plans import PART
from infrastructure.web.console.residue import Division, explained, worked_out
from infrastructure.web.console.texts import minor_units, money, span
from infrastructure.web.console.visit import Visit
from infrastructure.web.problems import Problem

KINDS: Final = {"refund": "Refund", "dispute": "Lost dispute"}
REFUSALS: Final = ("exceeds_order", "refused", "invalid_request")
"""Answers about the numbers of the form; others are about the order."""
_PLANNED: Final = re.compile(r" 'what-if-[0-9a-f-]{36}'")
MOST_BALANCES: Final = 20
"""Sellers whose open debts one page looks up."""


class Surroundings(NamedTuple):
    """The state around a planned refund that decides which of its steps wait."""

    transfers: Mapping[str, Json]
    pauses: Sequence[Json]
    debts: Mapping[tuple[str, str], int]
    """Open debt by seller and currency, in minor units."""
    retry_interval: timedelta
    deadline: timedelta


async def show_what_if(visit: Visit) -> Response:
    """Show the form, and the forecast of a refund or dispute that was entered."""
    path = path_of("/v1/orders/{order_id}", order_id=id_of(visit, "order_id"))
    order = await visit.ledger.get(path)
    given = {name: visit.given(name) for name in visit.request.query_params}
    planned, refused = None, ""
    try:
        planned = await visit.ledger.post("/v1/what-if", _body(order, given))
    except Problem as problem:
        if problem.code not in REFUSALS:
            raise
        refused = _refusal(problem, order)
    return visit.page(
        "what_if.html",
        order=order,
        kinds=KINDS,
        given=given,
        by_hand=any(name.startswith(PART) and value for name, value in given.items()),
        part=PART,
        refused=refused,
        planned=planned and await _shown(visit, order, planned),
    )


def _refusal(problem: Problem, order: Json) -> str:
    """Return why there is no forecast, without the name that it gave to the planned refund."""
    if problem.code == "exceeds_order":
        left = (order["collected"] or order["amount"]) - order["refunded"]
        if left <= 0:
            return "The order is refunded whole; nothing is left to refund."
        return f"The order has {money(left, order['currency'])} left to refund; enter at most that."
    return _PLANNED.sub("", problem.detail)


def _body(order: Json, given: Mapping[str, str]) -> Json:
    currencies = {share["seller_id"]: share["currency"] for share in order["shares"]}
    body = {"order_id": order["order_id"], "kind": given.get("kind") or "refund"}
    if given.get("amount"):
        body["amount"] = _amount("amount", given["amount"], order["currency"])
    parts = {
        name.removeprefix(PART): text
        for name, text in given.items()
        if name.startswith(PART) and text
    }
    if parts:
        body["allocation"] = [
            {"seller_id": seller, "amount": amount}
            for seller, text in parts.items()
            if (amount := _amount(f"part of {seller}", text, currencies.get(seller, "")))
        ]
    return body


def _amount(subject: str, text: str, currency: str) -> int:
    try:
        return minor_units(text, currency)
    except ValueError as bad:
        raise Problem("invalid_request", f"The {subject}: {bad}") from None


# --- the forecast ---------------------------------------------------------------------------------


async def _shown(visit: Visit, order: Json, planned: Json) -> Json:
    around = await _surroundings(visit, order, planned)
    before, after = _divisions(order, planned)
    steps: dict[str, list[str]] = {}
    for step in planned["steps"]:
        steps.setdefault(step["seller_id"], []).extend(consequences(step, around))
    sellers = [
        {
            **one,
            "sum": worked_out(one["share"], one["before"], after, one["currency"])
            if one["currency"] == order["currency"]
            else "",
            "steps": steps.get(one["seller_id"], []),
        }
        for one in planned["sellers"]
    ]
    return {
        **planned,
        "sellers": sellers,
        "taken": planned["amount"] - planned["residue"],
        "borne": before.borne,
        "unclaimed": after.collected - sum(share for share, _ in after.taken),
        "explained": explained(before, after, order["currency"]),
        "notes": planned["sentences"][1 + sum(1 for one in sellers if one["amount"]) :],
    }


def _divisions(order: Json, planned: Json) -> tuple[Division, Division]:
    ours = [one for one in planned["sellers"] if one["currency"] == order["currency"]]
    collected, refunded = order["collected"] or order["amount"], order["refunded"]
    return (
        Division(collected, refunded, [(one["share"], one["before"]) for one in ours]),
        Division(
            collected,
            refunded + planned["amount"],
            [(one["share"], one["after"]) for one in ours],
        ),
    )


async def _surroundings(visit: Visit, order: Json, planned: Json) -> Surroundings:
    reversing = {
        step["seller_id"]: None
        for step in planned["steps"]
        if step["fact"] in ("ReversalRequested", "ReversalQueued")
    }
    debts = {}
    for seller in list(reversing)[:MOST_BALANCES]:
        path = path_of("/v1/sellers/{seller_id}/balance", seller_id=seller)
        for one in (await visit.ledger.get(path))["balances"]:
            debts[seller, one["currency"]] = one["reversal_pending"] + one["stuck"]
    settings = visit.backend.service.settings
    return Surroundings(
        {one["transfer_id"]: one for one in order["transfers"]},
        (await visit.ledger.get("/v1/pauses"))["data"],
        debts,
        settings.funds_retry_interval,
        settings.funds_deadline,
    )


def consequences(step: Json, around: Surroundings) -> list[str]:
    """Describe one step of a forecast: the money that moves, and the reason why it would wait."""
    transfer = around.transfers.get(step["transfer_id"])
    if transfer is None:
        return [step["sentence"]]
    amount = money(step["amount"] or 0, transfer["currency"])
    match step["fact"]:
        case "AmountReduced":
            return [f"{amount} less is sent. The transfer has not left, so nothing has to return."]
        case "Cancelled":
            return ["The transfer has not left, and is not sent at all."]
        case "ReversalQueued":
            return [f"{amount} are taken back later. {_queue(transfer)}"]
        case "ReversalRequested":
            return [f"A worker takes {amount} back at Stripe.", _waits(transfer, around)]
    return [step["sentence"]]


def _queue(transfer: Json) -> str:
    """Say which event the reversal waits for."""
    if transfer["status"] == "permanently_failed":
        why = f": {transfer['last_error']}" if transfer["last_error"] else ""
        return f"They wait for a person, because the ledger gave the transfer up{why}."
    if transfer["status"] == "reversal_pending":
        open_ = sum(one["amount"] for one in transfer["reversals"] if _is_open(one))
        waits = " It waits for the seller's money." if transfer["waiting_for"] == "funds" else ""
        return (
            f"They wait behind the reversal before them, of {money(open_, transfer['currency'])}."
            f"{waits}"
        )
    return "They wait for the outcome of the transfer itself."


def _is_open(reversal: Json) -> bool:
    return reversal["status"] in OPEN_REVERSALS


def _waits(transfer: Json, around: Surroundings) -> str:
    """Say why the call would wait, or under which condition."""
    seller = transfer["seller_id"]
    for pause in around.pauses:
        if stops(pause["scope"], seller, "reversing"):
            return (
                f"It waits, because {pause['actor']} has paused {pause['scope']}: "
                f"{pause['reason']}."
            )
    owed = around.debts.get((seller, transfer["currency"]), 0)
    again = (
        f"the ledger tries again every {span(around.retry_interval.total_seconds())}, and gives "
        f"up after {span(around.deadline.total_seconds())}."
    )
    if owed:
        return (
            f"It probably waits: {seller} already owes {money(owed, transfer['currency'])}. While "
            f"the balance at Stripe is too low, {again}"
        )
    return f"Nothing holds it up now. If the seller's balance at Stripe is too low, {again}"
