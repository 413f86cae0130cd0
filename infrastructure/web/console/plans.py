"""Plans of the operator's actions: what each will do, in sentences, and the body of its call."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.errors import UnknownId
from infrastructure.postgres.texts import cleaned
from infrastructure.web.console.ledger import Json, path_of
from infrastructure.web.console.texts import minor_units, money
from infrastructure.web.console.visit import Visit
from infrastructure.web.problems import Problem

PART = "part:"
"""Begin of the names of the fields with the amount of one seller."""


class Field(NamedTuple):
    """An input of a form, beside actor and reason."""

    name: str
    label: str
    hint: str = ""
    value: str = ""
    required: bool = True
    money: bool = False


class Plan(NamedTuple):
    """The form of one action on one object."""

    title: str
    effects: Sequence[str]
    """Sentences that say what the action will do."""
    fields: Sequence[Field] = ()
    choice: str = ""
    """Label of the alternative to the fields, such as dismissing."""
    currencies: Mapping[str, str] = {}
    """Currency of each seller's amount."""

    @property
    def digest(self) -> str:
        """A digest of the words that the visitor has read."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


# --- transfers ------------------------------------------------------------------------------------


async def _transfer(visit: Visit, ids: Mapping[str, str]) -> Json:
    return await visit.ledger.get(path_of("/v1/transfers/{transfer_id}", **ids))


def _open_reversals(shown: Json) -> str:
    owed = [one for one in shown["reversals"] if one["status"] in ("requested", "failed")]
    return ", ".join(
        f"{money(one['amount'], shown['currency'])} for {_cause(one['refund_id'])}" for one in owed
    )


def _cause(refund_id: str | None) -> str:
    if not refund_id:
        return "no refund"
    dispute = refund_id.removeprefix("dispute:")
    return f"dispute {dispute}" if dispute != refund_id else f"refund {refund_id}"


async def plan_retry(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to make the next call of a transfer due now."""
    shown = await _transfer(visit, ids)
    seller, amount = shown["seller_id"], money(shown["amount"], shown["currency"])
    owed = _open_reversals(shown)
    if owed:
        effects = [
            f"A worker takes back {owed} from {seller}, now instead of later.",
            "If an earlier call may have reached Stripe, the worker looks there first: nothing is "
            "taken twice.",
        ]
    else:
        effects = [
            f"A worker sends {amount} to {seller} ({shown['destination']}), now instead of later.",
            "If an earlier call may have reached Stripe, the worker looks there first: nothing is "
            "sent twice.",
        ]
    return Plan(f"Retry the transfer of {amount} to {seller}", effects)


