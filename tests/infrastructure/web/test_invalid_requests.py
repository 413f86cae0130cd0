"""Invalid requests: every answer is one that the OpenAPI document promises, and never a 500.

The client of these tests checks every answer against the OpenAPI document (see conftest), so
sending is enough.
"""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from infrastructure.web.operation import ApiOperation
from infrastructure.web.routes import OPERATIONS
from tests.infrastructure.web.conftest import Shop
from tests.support.json_types import Json

ORDER: Json = {
    "order_id": "o1",
    "currency": "EUR",
    "amount": 1_000,
    "shares": [{"seller_id": "ada", "destination": "acct_ada", "amount": 800, "currency": "EUR"}],
    "payment_id": "pay_1",
    "source_transaction": "ch_1",
}
REFUND: Json = {
    "refund_id": "r1",
    "order_id": "o1",
    "amount": 10,
    "reason": "why",
    "allocation": [{"seller_id": "ada", "amount": 5}],
    "settled": True,
    "psp_refund_id": "re_1",
}
BODIES: dict[str, Json] = {
    "/v1/orders": ORDER,
    "/v1/orders/{order_id}/paid": {"payment_id": "pay_1", "source_transaction": "ch_1"},
    "/v1/refunds": REFUND,
    "/v1/transfers/{transfer_id}/retry": {"actor": "mia", "reason": "why"},
}
STRANGE: list[object] = [
    None, True, False, 0, -1, 1.0, 1.5, 1e400, float("nan"), 2**53, 2**63, 10**30,
    "", " ", "1", "a b", "\u0000", "a\u0000b", "\n", "\ud800",
    "\ufffe", "é", "𝄞", "🙂" * 100, "x" * 129, "x" * 10_000, "' or 1=1 --", "%s%(x)s{}", "\u202e",
    "../..",
    "EURO", "eur", "XXX", "ß", [], [[]], {}, {"a": 1}, [None],
]  # fmt: skip

Place = tuple[str | int, ...]


def places(value: object, at: Place = ()) -> Iterator[Place]:
    """Every place in a JSON value, the whole included."""
    yield at
    members = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, member in members:
        yield from places(member, (*at, key))


def changed(value: object, place: Place, strange: object) -> Any:
    if not place:
        return strange
    whole = copy.deepcopy(value)
    inner: Any = whole
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = strange
    return whole


async def send(client: httpx.AsyncClient, path: str, body: object) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post(
        path.format(order_id="o1", transfer_id="6f0b3f0e-0000-4000-8000-000000000000"), content=raw
    )


@pytest.mark.parametrize("path", BODIES)
async def test_strange_body_value_is_never_a_500(
    client: httpx.AsyncClient, shop: Shop, path: str
) -> None:
    await shop.paid("o1", ada=800)
    for place in places(BODIES[path]):
        for strange in STRANGE:
            await send(client, path, changed(BODIES[path], place, strange))
    for name in BODIES[path]:
        await send(client, path, {key: value for key, value in BODIES[path].items() if key != name})
        await send(client, path, {**BODIES[path], f"{name}2": 1})


async def test_amount_is_never_float_string_or_bool(offline_client: httpx.AsyncClient) -> None:
    for amount in (1_000.0, "1000", True, None, 0, -1, 2**53, 1e3, [1_000], {"value": 1_000}):
        for place in (("amount",), ("shares", 0, "amount")):
            answer = await send(offline_client, "/v1/orders", changed(ORDER, place, amount))
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), (
                place,
                amount,
            )
            assert answer.json()["errors"][0]["at"].startswith("/" + "/".join(map(str, place)))


async def test_id_is_printable_ascii_without_spaces(offline_client: httpx.AsyncClient) -> None:
    for bad in ("", " ", "a b", "a\n", "\u0000", "é", "x" * 129, "\u007f", 1, None, ["o1"]):
        answer = await send(offline_client, "/v1/orders", changed(ORDER, ("order_id",), bad))
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), bad


