"""The application on a fresh database, clients that check every answer against the OpenAPI
document, and a worker."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import jsonschema
import pytest
from jsonschema import Draft202012Validator
from starlette.applications import Starlette

from application.commands import commands_on
from domain.provider_call.operation import TRANSFER
from domain.provider_call.outcome import Outcome, Rejected, Succeeded
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Send
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.stripe_call import begin
from infrastructure.bootstrap import stored
from infrastructure.clock import DatabaseClock
from infrastructure.hyperswitch import signature as hyperswitch
from infrastructure.postgres.alarms import PostgresAlarms
from infrastructure.postgres.connections import new_pool
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Service, Storage
from infrastructure.settings import Settings
from infrastructure.stripe import signature as stripe
from infrastructure.stripe.gateway import StripeGateway
from infrastructure.web.app import application_of
from infrastructure.web.openapi import codes, document
from infrastructure.web.problems import KINDS, MEDIA_TYPE
from infrastructure.web.routes import OPERATIONS
from tests.support.json_types import Json
from tests.support.outcomes import record_reversal_outcome, record_transfer_outcome

TOKEN = "a-token-of-the-tests"
OLD, NEW = "the-old-secret", "the-new-secret"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


# --- the application ------------------------------------------------------------------------------


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        api_token=TOKEN,
        stripe_webhook_secrets=(NEW, OLD),
        hyperswitch_webhook_secrets=(NEW, OLD),
    )


@pytest.fixture
async def offline_service() -> AsyncIterator[Service]:
    """A ledger that has not reached its database: quick, and enough for requests that are refused
    before any query."""
    settings = Settings(
        api_token=TOKEN, stripe_webhook_secrets=(NEW,), hyperswitch_webhook_secrets=(NEW,)
    )
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    pool, clock = new_pool(nowhere), DatabaseClock()
    store, inbox = EventStore(nowhere, pool), PostgresInbox(nowhere, pool)
    ledger = commands_on(PostgresEventLog(store), PostgresDirectory(pool), clock)
    async with StripeGateway("sk_test_nowhere", "http://127.0.0.1:9", timeout=1) as gateway:
        yield Service(
            settings,
            nowhere,
            pool,
            store,
            inbox,
            PostgresAlarms(pool),
            clock,
            ledger,
            "http://127.0.0.1:9",
            gateway,
        )


@pytest.fixture
async def storage(settings: Settings) -> AsyncIterator[Storage]:
    async with stored(settings) as storage:
        yield storage


@pytest.fixture
async def service(storage: Storage) -> AsyncIterator[Service]:
    """A ledger without its loops: only the test acts."""
    nowhere = "http://127.0.0.1:9"
    async with StripeGateway("sk_test_nowhere", nowhere, timeout=1) as gateway:
        yield Service(
            **{part.name: getattr(storage, part.name) for part in fields(storage)},
            stripe_url=nowhere,
            gateway=gateway,
        )


@pytest.fixture
def app(service: Service) -> Starlette:
    return application_of(service)


# --- calling it -----------------------------------------------------------------------------------

DOCUMENT = json.loads(json.dumps(document(OPERATIONS)))
TEMPLATES = [
    (re.compile(re.sub(r"{\w+}", "[^/]+", op.path).encode() + b"$"), op) for op in OPERATIONS
]
FORMATS = jsonschema.FormatChecker(formats=["uuid"])


@FORMATS.checks("date-time")
def _is_an_instant_in_utc(value: object) -> bool:
    return not isinstance(value, str) or INSTANT.fullmatch(value) is not None


async def conforms(response: httpx.Response) -> None:
    """Check the rules that hold for every answer."""
    await response.aread()
    assert response.headers["ledger-mode"] in ("simulator", "test", "live")
    assert response.status_code != 500, response.text
    if response.request.method == "HEAD":
        return
    if response.is_error:
        _is_a_problem(response)
    path = response.request.url.raw_path.partition(b"?")[0]
    for template, op in TEMPLATES:
        if template.match(path) and op.method == response.request.method:
            _as_documented(response, DOCUMENT["paths"][op.path][op.method.lower()])
            assert response.is_success or response.json()["code"] in codes(op), response.text


def _is_a_problem(response: httpx.Response) -> None:
    assert response.headers["content-type"] == MEDIA_TYPE
    problem = response.json()
    assert problem["status"] == response.status_code == KINDS[problem["code"]].status
    assert problem["title"] == KINDS[problem["code"]].title
    assert problem["detail"].endswith(".")
    assert ("retry-after" in response.headers) == (response.status_code == 503)


def _as_documented(response: httpx.Response, operation: Json) -> None:
    described = operation["responses"][str(response.status_code)]
    media_type = response.headers["content-type"].partition(";")[0]
    schema = described["content"][media_type].get("schema")
    if schema is not None:
        whole = {**schema, "components": DOCUMENT["components"]}
        Draft202012Validator(whole, format_checker=FORMATS).validate(response.json())


Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def connect() -> Connect:
    """Return a function that opens a client of an application; without a token unless one is
    given."""

    @asynccontextmanager
    async def connected(
        app: Starlette, token: str | None = None
    ) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        hooks = {"response": [conforms]}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://ledger", headers=headers, event_hooks=hooks
        ) as client:
            yield client

    return connected


@pytest.fixture
async def client(app: Starlette, connect: Connect) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(app, TOKEN) as client:
        yield client


@pytest.fixture
async def offline_client(
    offline_service: Service, connect: Connect
) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the token, of a ledger that has not reached its database."""
    async with connect(application_of(offline_service), TOKEN) as client:
        yield client


@pytest.fixture
async def anonymous_client(app: Starlette, connect: Connect) -> AsyncIterator[httpx.AsyncClient]:
    """A client without the token."""
    async with connect(app) as client:
        yield client


