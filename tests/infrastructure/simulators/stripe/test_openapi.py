"""Answers of the eight transfer operations against Stripe's own OpenAPI description, where that
file is at hand."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from infrastructure.simulators.common.exchange import injected_status
from infrastructure.simulators.common.fault_actions import Error, ErrorStatus
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import EarlyAnswer
from infrastructure.simulators.stripe import KIND, SimulatorConfig, SimulatorControl
from infrastructure.simulators.stripe.errors import CATALOGUE
from infrastructure.simulators.stripe.operations import OPERATIONS
from infrastructure.simulators.stripe.world import StripeWorld
from tests.infrastructure.simulators.stripe.conftest import StripeCaller
from tests.support.json_types import Json

SPEC = Path(__file__).parents[5] / "shared" / "facts" / "stripe_connect_transfers.openapi.json"

pytestmark = pytest.mark.skipif(
    not SPEC.exists(), reason="Stripe's OpenAPI extract is not beside this checkout"
)


def as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 says `nullable` where JSON Schema says "or null"."""
    if isinstance(node, list):
        return [as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: as_json_schema(item) for name, item in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


class Spec:
    """Check answers and request bodies against Stripe's OpenAPI description, and remember the
    operations."""

    def __init__(self) -> None:
        self.document = as_json_schema(json.loads(SPEC.read_text()))
        self.seen: set[tuple[str, str, str]] = set()

    def check(self, method: str, path: str, answer: Any) -> Any:
        responses = self.document["paths"][path][method]["responses"]
        status = "200" if answer.status_code == 200 else "default"
        schema = responses[status]["content"]["application/json"]["schema"]
        validator = jsonschema.Draft202012Validator(
            {**schema, "components": self.document["components"]}
        )
        validator.validate(answer.json())
        self.seen.add((method, path, status))
        return answer.json()

    def all_operations(self) -> set[tuple[str, str, str]]:
        return {
            (method, path, status)
            for path, methods in self.document["paths"].items()
            for method in methods
            for status in ("200", "default")
        }


TRANSFERS, TRANSFER = "/v1/transfers", "/v1/transfers/{transfer}"
REVERSALS, REVERSAL = "/v1/transfers/{id}/reversals", "/v1/transfers/{transfer}/reversals/{id}"


async def test_answer_matches_stripe_schema(api: StripeCaller, control: SimulatorControl) -> None:
    spec = Spec()
    rich = {
        "description": "d",
        "transfer_group": "g",
        "metadata[a]": "b",
        "source_transaction": "ch_1",
    }
    transfer = spec.check("post", TRANSFERS, await api.transfer(**rich))
    path = f"/v1/transfers/{transfer['id']}"
    reversal = spec.check(
        "post", REVERSALS, await api.reverse(transfer["id"], 400, **{"metadata[a]": "b"})
    )
    spec.check("post", REVERSALS, await api.reverse(transfer["id"]))
    spec.check("get", TRANSFERS, await api.get(TRANSFERS, {"created[gte]": 1, "limit": 100}))
    spec.check("get", TRANSFER, await api.get(path))
    spec.check("post", TRANSFER, await api.post(path, {"metadata[c]": "d"}))
    spec.check("get", REVERSALS, await api.get(path + "/reversals"))
    spec.check("get", REVERSAL, await api.get(f"{path}/reversals/{reversal['id']}"))
    spec.check(
        "post", REVERSAL, await api.post(f"{path}/reversals/{reversal['id']}", {"metadata[c]": "d"})
    )

    nothing = "/v1/transfers/tr_nothing"
    spec.check("post", TRANSFERS, await api.transfer(amount=0))
    spec.check("post", REVERSALS, await api.reverse(transfer["id"]))
    spec.check("get", TRANSFERS, await api.get(TRANSFERS, {"limit": 0}))
    spec.check("get", TRANSFER, await api.get(nothing))
    spec.check("post", TRANSFER, await api.post(nothing))
    spec.check("get", REVERSALS, await api.get(nothing + "/reversals"))
    spec.check("get", REVERSAL, await api.get(nothing + "/reversals/trr_1"))
    spec.check("post", REVERSAL, await api.post(nothing + "/reversals/trr_1"))
    assert spec.seen == spec.all_operations()


async def test_event_matches_stripe_schema(api: StripeCaller, control: SimulatorControl) -> None:
    transfer = await api.made()
    await api.reverse(transfer["id"], 5)
    await api.post(f"/v1/transfers/{transfer['id']}", {"metadata[a]": "b"})
    await control.change_account("acct_seller", payouts_enabled=False)
    spec = Spec()
    schema = {"$ref": "#/components/schemas/event", "components": spec.document["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    platform = (await api.get("/v1/events")).json()["data"]
    connected = (await api.get("/v1/events", **{"Stripe-Account": "acct_seller"})).json()["data"]
    for event in platform + connected:
        validator.validate(event)
    assert [event["type"] for event in platform] == [
        "transfer.updated",
        "transfer.reversed",
        "transfer.created",
    ]
    assert [event["type"] for event in connected] == ["account.updated", "refund.created"]


ERRORS = [*CATALOGUE, "injected 500", "injected error"]


@pytest.mark.parametrize("name", ERRORS)
def test_error_answer_matches_stripe_schema(name: str) -> None:
    """Every entry of the catalogue, worded as it is, whether or not a test provokes it."""
    world = StripeWorld(SimulatorConfig(manners=KIND))
    call = world.new_request("none", "POST", TRANSFERS)
    match name:
        case "injected 500":
            injected = injected_status(world, call, ErrorStatus(kind="status", status=500))
            assert isinstance(injected, EarlyAnswer)
            answer = injected.answer
        case "injected error":
            answer = world.injected(
                Error(kind="error", code="account_invalid", param="destination"), call
            )
        case _:
            answer = world.refused(Refusal(name), call, stored=False)
    document = Spec().document
    schema = {"$ref": "#/components/schemas/error", "components": document["components"]}
    body = json.loads(answer.body)
    jsonschema.Draft202012Validator(schema).validate(body)
    assert set(body["error"]) <= set(document["components"]["schemas"]["api_errors"]["properties"])
    assert body["error"]["type"] in (
        "api_error",
        "card_error",
        "idempotency_error",
        "invalid_request_error",
    )


def unnamed(path: str) -> str:
    """Return the path without the names of its placeholders."""
    return re.sub(r"\{.*?\}", "{}", path)


def test_operations_accept_only_documented_parameters() -> None:
    accepted = {(op.method.lower(), unnamed(op.path)): set(op.accepts) for op in OPERATIONS}
    for path, methods in Spec().document["paths"].items():
        for method, operation in methods.items():
            assert accepted[method, unnamed(path)] == documented(method, operation), (method, path)


def documented(method: str, operation: Json) -> set[str]:
    if method == "get":
        return {each["name"] for each in operation["parameters"] if each["in"] == "query"}
    return set(
        operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"][
            "properties"
        ]
    )
