"""Objects outside the OpenAPI extract, compared with the SDK's classes: no unknown and no missing
field."""

import ast
import inspect

import pytest
import stripe
from stripe.params import EventListParams

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
    """Return the fields of the SDK's class, and whether each may be missing or null."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    annotated = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
    kinds = {
        node.target.id: ast.unparse(node.annotation)
        for node in annotated
        if isinstance(node.target, ast.Name)
    }
    return {
        name: kind.startswith("Optional")
        for name, kind in kinds.items()
        if not kind.startswith("ClassVar")
    }


def first(answer: Json) -> Json:
    found: Json = answer["data"][0] if answer["object"] == "list" else answer
    return found


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
    query: EventListParams = {
        "type": "transfer.*",
        "created": {"gt": 1},
        "delivery_success": True,
        "limit": 5,
    }
    (event,) = (await sdk.v1.events.list_async(query)).data
    cursor: EventListParams = {
        "ending_before": event.id,
        "types": ["transfer.created", "payout.paid"],
    }
    assert (await sdk.v1.events.list_async(cursor)).data == []


async def test_sdk_reads_platform_balance_and_account(
    api: StripeCaller, sdk: stripe.StripeClient, control: SimulatorControl
) -> None:
    await control.fund("usd", 5)
    balance = await sdk.v1.balance.retrieve_async()
    types = balance.available[0].source_types
    assert types is not None
    assert (balance.object, types.card) == ("balance", balance.available[0].amount)
    own = (await api.get("/v1/account")).json()["id"]
    assert (await sdk.v1.accounts.retrieve_async(own)).id == own
