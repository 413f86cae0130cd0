"""What lies outside the OpenAPI extract is compared with the SDK's own classes: nothing unknown, nothing missing."""

import ast
import inspect
from typing import Any

import pytest
import stripe

from infrastructure.simulators.stripe import SimulatorControl
from tests.infrastructure.simulators.stripe.conftest import StripeCaller
from tests.support.json_types import Json

SHAPES: dict[str, tuple[type[stripe.StripeObject], str]] = {
    "balance": (stripe.Balance, "/v1/balance"),
    "account": (stripe.Account, "/v1/accounts/acct_seller"),
    "own account": (stripe.Account, "/v1/account"),
    "event": (stripe.Event, "/v1/events"),
    "balance transaction": (stripe.BalanceTransaction, "/v1/balance_transactions"),
    "transfer": (stripe.Transfer, "/v1/transfers"),
}


def declared(kind: type[stripe.StripeObject]) -> dict[str, bool]:
    """The fields of the SDK's class, and whether each may be missing or null."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    annotated = [node for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    kinds = {node.target.id: ast.unparse(node.annotation) for node in annotated}
    return {name: kind.startswith("Optional") for name, kind in kinds.items() if not kind.startswith("ClassVar")}


def first(answer: Any) -> Json:
    return answer["data"][0] if answer["object"] == "list" else answer


@pytest.mark.parametrize(("kind", "path"), SHAPES.values(), ids=SHAPES)
async def test_answer_has_exactly_the_fields_of_the_sdk(
    api: StripeCaller, control: SimulatorControl, kind: type[stripe.StripeObject], path: str
) -> None:
    await api.made()
    answer = await api.get(path)
    assert answer.status_code == 200
    shown, fields = first(answer.json()), declared(kind)
    assert set(shown) <= set(fields)
    assert {name for name, optional in fields.items() if not optional} <= set(shown)


async def test_event_list_parameters_are_those_of_the_sdk(
    api: StripeCaller, sdk: stripe.StripeClient, control: SimulatorControl
) -> None:
    await api.made()
    query = {"type": "transfer.*", "created": {"gt": 1}, "delivery_success": True, "limit": 5}
    (event,) = (await sdk.v1.events.list_async(query)).data
    cursor = {"ending_before": event.id, "types": ["transfer.created", "payout.paid"]}
    assert (await sdk.v1.events.list_async(cursor)).data == []


async def test_sdk_reads_platform_balance_and_account(
    api: StripeCaller, sdk: stripe.StripeClient, control: SimulatorControl
) -> None:
    await control.fund("usd", 5)
    balance = await sdk.v1.balance.retrieve_async()
    assert (balance.object, balance.available[0].source_types.card) == ("balance", balance.available[0].amount)
    own = (await api.get("/v1/account")).json()["id"]
    assert (await sdk.v1.accounts.retrieve_async(own)).id == own
