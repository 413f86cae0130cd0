"""Charges of payments: what Stripe shows in one read, in several, or not at all."""

from collections.abc import Mapping

import pytest

from domain.provider_call.outcome import Failure, Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.stripe_objects import ChargeAtStripe
from infrastructure.simulators.stripe import running_simulator
from infrastructure.stripe.charges import charge_of
from tests.infrastructure.stripe.conftest import OpenGateway
from tests.support.json_types import Json

ABSENT = Rejected(404, "resource_missing", "No such object", stored=False)
AWAY = Unknown("http_503", "away", 503)
LINE: Json = {"id": "txn_1", "amount": 900, "currency": "cad"}
CHARGE: Json = {
    "id": "ch_1",
    "object": "charge",
    "amount": 1_000,
    "amount_captured": 700,
    "currency": "usd",
    "status": "pending",
    "balance_transaction": LINE,
}
SETTLED = ChargeAtStripe("ch_1", 700, "USD", "pending", 900, "CAD")
UNSETTLED = ChargeAtStripe("ch_1", 700, "USD", "pending")


class Books:
    """Stripe's objects by path; every other path has none."""

    def __init__(self, objects: Mapping[str, Json | Failure]) -> None:
        self.objects = objects
        self.read: list[str] = []

    async def get(self, path: str, expand: str | None) -> Mapping[str, object] | Failure:
        self.read.append(path.removeprefix("/v1/"))
        return self.objects.get(self.read[-1], ABSENT)


def _intent(latest: object) -> Json:
    return {"id": "pi_1", "amount": 1_000, "currency": "usd", "latest_charge": latest}


@pytest.mark.parametrize(
    ("objects", "expected", "reads"),
    [
        ({"payment_intents/pi_1": _intent(CHARGE)}, SETTLED, 1),
        ({"payment_intents/pi_1": _intent("ch_1"), "charges/ch_1": CHARGE}, SETTLED, 2),
        (
            {
                "payment_intents/pi_1": _intent(CHARGE | {"balance_transaction": "txn_1"}),
                "balance_transactions/txn_1": LINE,
            },
            SETTLED,
            2,
        ),
        ({"payment_intents/pi_1": _intent(CHARGE | {"balance_transaction": None})}, UNSETTLED, 1),
        (
            {"payment_intents/pi_1": _intent(CHARGE | {"balance_transaction": "txn_1"})},
            UNSETTLED,
            2,
        ),
        (
            {"payment_intents/pi_1": _intent("ch_1")},
            ChargeAtStripe("ch_1", 1_000, "USD", "succeeded"),
            2,
        ),
        (
            {"payment_intents/pi_1": _intent({"id": "ch_1"})},
            ChargeAtStripe("ch_1", 1_000, "USD", "succeeded"),
            1,
        ),
        (
            {"payment_intents/pi_1": _intent(CHARGE | {"balance_transaction": {"id": "txn_1"}})},
            UNSETTLED,
            1,
        ),
        ({"payment_intents/pi_1": _intent(None)}, None, 1),
        ({}, ABSENT, 1),
        ({"payment_intents/pi_1": AWAY}, AWAY, 1),
        ({"payment_intents/pi_1": _intent("ch_1"), "charges/ch_1": AWAY}, AWAY, 2),
    ],
)
async def test_charge_is_read_from_what_stripe_shows(
    objects: Mapping[str, Json | Failure], expected: object, reads: int
) -> None:
    books = Books(objects)
    assert await charge_of("pi_1", books.get) == expected
    assert len(books.read) == reads


@pytest.mark.parametrize("payment", ["ch_1", "py_1"])
async def test_charge_of_a_charge_is_itself(payment: str) -> None:
    books = Books({f"charges/{payment}": CHARGE | {"id": payment}})
    assert await charge_of(payment, books.get) == SETTLED._replace(charge_id=payment)


async def test_charge_without_an_amount_is_unknown() -> None:
    broken = {name: value for name, value in CHARGE.items() if name[:6] != "amount"}
    seen = await charge_of("ch_1", Books({"charges/ch_1": broken}).get)
    assert isinstance(seen, Unknown)
    assert seen.why == "unreadable"


async def test_gateway_reads_a_charge_in_one_request(gateway_at: OpenGateway) -> None:
    async with running_simulator() as (simulator, control):
        made = await control.add_payment("usd", 1_000, settled_currency="cad", settled_amount=1_356)
        gateway = await gateway_at(simulator.url)
        seen = await gateway.charge(made["id"])
        charge = made["latest_charge"]
        assert seen == ChargeAtStripe(charge, 1_000, "USD", "succeeded", 1_356, "CAD")
        assert seen == await gateway.charge(charge)
        assert len(await control.requests("*.retrieve")) == 2


async def test_gateway_tells_an_unreadable_payment_from_silence(gateway_at: OpenGateway) -> None:
    async with running_simulator() as (simulator, control):
        gateway = await gateway_at(simulator.url)
        absent = await gateway.charge("pi_elsewhere")
        assert isinstance(absent, Rejected)
        assert absent.status == 404
        await control.fault("error", "payment_intents.retrieve", times=1, status=403)
        forbidden = await gateway.charge("pi_elsewhere")
        assert isinstance(forbidden, NotExecuted)
        assert forbidden.why is Hindrance.FORBIDDEN
        await control.fault("error", "payment_intents.retrieve", times=1, status=503)
        assert isinstance(await gateway.charge("pi_elsewhere"), Unknown)


async def test_charge_has_the_amounts_of_the_ledger() -> None:
    line = LINE | {"amount": 50_050, "currency": "isk"}
    charge = CHARGE | {
        "amount_captured": 38_000_000,
        "currency": "ugx",
        "balance_transaction": line,
    }
    seen = await charge_of("ch_1", Books({"charges/ch_1": charge}).get)
    assert seen == ChargeAtStripe("ch_1", 380_000, "UGX", "pending", 500, "ISK")