# --- the marketplace ------------------------------------------------------------------------------


class Shop:
    """A marketplace that makes valid calls."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    @staticmethod
    def an_order(order_id: str = "o1", amount: int = 10_000, **shares: int) -> Json:
        given = shares or {"ada": 8_000}
        named = [
            {"seller_id": s, "destination": f"acct_{s}", "amount": a} for s, a in given.items()
        ]
        return {"order_id": order_id, "currency": "EUR", "amount": amount, "shares": named}

    async def order(self, order_id: str = "o1", amount: int = 10_000, **shares: int) -> Json:
        return await self._post("/v1/orders", self.an_order(order_id, amount, **shares))

    async def paid(
        self, order_id: str = "o1", amount: int = 10_000, **shares: int
    ) -> dict[str, UUID]:
        """Make a paid order; return its transfers' ids by seller."""
        await self.order(order_id, amount, **shares)
        order = await self._post(f"/v1/orders/{order_id}/paid", {})
        return {
            transfer["seller_id"]: UUID(transfer["transfer_id"]) for transfer in order["transfers"]
        }

    async def refund(self, refund_id: str = "r1", order_id: str = "o1", **members: object) -> Json:
        return await self._post(
            "/v1/refunds",
            {"refund_id": refund_id, "order_id": order_id, "settled": True, **members},
        )

    async def transfer(self, transfer_id: UUID) -> Json:
        answer: Json = (
            (await self._client.get(f"/v1/transfers/{transfer_id}")).raise_for_status().json()
        )
        return answer

    async def _post(self, path: str, body: Json) -> Json:
        answer: Json = (await self._client.post(path, json=body)).raise_for_status().json()
        return answer


@pytest.fixture
def shop(client: httpx.AsyncClient) -> Shop:
    return Shop(client)


# --- the worker -----------------------------------------------------------------------------------


class StripeWorker:
    """Runs the worker's next step of a transfer, with a given outcome of Stripe."""

    POLICY = Policy(max_retries=0)

    def __init__(self, service: Service) -> None:
        self._ledger, self._clock = PostgresEventLog(service.store), service.clock
        self._made = 0

    async def does(self, transfer_id: UUID) -> str:
        """Make the next call succeed; return the id at Stripe."""
        self._made += 1
        stripe_id = f"tr_{self._made}"
        await self._step(transfer_id, lambda amount: Succeeded(stripe_id, amount))
        return stripe_id

    async def is_paid_by(self, transfer_id: UUID, stripe_id: str) -> None:
        """Make the next call succeed with this object at Stripe."""
        await self._step(transfer_id, lambda amount: Succeeded(stripe_id, amount))

    async def answers(self, transfer_id: UUID, outcome: Outcome, *, read: bool = False) -> None:
        """Record an outcome; with `read`, Stripe then shows the transfer without this reversal."""
        await self._step(transfer_id, lambda amount: outcome, read=read)

    async def is_called(self, transfer_id: UUID) -> None:
        """Record the intent of the next call, but no outcome."""
        uow = await self._ledger.load([transfer_id])
        begin(uow.transfer(transfer_id), self._clock.now(), self.POLICY)
        await self._ledger.append(uow)

    async def refuses_the_open_call(self, transfer_id: UUID) -> None:
        """Record a definite refusal of the call that `is_called` began."""
        uow, now = await self._ledger.load([transfer_id]), self._clock.now()
        transfer = uow.transfer(transfer_id)
        assert transfer.operation is not None
        refused = Rejected(400, "account_invalid", "The account is not ready.", stored=True)
        record_transfer_outcome(transfer, transfer.operation.attempt, refused, now, self.POLICY)
        await self._ledger.append(uow)

    async def _step(
        self, transfer_id: UUID, outcome: Callable[[int], Outcome], *, read: bool = False
    ) -> None:
        uow, now = await self._ledger.load([transfer_id]), self._clock.now()
        transfer = uow.transfer(transfer_id)
        step = begin(transfer, now, self.POLICY)
        assert isinstance(step, Send), step
        came = outcome(step.body["amount"])
        if step.what == TRANSFER:
            record_transfer_outcome(transfer, step.attempt, came, now, self.POLICY)
        else:
            seen = _seen(transfer) if read else None
            record_reversal_outcome(transfer, step.what, step.attempt, came, seen, now, self.POLICY)
        await self._ledger.append(uow)


def _seen(transfer: SellerTransfer) -> TransferAtStripe:
    """Return the transfer as Stripe shows it."""
    return TransferAtStripe(
        transfer.stripe_transfer_id or "",
        transfer.amount,
        transfer.amount_reversed,
        transfer.currency,
        transfer.destination,
        str(transfer.id),
    )


@pytest.fixture
def at_stripe(service: Service) -> StripeWorker:
    return StripeWorker(service)


# --- senders of webhooks --------------------------------------------------------------------------


class WebhookSenders:
    """Signs as Hyperswitch and Stripe do."""

    def __init__(self, service: Service) -> None:
        self._clock = service.clock

    def hyperswitch(self, body: bytes, secret: str = NEW) -> dict[str, str]:
        return {hyperswitch.HEADER: hyperswitch.sign(body, secret)}

    def stripe(
        self, body: bytes, secret: str = NEW, age: timedelta = timedelta(0)
    ) -> dict[str, str]:
        return {stripe.HEADER: stripe.sign(body, secret, self._clock.now() - age)}


@pytest.fixture
def senders(service: Service) -> WebhookSenders:
    return WebhookSenders(service)


@pytest.fixture
def without() -> Callable[..., Service]:
    """Return a function that changes settings of a service."""

    def changed(service: Service, **settings: Any) -> Service:
        return replace(service, settings=replace(service.settings, **settings))

    return changed
