"""Roles of named tokens: the calls that each role may make, and the names under which it acts."""

import hashlib
import re
from collections.abc import Callable

import pytest

from infrastructure.access import EVERY_RIGHT, Access, Caller, NamedToken, Role, named_tokens
from infrastructure.service import Service
from infrastructure.settings import BadSetting, Settings, settings_from
from infrastructure.web.app import HEALTH, application_of, create_app
from infrastructure.web.routes import OPERATIONS
from tests.infrastructure.web.conftest import Connect, Shop

GUARDED = [op for op in OPERATIONS if op.guarded]
CHECKOUT = """
    POST /v1/orders · POST /v1/orders/{order_id}/payment · POST /v1/orders/{order_id}/paid
    · POST /v1/refunds · GET /v1/orders/{order_id} · GET /v1/orders/{order_id}/history
    · GET /v1/refunds/{refund_id} · GET /v1/transfers · GET /v1/transfers/{transfer_id}
    · GET /v1/transfers/{transfer_id}/history · GET /v1/sellers/{seller_id}/balance
    · GET /v1/sellers/{seller_id}/payouts · GET /v1/sellers/{seller_id}/statement · GET /v1/facts"""
FORECAST = "POST /v1/what-if"
"""Changes nothing, although its question has a body."""
NOT_OF_OPERATORS = "POST /v1/orders · POST /v1/orders/{order_id}/payment"


def calls(text: str) -> set[str]:
    return {call.strip() for call in text.split("·")}


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def entries(*given: tuple[str, str, str]) -> str:
    return ",".join(f"{name}:{role}:{digest(token)}" for name, role, token in given)


TOKENS = named_tokens(
    entries(
        ("shop", "checkout", "shops-token"),
        ("mia", "operator", "mias-token"),
        ("mia", "operator", "mias-new-token"),
        ("aud", "auditor", "auditors-token"),
        ("prom", "metrics", "scrapers-token"),
    )
)
TOKEN_OF = {
    Role.CHECKOUT: "shops-token",
    Role.OPERATOR: "mias-token",
    Role.AUDITOR: "auditors-token",
    Role.METRICS: "scrapers-token",
}


def of_role(role: Role) -> set[str]:
    return {f"{op.method} {op.path}" for op in GUARDED if role in op.allowed}


def test_each_role_may_make_its_calls_alone() -> None:
    everything = {f"{op.method} {op.path}" for op in GUARDED}
    assert of_role(Role.CHECKOUT) >= calls(CHECKOUT)
    assert {call for call in of_role(Role.CHECKOUT) if call.startswith("POST")} == {
        "POST /v1/orders",
        "POST /v1/orders/{order_id}/payment",
        "POST /v1/orders/{order_id}/paid",
        "POST /v1/refunds",
        FORECAST,
    }
    assert everything - of_role(Role.OPERATOR) == calls(NOT_OF_OPERATORS)
    assert of_role(Role.AUDITOR) == {
        call for call in everything if call.startswith("GET ") or call == FORECAST
    }
    assert of_role(Role.METRICS) == set()


@pytest.mark.parametrize("role", list(Role))
async def test_call_of_another_role_is_refused_in_one_sentence(
    offline_service: Service, without: Callable[..., Service], connect: Connect, role: Role
) -> None:
    app = application_of(without(offline_service, api_token=None, named_tokens=TOKENS))
    async with connect(app, TOKEN_OF[role]) as client:
        for op in GUARDED:
            path = re.sub(r"{\w+}", "x", op.path)
            answer = await client.request(op.method, f"{path}?verbose=1")
            code, detail = answer.json()["code"], answer.json()["detail"]
            if role in op.allowed:
                assert code == "unknown_query_parameter", (op.method, op.path)
            else:
                assert (answer.status_code, code) == (403, "forbidden_role"), (op.method, op.path)
                assert f"has the role {role}, and this call needs" in detail
                assert all(allowed in detail for allowed in op.allowed)


