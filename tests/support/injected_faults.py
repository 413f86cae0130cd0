"""Faults, refusals and altered answers of the simulated Stripe."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infrastructure.simulators.stripe import SimulatorControl
from infrastructure.simulators.stripe.errors import CATALOGUE
from tests.support.json_types import Json
from tests.support.service import CREATE, account

EUR, ENOUGH = "eur", 10**9


class TransferUnderTest(Protocol):
    """A transfer to one seller at the simulated Stripe."""

    seller: str
    stripe_transfer_id: str

    @property
    def stripe(self) -> SimulatorControl: ...


Step = Callable[[TransferUnderTest], Awaitable[object]]


class Fault(NamedTuple):
    """An injected error, or the loss of an answer."""

    kind: str
    settings: Mapping[str, Any] = {}


class Situation(NamedTuple):
    """A situation at Stripe in which its own rules refuse the call: how it begins and how it
    ends."""

    begins: Step | None = None
    ends: Step | None = None
    seller: str = "anna"
    source: str | None = None
    """The charge that the transfer is to be made of."""


class RewrittenAnswer(NamedTuple):
    """Stripe executes the call, and a proxy alters the answer."""

    body: Callable[[Json], object]
    status: int = 200


class AnswerRewriter:
    """Alters the next answer of Stripe to one of the two calls, on request."""

    def __init__(self) -> None:
        self._next: tuple[re.Pattern[str], RewrittenAnswer] | None = None

    def rewrite(self, call: str, rewritten: RewrittenAnswer) -> None:
        path = "/v1/transfers" if call == CREATE else "/v1/transfers/[^/]+/reversals"
        self._next = re.compile(path), rewritten

    def take(self, scope: Scope) -> RewrittenAnswer | None:
        if self._next is None or scope["type"] != "http" or scope["method"] != "POST":
            return None
        path, rewritten = self._next
        if path.fullmatch(scope["path"]) is None:
            return None
        self._next = None
        return rewritten


class RewritingMiddleware:
    """An `AnswerRewriter` as middleware of the simulator."""

    def __init__(self, app: ASGIApp, rewriter: AnswerRewriter) -> None:
        self._app, self._between = app, rewriter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rewritten = self._between.take(scope)
        if rewritten is None:
            await self._app(scope, receive, send)
            return
        start: Message = {}

        async def altered(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                await _altered(rewritten, start, message["body"], send)

        await self._app(scope, receive, altered)


async def _altered(rewritten: RewrittenAnswer, start: Message, body: bytes, send: Send) -> None:
    changed = json.dumps(rewritten.body(json.loads(body))).encode()
    kept = [header for header in start["headers"] if header[0] != b"content-length"]
    headers = [*kept, (b"content-length", str(len(changed)).encode())]
    await send({**start, "status": rewritten.status, "headers": headers})
    await send({"type": "http.response.body", "body": changed})


InjectedFault = Fault | Situation | RewrittenAnswer


def catalogued(name: str, *, stored: bool = False, **changes: Any) -> Fault:
    """Return the entry of the simulator's catalogue as a fault, with `changes`."""
    shape = CATALOGUE[name]
    fields = {
        "status": shape.status,
        "type": shape.type,
        "code": shape.code,
        "message": shape.message,
        "param": shape.param,
    }
    return Fault("error", fields | changes | {"stored": stored})


def having(**fields: object) -> Callable[[Json], object]:
    """Return a change of these fields of Stripe's object."""
    return lambda shown: shown | fields


# --- situations -----------------------------------------------------------------------------------


async def drain_platform(transfer: TransferUnderTest) -> None:
    await transfer.stripe.drain(EUR)


async def fund_platform(transfer: TransferUnderTest) -> None:
    await transfer.stripe.fund(EUR, ENOUGH)


async def drain_seller(transfer: TransferUnderTest) -> None:
    await transfer.stripe.drain(EUR, account=account(transfer.seller))


async def fund_seller(transfer: TransferUnderTest) -> None:
    await transfer.stripe.fund(EUR, ENOUGH, account=account(transfer.seller))


async def forbid_transfers(transfer: TransferUnderTest) -> None:
    await transfer.stripe.change_account(account(transfer.seller), transfers_capability="inactive")


async def allow_transfers(transfer: TransferUnderTest) -> None:
    await transfer.stripe.change_account(account(transfer.seller), transfers_capability="active")


async def open_the_account(transfer: TransferUnderTest) -> None:
    await transfer.stripe.change_account(account(transfer.seller))


def charge_failed(id_: str) -> Step:
    """Make a buyer's payment that has failed."""

    async def begins(transfer: TransferUnderTest) -> None:
        await transfer.stripe.create_charge(id_, "eur", 5_000)
        await transfer.stripe.fail_charge(id_)

    return begins


def charged(id_: str, currency: str, amount: int) -> Step:
    """Make a buyer's payment as the source of the transfer."""

    async def begins(transfer: TransferUnderTest) -> None:
        await transfer.stripe.create_charge(id_, currency, amount)

    return begins


def taken_back(amount: int | None = None) -> Step:
    """Make an external reversal in the dashboard."""

    async def begins(transfer: TransferUnderTest) -> None:
        await transfer.stripe.external_reversal(transfer.stripe_transfer_id, amount)

    return begins


def worded(name: str, first: Step, **changes: Any) -> Step:
    """Begin a situation in which Stripe words this entry of the catalogue otherwise."""

    async def begins(transfer: TransferUnderTest) -> None:
        await transfer.stripe.reword(name, **changes)
        await first(transfer)

    return begins


PLATFORM_POOR = Situation(drain_platform, fund_platform)
SELLER_POOR = Situation(drain_seller, fund_seller)
