"""The `/_sim/*` routes of the simulated Hyperswitch: payments, refunds, disputes, events, webhook,
behaviour."""

from dataclasses import asdict

from starlette.requests import Request

from infrastructure.simulators.common.control_routes import Body, ControlRoute, Json
from infrastructure.simulators.hyperswitch.config import Behaviour
from infrastructure.simulators.hyperswitch.render import dispute_json, payment_json, refund_json
from infrastructure.simulators.hyperswitch.requests import CreateRefundRequest, PaymentRequest
from infrastructure.simulators.hyperswitch.world import PspWorld


def _take_payment(world: PspWorld, _: Request, body: Body) -> Json:
    """Make a succeeded payment, as from the marketplace's own checkout."""
    payment = world.books.create_payment(PaymentRequest.model_validate(body))
    world.books.settle_payment(payment, "succeeded")
    return payment_json(payment, world.config)


def _settle_payment(world: PspWorld, request: Request, body: Body) -> Json:
    payment = world.books.payment(request.path_params["id"])
    world.books.settle_payment(payment, **body)
    return payment_json(payment, world.config)


def _make_refund(world: PspWorld, _: Request, body: Body) -> Json:
    """Make a refund in the dashboard: without our refund_id and without metadata."""
    return refund_json(
        world.books.create_refund(CreateRefundRequest.model_validate(body)), world.config
    )


def _settle_refund(world: PspWorld, request: Request, body: Body) -> Json:
    refund = world.books.refund(request.path_params["id"])
    world.books.settle_refund(refund, **body)
    return refund_json(refund, world.config)


def _open_dispute(world: PspWorld, _: Request, body: Body) -> Json:
    payment = world.books.payment(body["payment_id"])
    return dispute_json(world.books.open_dispute(payment, body.get("amount")))


def _settle_dispute(world: PspWorld, request: Request, body: Body) -> Json:
    dispute = world.books.dispute(request.path_params["id"])
    world.books.settle_dispute(dispute, **body)
    return dispute_json(dispute)


def _announce(world: PspWorld, _: Request, body: Body) -> Json:
    """Announce any event about any object, also of an unknown type."""
    event = world.books.announce(body["type"], body["kind"], body["object"], body["object_id"])
    return {"event_id": None if event is None else event.id}


def _events(world: PspWorld, _: Request, __: Body) -> Json:
    return {"data": [event.envelope for event in world.books.events.values()]}


def _resend(world: PspWorld, request: Request, _: Body) -> Json:
    event = world.books.events[request.path_params["id"]]
    world.webhooks.resend(event)
    return event.envelope


def _configure_webhook(world: PspWorld, _: Request, body: Body) -> Json:
    return world.webhooks.configure(body).model_dump(mode="json")


def _behave(world: PspWorld, request: Request, body: Body) -> Json:
    behaviour = Behaviour(**body)
    world.behave(request.path_params["kind"], behaviour)
    return asdict(behaviour)


CONTROLS: tuple[ControlRoute[PspWorld], ...] = (
    ("POST", "/_sim/payments", _take_payment),
    ("POST", "/_sim/payments/{id}", _settle_payment),
    ("POST", "/_sim/refunds", _make_refund),
    ("POST", "/_sim/refunds/{id}", _settle_refund),
    ("POST", "/_sim/disputes", _open_dispute),
    ("POST", "/_sim/disputes/{id}", _settle_dispute),
    ("GET", "/_sim/events", _events),
    ("POST", "/_sim/events", _announce),
    ("POST", "/_sim/events/{id}/resend", _resend),
    ("POST", "/_sim/webhook", _configure_webhook),
    ("POST", "/_sim/behaviour/{kind}", _behave),
)