async def test_metrics_need_a_token_once_one_exists_for_them(
    service: Service, without: Callable[..., Service], connect: Connect
) -> None:
    tokens = without(service, named_tokens=TOKENS)
    for operations in (OPERATIONS, HEALTH):
        app = application_of(tokens, operations)
        for token, status in ((None, 401), ("shops-token", 403), ("scrapers-token", 200)):
            async with connect(app, token) as client:
                assert (await client.get("/metrics")).status_code == status
                assert (await client.get("/healthz")).status_code == 200
    tokens = without(service, named_tokens=[one for one in TOKENS if one.role != Role.METRICS])
    async with connect(application_of(tokens)) as client:
        assert (await client.get("/metrics")).status_code == 200


async def test_named_token_acts_under_its_name(
    service: Service, without: Callable[..., Service], connect: Connect, shop: Shop
) -> None:
    path = f"/v1/transfers/{(await shop.paid(ada=1))['ada']}"
    async with connect(
        application_of(without(service, named_tokens=TOKENS)), "mias-new-token"
    ) as client:
        for given in ({}, {"actor": "mia"}, {"actor": "mia/tom of the night shift"}):
            answer = await client.post(f"{path}/retry", json={**given, "reason": "a test"})
            assert answer.status_code == 202, answer.text
        for other in ("tom", "mia2", "mi", "MIA", "mia tom"):
            answer = await client.post(f"{path}/retry", json={"actor": other, "reason": "a test"})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_actor")
            assert "leave actor out" in answer.json()["detail"]
        history = (await client.get(f"{path}/history")).json()["data"]
    actors = [one["payload"]["actor"] for one in history if "actor" in one["payload"]]
    assert actors == ["mia", "mia", "mia/tom of the night shift"]


async def test_token_with_every_right_has_to_name_the_actor(
    client: object, app: object, connect: Connect, shop: Shop
) -> None:
    path = f"/v1/transfers/{(await shop.paid(ada=1))['ada']}/retry"
    answer = await shop._client.post(path, json={"reason": "a test"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "/actor in the body is missing" in answer.json()["detail"]
    answer = await shop._client.post(path, json={"actor": "anybody", "reason": "a test"})
    assert answer.status_code == 202


def test_token_is_found_by_its_digest_alone() -> None:
    access = Access(["the-root-token"], TOKENS)
    assert access.caller("the-root-token") == Caller(None, EVERY_RIGHT)
    assert access.caller("mias-token") == access.caller("mias-new-token")
    assert access.caller("mias-token") == Caller("mia", frozenset({Role.OPERATOR}))
    assert [access.caller(wrong) for wrong in ("", "mia", digest("mias-token"), "\u20ac")] == [
        None
    ] * 4


@pytest.mark.parametrize(
    "wrong",
    [
        "mia",
        "mia:operator",
        "mia:operator:my-plain-token",
        f"mia:root:{digest('x')}",
        f"mia:operator:{digest('x')[:-1]}",
        f"m ia:operator:{digest('x')}",
        f"stripe:operator:{digest('x')}",
        f"Worker:operator:{digest('x')}",
        entries(("mia", "operator", "x"), ("mia", "auditor", "y")),
        entries(("mia", "operator", "x"), ("tom", "operator", "x")),
        ",",
    ],
)
def test_wrong_named_tokens_are_refused_in_one_sentence_unseen(wrong: str) -> None:
    with pytest.raises(BadSetting) as refused:
        settings_from({"LEDGER_API_TOKENS": wrong})
    assert re.fullmatch(
        r"LEDGER_API_TOKENS is '…'; expected name:role:sha256 [^.]+\._@-[^.]+\.", str(refused.value)
    )


def test_named_token_allows_other_machines_and_a_live_key() -> None:
    environment = {
        "LEDGER_API_TOKENS": f" {entries(('mia', 'operator', 'x'))} , {entries(('a', 'auditor', 'y'))}",
        "LEDGER_HOST": "0.0.0.0",
        "STRIPE_API_KEY": "sk_live_1",
    }
    settings = settings_from(environment)
    assert [(one.name, one.role) for one in settings.named_tokens] == [
        ("mia", "operator"),
        ("a", "auditor"),
    ]
    assert create_app(settings).routes
    assert digest("x") not in repr(settings)


def test_settings_hold_no_digest_in_their_text() -> None:
    token = NamedToken("mia", Role.OPERATOR, b"\xaa" * 32)
    assert "xaa" not in repr(Settings(named_tokens=(token,)))