async def test_body_members_must_be_consistent(offline_client: httpx.AsyncClient) -> None:
    twice = [*ORDER["shares"], *ORDER["shares"]]
    changes: list[Json] = [
        {"shares": [{**ORDER["shares"][0], "amount": 1_001}]},
        {"shares": twice},
        {"shares": []},
        {"currency": "XXX"},
        {"currency": "euro"},
    ]
    for change in changes:
        answer = await send(offline_client, "/v1/orders", {**ORDER, **change})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), change
    answer = await send(
        offline_client, "/v1/refunds", {**REFUND, "allocation": REFUND["allocation"] * 2}
    )
    assert "'ada' occurs twice" in answer.json()["detail"]


async def test_problem_names_place_error_and_expectation(offline_client: httpx.AsyncClient) -> None:
    answer = await send(
        offline_client, "/v1/orders", changed(ORDER, ("shares", 0, "seller_id"), "a b")
    )
    problem = answer.json()
    assert problem["errors"] == [
        {
            "in": "body",
            "at": "/shares/0/seller_id",
            "detail": "expected 1 to 128 printable ASCII characters without spaces",
        }
    ]
    assert problem["detail"].startswith(
        "/shares/0/seller_id in the body is not valid: expected 1 to 128"
    )


texts = st.text(max_size=200) | st.sampled_from([s for s in STRANGE if isinstance(s, str)])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
bodies = st.sampled_from(sorted(BODIES)).flatmap(
    lambda path: st.tuples(
        st.just(path),
        st.binary(max_size=100)
        | values
        | st.tuples(st.sampled_from(list(places(BODIES[path]))), values).map(
            lambda change: changed(BODIES[path], *change)
        ),
    )
)
NAMES = ["status", "seller_id", "order_id", "limit", "cursor", "as_of", "after"]
queries = st.lists(
    st.tuples(st.sampled_from(NAMES) | texts, texts | st.integers().map(str)), max_size=3
)
bounded = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@bounded
@given(call=bodies)
@example(call=("/v1/orders", b"\x00"))
async def test_random_body_gets_documented_answer(
    client: httpx.AsyncClient, call: tuple[str, object]
) -> None:
    await send(client, *call)


def sent(text: str) -> str:
    """As a client that knows no Unicode would send it: lone surrogates as the bytes they stand
    for."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@bounded
@given(
    op=st.sampled_from([op for op in OPERATIONS if op.method == "GET"]), name=texts, query=queries
)
@example(
    op=next(op for op in OPERATIONS if op.path == "/v1/orders/{order_id}"), name="\ud800", query=[]
)
@example(
    op=next(op for op in OPERATIONS if op.path == "/v1/transfers"),
    name="",
    query=[("seller_id", "\ud800")],
)
async def test_random_path_and_query_get_documented_answer(
    client: httpx.AsyncClient, op: ApiOperation, name: str, query: list[tuple[str, str]]
) -> None:
    path = re.sub(r"{\w+}", lambda _: sent(name), op.path)
    await client.get(f"{path}?{'&'.join(f'{sent(key)}={sent(value)}' for key, value in query)}")


@pytest.mark.parametrize(
    "query", ["%", "%zz", "%ff=%fe", "limit", "&&&", "limit=1;limit=2", "=1", "a" * 10_000]
)
async def test_malformed_query_is_never_a_500(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/transfers?{query}")
    assert answer.status_code in (200, 400, 422)


@pytest.mark.parametrize(
    ("currency", "amount", "sentence"),
    [
        ("KWD", 1_234, "expected a multiple of 10"),
        ("TND", 5, "expected a multiple of 10"),
        ("IRR", 1_000, "Stripe makes no transfers in IRR"),
    ],
)
async def test_share_that_stripe_cannot_transfer_is_refused(
    client: httpx.AsyncClient, currency: str, amount: int, sentence: str
) -> None:
    share = {"seller_id": "ada", "destination": "acct_1", "amount": amount}
    order = {"order_id": "o1", "currency": currency, "amount": 10_000, "shares": [share]}
    answer = await client.post("/v1/orders", json=order)
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]
