"""The Python client against the real application, over a network that loses requests and
answers."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette

from infrastructure import client as of_clients
from infrastructure.client import (
    LedgerClient,
    LedgerProblem,
    LedgerUnreachable,
    OrderIn,
    RefundIn,
    ShareIn,
    WhatIfIn,
)
from infrastructure.service import Service
from tests.infrastructure.web.conftest import TOKEN
from tests.support.web_server import served

ROOT = Path(__file__).parents[3]
LOST_REQUEST, LOST_ANSWER, SENT, BUSY = "lost request", "lost answer", "sent", "busy"
T = TypeVar("T")


class Network(httpx.BaseTransport):
    """A network with a plan: the fate of each call, and `SENT` after the last one."""

    def __init__(self, *plan: str) -> None:
        self._plan, self._inner = list(plan), httpx.HTTPTransport()
        self.ids: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        fate = self._plan.pop(0) if self._plan else SENT
        self.ids.append(request.headers["x-request-id"])
        if fate == LOST_REQUEST:
            raise httpx.ConnectError("no connection", request=request)
        if fate == BUSY:
            return httpx.Response(502, text="bad gateway", request=request)
        response = self._inner.handle_request(request)
        if fate == LOST_ANSWER:
            response.read()
            raise httpx.ReadError("connection reset", request=request)
        return response

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
async def url(app: Starlette) -> AsyncIterator[str]:
    async with served(app) as url:
        yield url


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_clients, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(of_clients, "LONGEST_WAIT", 0.0)


def order(order_id: str = "o/1?", amount: int = 100) -> OrderIn:
    share = ShareIn(seller_id="ada", destination="acct_ada", amount=amount - 10)
    return OrderIn(order_id=order_id, currency="EUR", amount=amount, shares=[share])


async def test_client_makes_the_checkouts_calls(url: str) -> None:
    def checkout() -> None:
        with LedgerClient(url, TOKEN) as ledger:
            assert ledger.register_order(order()).status == "open"
            paid = ledger.report_paid("o/1?")
            (transfer,) = paid.transfers
            assert (transfer.amount, transfer.status) == (90, "pending")
            forecast = ledger.what_if(WhatIfIn(order_id="o/1?", amount=50))
            assert (forecast.residue, forecast.sellers[0].amount) == (5, 45)
            refund = ledger.request_refund(
                RefundIn(refund_id="r1", order_id="o/1?", amount=50, settled=True)
            )
            assert [(part.seller_id, part.amount) for part in refund.allocation] == [("ada", 45)]
            assert ledger.refund("r1") == ledger.refund("r1")
            assert ledger.order("o/1?").refunded == 50
            assert [one.amount for one in ledger.transfers(seller_id="ada")] == [45]
            assert ledger.transfer(transfer.transfer_id).amount == 45
            assert ledger.retry(transfer.transfer_id, "a test", "mia").status == "pending"
            assert ledger.balance("ada").balances[0].transferred == 0
            facts = ledger.facts()
            assert [one.position for one in facts.data] == list(range(1, facts.next_after + 1))
            followed = ledger.follow(after=1)
            assert next(followed).position == 2

    await asyncio.to_thread(checkout)


@pytest.mark.parametrize(
    "plan",
    [(LOST_REQUEST,), (LOST_ANSWER,), (BUSY, LOST_ANSWER, LOST_ANSWER, LOST_REQUEST)],
)
async def test_lost_call_is_repeated_with_one_effect(url: str, plan: Iterable[str]) -> None:
    network = Network(*plan)

    def register() -> list[str]:
        with LedgerClient(url, TOKEN, transport=network) as ledger:
            made = ledger.register_order(order("o1"))
            return [made.order_id, *(one.fact for one in ledger.facts().data)]

    assert await asyncio.to_thread(register) == ["o1", "Registered"]
    assert len(set(network.ids)) == 2, "a repetition has the request id of the first attempt"


async def test_client_gives_up_after_its_attempts(url: str) -> None:
    def register() -> None:
        with LedgerClient(url, TOKEN, attempts=2, transport=Network(*[LOST_ANSWER] * 2)) as ledger:
            ledger.register_order(order("o1"))

    with pytest.raises(LedgerUnreachable, match="POST /v1/orders was not answered"):
        await asyncio.to_thread(register)


async def test_action_of_a_person_is_not_repeated_after_a_lost_answer(url: str) -> None:
    network = Network(SENT, SENT, LOST_REQUEST, LOST_ANSWER)

    def act() -> list[str]:
        with LedgerClient(url, TOKEN, transport=network) as ledger:
            ledger.register_order(order("o1"))
            (transfer,) = ledger.report_paid("o1").transfers
            with pytest.raises(LedgerUnreachable):
                ledger.retry(transfer.transfer_id, "a test", "mia")
            return [one.fact for one in ledger.facts().data]

    assert (await asyncio.to_thread(act)).count("RetryRequested") == 1


async def test_refusal_is_a_problem_with_its_code_and_request_id(url: str) -> None:
    def refused() -> LedgerProblem:
        with LedgerClient(url, TOKEN) as ledger:
            with pytest.raises(ValidationError):
                order(amount=0)
            ledger.register_order(order("o1"))
            with pytest.raises(LedgerProblem) as other:
                ledger.register_order(order("o1", amount=200))
            return other.value

    problem = await asyncio.to_thread(refused)
    assert (problem.http_status, problem.code) == (409, "content_differs")
    assert problem.request_id in str(problem)
    assert problem.problem["title"] == "The same id with other content"

    def unauthorized() -> None:
        with LedgerClient(url, "wrong") as ledger:
            ledger.order("o1")

    with pytest.raises(LedgerProblem, match="401 unauthorized"):
        await asyncio.to_thread(unauthorized)


async def test_unavailable_database_is_tried_again(url: str, service: Service) -> None:
    await service.pool.close()
    network = Network()

    def ask() -> None:
        with LedgerClient(url, TOKEN, attempts=3, transport=network) as ledger:
            ledger.order("o1")

    with pytest.raises(LedgerProblem, match="database_unavailable"):
        await asyncio.to_thread(ask)
    assert len(network.ids) == 3


class OtherServer(httpx.BaseTransport):
    """A server that gives these answers, the last one again and again, and keeps the bodies."""

    def __init__(self, *answers: httpx.Response) -> None:
        self._answers, self.bodies = list(answers), list[bytes]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>sign in to the wireless network</html>"),
        httpx.Response(200, json={"order_id": "o1"}),
        httpx.Response(302, headers={"Location": "/elsewhere"}),
        httpx.Response(404, text="no such page"),
        httpx.Response(409, json={"error": "not a problem of the ledger"}),
    ],
    ids=["html", "other json", "redirect", "other 404", "other problem"],
)
def test_answer_of_another_server_is_no_answer_of_the_ledger(answer: httpx.Response) -> None:
    with (
        LedgerClient("http://ledger", transport=OtherServer(answer)) as ledger,
        pytest.raises(LedgerUnreachable, match="not as a ledger of this release does"),
    ):
        ledger.order("o1")


def test_repetition_has_the_same_body() -> None:
    server = OtherServer(httpx.Response(429), httpx.Response(502), httpx.Response(404))
    with (
        LedgerClient("http://ledger", transport=server) as ledger,
        pytest.raises(LedgerUnreachable),
    ):
        ledger.register_order(order())
    assert (len(server.bodies), len(set(server.bodies))) == (3, 1)


@pytest.mark.parametrize(
    ("asked", "longest", "waited"),
    [("5", 30.0, 5), ("3600", 30.0, 30), ("", 30.0, 0), ("soon", 30.0, 0), ("-1", 30.0, 0)],
)
def test_wait_that_an_answer_asks_for_is_bounded(
    monkeypatch: pytest.MonkeyPatch, asked: str, longest: float, waited: float
) -> None:
    """`Retry-After` of the ledger's 503 is 5 seconds."""
    slept: list[float] = []
    monkeypatch.setattr(of_clients, "LONGEST_WAIT", longest)
    monkeypatch.setattr(time, "sleep", slept.append)
    busy = httpx.Response(503, headers={"Retry-After": asked} if asked else {})
    with (
        LedgerClient("http://ledger", attempts=2, transport=OtherServer(busy)) as ledger,
        pytest.raises(LedgerUnreachable),
    ):
        ledger.order("o1")
    assert slept == [waited]


async def test_documented_program_works(url: str) -> None:
    page = (ROOT / "docs" / "python_client.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    program = program.replace("http://127.0.0.1:8000", url).replace("the token", TOKEN)
    program = program.replace("transfer_ledger.client", "infrastructure.client")
    named: dict[str, object] = {}
    await asyncio.to_thread(exec, program, named)
    assert named["left"] == 600
