"""Authentication of the HTTP API: the token, and calls from pages of other sites."""

import re
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from infrastructure.service import Service
from infrastructure.web.app import application_of
from infrastructure.web.operation import ApiOperation
from infrastructure.web.routes import OPERATIONS
from tests.infrastructure.web.conftest import Connect

GUARDED = [op for op in OPERATIONS if op.path.startswith("/v1/")]
OPEN = [op for op in OPERATIONS if not op.path.startswith("/v1/")]


def filled(path: str) -> str:
    return re.sub(r"{\w+}", "x", path)


@pytest.fixture
async def anonymous_offline_client(
    offline_service: Service, connect: Connect
) -> AsyncIterator[httpx.AsyncClient]:
    """A client without the token."""
    async with connect(application_of(offline_service)) as client:
        yield client


@pytest.mark.parametrize("op", GUARDED, ids=lambda op: f"{op.method} {op.path}")
async def test_v1_call_requires_token(
    anonymous_offline_client: httpx.AsyncClient, op: ApiOperation
) -> None:
    answer = await anonymous_offline_client.request(op.method, filled(op.path))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer wrong", "Basic a-token-of-the-tests", "a-token-of-the-tests", "Bearer a-token-of-the-tests2",
     "Bearer a-token-of-the-test", b"Bearer \xe9\xff"],
)  # fmt: skip
async def test_wrong_token_is_refused(
    anonymous_offline_client: httpx.AsyncClient, header: str | bytes
) -> None:
    answer = await anonymous_offline_client.get(
        "/v1/transfers",
        headers=[(b"Authorization", header.encode() if isinstance(header, str) else header)],
    )
    assert answer.status_code == 401
    assert "a-token-of-the-tests" not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_auth_scheme_is_case_insensitive(
    anonymous_offline_client: httpx.AsyncClient, scheme: str
) -> None:
    answer = await anonymous_offline_client.get(
        "/v1/transfers?limit=0", headers={"Authorization": f"{scheme} a-token-of-the-tests"}
    )
    assert answer.status_code == 422


async def test_unknown_path_is_hidden_without_token(
    anonymous_offline_client: httpx.AsyncClient,
) -> None:
    assert (await anonymous_offline_client.get("/v1/nothing")).status_code == 401
    assert (await anonymous_offline_client.delete("/v1/transfers")).status_code == 401


@pytest.mark.parametrize("op", OPEN, ids=lambda op: f"{op.method} {op.path}")
async def test_call_outside_v1_needs_no_token(
    anonymous_offline_client: httpx.AsyncClient, op: ApiOperation
) -> None:
    assert (await anonymous_offline_client.request(op.method, op.path)).status_code != 401


async def test_unset_token_allows_all_but_cross_site_calls(
    offline_service: Service, without: Callable[..., Service], connect: Connect
) -> None:
    async with connect(application_of(without(offline_service, api_token=None))) as client:
        assert (await client.get("/v1/transfers?limit=0")).status_code == 422
        assert (
            await client.get("/v1/transfers?limit=0", headers={"Sec-Fetch-Site": "same-origin"})
        ).status_code == 422
        for site in ("cross-site", "same-site"):
            answer = await client.post(
                "/v1/orders", content=b"{}", headers={"Sec-Fetch-Site": site}
            )
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 422), ("127.0.0.1:8000", 422), ("[::1]:8000", 422), ("127.9.9.9", 422),
        ("ledger.localhost", 422), ("evil.example", 403), ("evil.example:8000", 403),
        ("10.1.2.3:8000", 403), ("127.0.0.1.evil.example", 403), ("[::1", 403),
    ],
)  # fmt: skip
async def test_unset_token_allows_only_names_of_this_machine(
    offline_service: Service,
    without: Callable[..., Service],
    connect: Connect,
    host: str,
    status: int,
) -> None:
    """A page whose name resolves to 127.0.0.1 sends its own name as Host."""
    async with connect(application_of(without(offline_service, api_token=None))) as client:
        answer = await client.get("/v1/transfers?limit=0", headers={"Host": host})
    assert answer.status_code == status
    assert status == 422 or answer.json()["code"] == "unknown_host"
