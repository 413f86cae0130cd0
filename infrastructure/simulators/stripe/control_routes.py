"""The `/_sim/*` routes of the simulated Stripe: money, accounts, settings, webhook endpoints,
snapshots."""

from dataclasses import asdict

from starlette.requests import Request

from infrastructure.simulators.common.control_routes import Body, ControlRoute, Json
from infrastructure.simulators.stripe import accounts
from infrastructure.simulators.stripe.balances import PLATFORM
from infrastructure.simulators.stripe.books import DASHBOARD
from infrastructure.simulators.stripe.charges import fail_charge, register_charge
from infrastructure.simulators.stripe.manners import manners_named
from infrastructure.simulators.stripe.payments import add_payment, charge_payment
from infrastructure.simulators.stripe.pending_reversals import decide
from infrastructure.simulators.stripe.render import (
    account_json,
    event_json,
    payment_intent_json,
    reversal_json,
    transfer_json,
)
from infrastructure.simulators.stripe.transfers import create_reversal, create_transfer
from infrastructure.simulators.stripe.world import StripeWorld


def _holder(body: Body) -> str:
    return str(body.get("account") or PLATFORM)


def _fund(world: StripeWorld, _: Request, body: Body) -> Json:
    bucket = "pending" if body.get("pending") else "available"
    return {
        "amount": accounts.fund(
            world.books, _holder(body), body["currency"], body["amount"], bucket
        )
    }


def _drain(world: StripeWorld, _: Request, body: Body) -> Json:
    return {
        "amount": accounts.drain(world.books, _holder(body), body["currency"], body.get("amount"))
    }


def _change_account(world: StripeWorld, _: Request, body: Body) -> Json:
    return account_json(accounts.change_account(world.books, body.pop("id"), body))


def _register_charge(world: StripeWorld, _: Request, body: Body) -> Json:
    return asdict(register_charge(world.books, body.pop("id"), **body))


def _add_payment(world: StripeWorld, _: Request, body: Body) -> Json:
    return payment_intent_json(world.books, add_payment(world.books, **body))


def _charge_payment(world: StripeWorld, request: Request, body: Body) -> Json:
    intent = world.books.payment_intents.by_id[request.path_params["id"]]
    charge_payment(world.books, intent, **body)
    return payment_intent_json(world.books, intent)


def _fail_charge(world: StripeWorld, request: Request, _: Body) -> Json:
    charge = world.books.charges.by_id[request.path_params["id"]]
    fail_charge(world.books, charge)
    return asdict(charge)


def _transfer(world: StripeWorld, _: Request, body: Body) -> Json:
    return transfer_json(world.books, create_transfer(world.books, body, DASHBOARD))


def _reverse(world: StripeWorld, _: Request, body: Body) -> Json:
    """Make a reversal in the dashboard, or, with `source_refund`, by a refund: without key and
    without our metadata."""
    transfer = world.books.transfers.by_id[body["transfer"]]
    settings = ("amount", "metadata", "pending")
    params = {name: body[name] for name in settings if body.get(name) is not None}
    reversal = create_reversal(world.books, transfer, params, DASHBOARD, body.get("source_refund"))
    return reversal_json(world.books, reversal)


def _begin_pending(world: StripeWorld, _: Request, body: Body) -> Json:
    world.books.reversals_begin_pending = bool(body["on"])
    return body


def _decide(world: StripeWorld, request: Request, body: Body) -> Json:
    """Let a pending reversal succeed, fail or be canceled."""
    id_, reason = request.path_params["id"], body.get("failure_reason")
    return reversal_json(world.books, decide(world.books, id_, body["status"], reason))


def _announce(world: StripeWorld, _: Request, body: Body) -> Json:
    previous, account = body.get("previous_attributes"), body.get("account")
    event = world.books.announce(body["type"], body["object"], DASHBOARD, previous, account)
    world.commit()
    return event_json(world.books, event)


def _change_manners(world: StripeWorld, _: Request, body: Body) -> Json:
    world.books.change_manners(manners_named(body["manners"], body.get("pending_days")))
    return {"manners": world.books.manners._asdict()}


def _tune(world: StripeWorld, _: Request, body: Body) -> Json:
    world.tune(body)
    return world.settings.model_dump(mode="json")


def _add_endpoint(world: StripeWorld, _: Request, body: Body) -> Json:
    return world.webhooks.add(body).model_dump(mode="json")


def _change_endpoint(world: StripeWorld, request: Request, body: Body) -> Json:
    return world.webhooks.change(request.path_params["id"], body).model_dump(mode="json")


async def _remove_endpoint(world: StripeWorld, request: Request, _: Body) -> Json:
    await world.webhooks.remove(request.path_params["id"])
    return {"removed": request.path_params["id"]}


def _invariants(world: StripeWorld, _: Request, __: Body) -> Json:
    violations = list(world.books.violations())
    return {"ok": not violations, "violations": violations}


def _take_snapshot(world: StripeWorld, request: Request, _: Body) -> Json:
    return {"records": world.take_snapshot(request.path_params["name"])}


async def _restore_snapshot(world: StripeWorld, request: Request, _: Body) -> Json:
    world.restore_snapshot(request.path_params["name"])
    await world.webhooks.dispose()
    return {"restored": request.path_params["name"]}


CONTROLS: tuple[ControlRoute[StripeWorld], ...] = (
    ("POST", "/_sim/fund", _fund),
    ("POST", "/_sim/drain", _drain),
    ("POST", "/_sim/payouts", lambda world, _, body: accounts.pay_out(world.books, **body)),
    ("POST", "/_sim/manners", _change_manners),
    ("POST", "/_sim/accounts", _change_account),
    ("POST", "/_sim/charges", _register_charge),
    ("POST", "/_sim/charges/{id}/fail", _fail_charge),
    ("POST", "/_sim/payment_intents", _add_payment),
    ("POST", "/_sim/payment_intents/{id}/charge", _charge_payment),
    ("POST", "/_sim/reversals", _reverse),
    ("POST", "/_sim/pending_reversals", _begin_pending),
    ("POST", "/_sim/reversals/{id}", _decide),
    ("POST", "/_sim/transfers", _transfer),
    ("POST", "/_sim/events", _announce),
    ("GET", "/_sim/tuning", lambda world, _, __: world.settings.model_dump(mode="json")),
    ("PATCH", "/_sim/tuning", _tune),
    ("GET", "/_sim/webhook_endpoints", lambda world, _, __: {"data": world.webhooks.listing()}),
    ("POST", "/_sim/webhook_endpoints", _add_endpoint),
    ("PATCH", "/_sim/webhook_endpoints/{id}", _change_endpoint),
    ("DELETE", "/_sim/webhook_endpoints/{id}", _remove_endpoint),
    ("GET", "/_sim/invariants", _invariants),
    ("POST", "/_sim/snapshots/{name}", _take_snapshot),
    ("POST", "/_sim/snapshots/{name}/restore", _restore_snapshot),
)