async def plan_resolve(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to end the wait of a stuck transfer."""
    shown = await _transfer(visit, ids)
    seller, amount = shown["seller_id"], money(shown["amount"], shown["currency"])
    subject = _open_reversals(shown) or f"the transfer of {amount}"
    effects = [
        f"The ledger stops trying: {subject} (seller {seller}) counts as settled by your evidence.",
        "With tr_… or trr_… the ledger reads that object at Stripe first, and refuses one that "
        "does not fit. With any other text nothing is checked, and no money moves.",
    ]
    hint = "The Stripe object (tr_… or trr_…), or a reference such as a bank transfer or a ticket."
    return Plan(
        f"Resolve the transfer of {amount} to {seller}",
        effects,
        [Field("evidence", "Evidence", hint)],
    )


# --- orders, refunds, disputes --------------------------------------------------------------------


async def plan_read_charge(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to read the charge of an order again."""
    effects = [
        "The ledger reads the charge of the payment at Stripe again.",
        "Transfers of the order that are not sent yet are then paid from that charge.",
    ]
    return Plan(f"Read the charge of order {ids['order_id']}", effects)


async def plan_decide_refund(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan the decision about a refund that was set aside."""
    refund = await visit.ledger.get(path_of("/v1/refunds/{refund_id}", **ids))
    return await _decision(visit, "refund", ids["refund_id"], refund)


async def plan_decide_dispute(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan the decision about a dispute that was set aside."""
    name = cleaned(ids["dispute_id"])
    dispute = await visit.backend.reads.dispute(name)
    if dispute is None:
        raise UnknownId("dispute", name)
    return await _decision(visit, "dispute", name, dispute._asdict())


async def _decision(visit: Visit, kind: str, name: str, shown: Json) -> Plan:
    order = await visit.ledger.get(path_of("/v1/orders/{order_id}", order_id=shown["order_id"]))
    total = money(shown["amount"], shown["currency"])
    fields = [
        Field(
            f"{PART}{share['seller_id']}",
            f"From {share['seller_id']}",
            f"In {share['currency']}; the seller's share is "
            f"{money(share['amount'], share['currency'])}.",
            required=False,
            money=True,
        )
        for share in order["shares"]
    ]
    effects = [
        f"The {kind} is over {total} of order {shown['order_id']}.",
        "Each amount below is taken back from its seller: by a reversal at Stripe, or by sending "
        "less. An empty amount takes nothing from that seller.",
        "The decision is final; a different one later is refused.",
    ]
    currencies = {share["seller_id"]: share["currency"] for share in order["shares"]}
    choice = f"Dismiss the {kind}: nothing is ever taken from any seller"
    return Plan(f"Decide {kind} {name} over {total}", effects, fields, choice, currencies)


def decision_body(plan: Plan, form: Mapping[str, str], ids: Mapping[str, str]) -> Json:
    """Build the body of a decision. Raises Problem for an amount that is none, and for a form that
    does not decide: an empty one would otherwise take nothing from any seller, for ever."""
    given = {
        name.removeprefix(PART): text
        for name, text in form.items()
        if name.startswith(PART) and text
    }
    if bool(given) == bool(form.get("choice")):
        detail = "Enter at least one amount, or dismiss; not both, and not neither."
        raise Problem("invalid_request", detail)
    if form.get("choice"):
        return {"dismiss": True}
    return {"allocation": [part for one in given.items() if (part := _part(plan, *one))["amount"]]}


def _part(plan: Plan, seller: str, text: str) -> Json:
    try:
        return {"seller_id": seller, "amount": minor_units(text, plan.currencies.get(seller, ""))}
    except ValueError as bad:
        raise Problem("invalid_request", f"The amount from {seller}: {bad}") from None


# --- pauses ---------------------------------------------------------------------------------------

_WORK = ("transferring", "reversing", "refunding", "funding")


def scope_body(plan: Plan, form: Mapping[str, str], ids: Mapping[str, str]) -> Json:
    """Build the scope of a pause."""
    scope = ids["scope"]
    if scope.startswith("seller:"):
        return {"seller_id": scope.removeprefix("seller:")}
    return {"work": scope} if scope != "everything" else {}


def _in_words(scope: str) -> str:
    if scope != "everything" and scope not in _WORK and not scope.startswith("seller:"):
        raise Problem(
            "not_found",
            f"There is no scope {scope[:64]!r}; expected everything, seller:<id> or one of "
            f"{', '.join(_WORK)}.",
        )
    if scope.startswith("seller:"):
        return f"everything for seller {scope.removeprefix('seller:')}"
    return scope


async def plan_pause(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to pause a scope."""
    words = _in_words(ids["scope"])
    effects = [
        f"From now on the ledger sends nothing of this scope: {words}.",
        "Webhooks, orders and refunds are accepted and recorded as usual; their money moves after "
        "the pause ends.",
        "A call that is already at Stripe is not taken back.",
    ]
    return Plan(f"Pause {words}", effects)


async def plan_resume(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to end a pause."""
    words = _in_words(ids["scope"])
    effects = [f"The ledger sends all due work of this scope at once: {words}."]
    return Plan(f"End the pause of {words}", effects)


# --- webhooks -------------------------------------------------------------------------------------


async def plan_replay(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to handle a webhook again."""
    row = await visit.ledger.get(path_of("/v1/inbox/{inbox_id}", **ids))
    effects = [
        f"A worker handles {row['event_type']} of {row['provider']} again, from the start.",
        "Effects that the webhook has had already are not repeated.",
    ]
    return Plan(f"Replay webhook {row['inbox_id']}", effects)


async def plan_discard(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to discard a webhook."""
    row = await visit.ledger.get(path_of("/v1/inbox/{inbox_id}", **ids))
    effects = [
        f"The ledger never acts on {row['event_type']} of {row['provider']}: a payment, refund or "
        "dispute that it reports is not recorded by it.",
        "Its alarms end. The same event later counts as a duplicate. A replay is still possible.",
    ]
    return Plan(f"Discard webhook {row['inbox_id']}", effects)


# --- findings -------------------------------------------------------------------------------------


async def _finding(visit: Visit, ids: Mapping[str, str]) -> tuple[str, Json]:
    found = await visit.ledger.get(path_of("/v1/findings/{finding_id}", **ids))
    amount = money(found["at_risk"], found["currency"])
    return f"the difference of {amount} ({found['kind'].replace('_', ' ')})", found


async def plan_adopt(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to record a difference as Stripe shows it."""
    words, found = await _finding(visit, ids)
    effects = [
        f"The ledger reads {found['stripe_transfer_id']} at Stripe once more, and records its "
        "content as a fact. No money moves.",
        f"Found: {found['detail']}",
    ]
    if found["obstacle"]:
        effects.append(f"This will be refused: {found['obstacle']}")
    return Plan(f"Adopt {words}", effects)


async def plan_ignore(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to accept a difference."""
    words, found = await _finding(visit, ids)
    effects = [
        "Reconciliations do not report this difference any more, until its amounts change. No "
        "money moves, and the ledger's books stay as they are.",
        f"Found: {found['detail']}",
    ]
    return Plan(f"Ignore {words}", effects)


async def plan_unignore(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to report a difference again."""
    words, _ = await _finding(visit, ids)
    return Plan(f"Report {words} again", ["The next reconciliation reports this difference again."])


# --- alarms ---------------------------------------------------------------------------------------


async def plan_acknowledge(visit: Visit, ids: Mapping[str, str]) -> Plan:
    """Plan to end an alarm that has no end of its own."""
    alarm = await visit.ledger.get(path_of("/v1/alarms/{kind}/{subject}", **ids))
    effects = [
        f"The alarm ends: {alarm['detail']}",
        "Nothing else changes: no money moves, and nothing is sent or retried.",
        "The same alarm opens again if its cause comes back.",
    ]
    hint = "The number of times that the alarm was raised; a later one is not acknowledged unseen."
    seen = Field("count", "Times that you have seen", hint, str(alarm["count"]))
    return Plan(f"Acknowledge the alarm {ids['kind'].replace('_', ' ')}", effects, [seen])


def seen_body(plan: Plan, form: Mapping[str, str], ids: Mapping[str, str]) -> Json:
    """Build the number of times that the person has seen. Raises Problem for another text."""
    given = form.get("count", "")
    if not (given.isascii() and given.isdigit() and len(given) < 16):
        raise Problem("invalid_request", f"The count is {given[:64]!r}; expected a number.")
    return {"count": int(given)}
