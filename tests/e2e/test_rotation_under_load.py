"""Rotation of secrets under load: one restart for the new secret, one to end the old one, and no
right request is refused."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import httpx

from infrastructure.hyperswitch import signature as hyperswitch
from infrastructure.stripe import signature as stripe
from tests.e2e.conftest import Processes
from tests.support.ledger_process import LedgerProcess
from tests.support.ledger_view import LedgerView, eventually

OLD = {
    "token": "the-old-token-of-the-shop",
    "stripe": "whsec_old",
    "hyperswitch": "an-old-hash-key",
}
NEW = {"token": "the-new-token-of-the-shop", "stripe": "whsec_new", "hyperswitch": "a-new-hash-key"}
BATCH = 10
"""Requests of each kind that are seen answered between two steps."""


def environment(*accepted: dict[str, str]) -> dict[str, str]:
    """Return the settings of a process that accepts these secrets."""
    return {
        "LEDGER_API_TOKEN": ",".join(one["token"] for one in accepted),
        "STRIPE_WEBHOOK_SECRETS": ",".join(one["stripe"] for one in accepted),
        "HYPERSWITCH_WEBHOOK_SECRETS": ",".join(one["hyperswitch"] for one in accepted),
    }


@dataclass
class Callers:
    """The shop and both providers. Each sends one request after the other, to the process that is
    in service, with the secret that it has at this time."""

    url: str
    secrets: dict[str, dict[str, str]] = field(
        default_factory=lambda: dict.fromkeys(("token", "stripe", "hyperswitch"), OLD)
    )
    answered: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    """Ids of webhooks."""
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def keep_calling(
        self, kind: str, send: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
    ) -> None:
        async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
            while True:
                answer = await send(http)
                if answer.is_error:
                    self.refused.append(f"{kind}: {answer.status_code} {answer.text}")
                self.answered[kind] = self.answered.get(kind, 0) + 1
                await asyncio.sleep(0)

    async def order(self, http: httpx.AsyncClient) -> httpx.Response:
        share = {"seller_id": "anna", "destination": "acct_1anna", "amount": 900}
        body = {
            "order_id": f"o{next(self._numbers)}",
            "currency": "EUR",
            "amount": 1_000,
            "shares": [share],
        }
        token = {"Authorization": f"Bearer {self.secrets['token']['token']}"}
        return await http.post(f"{self.url}/v1/orders", json=body, headers=token)

    async def stripe(self, http: httpx.AsyncClient) -> httpx.Response:
        name = f"evt_{next(self._numbers)}"
        event = {"id": name, "type": "customer.created", "livemode": False, "data": {}}
        body = json.dumps(event).encode()
        signature = stripe.sign(body, self.secrets["stripe"]["stripe"], datetime.now(UTC))
        return await self._deliver(http, "stripe", name, body, {stripe.HEADER: signature})

    async def hyperswitch(self, http: httpx.AsyncClient) -> httpx.Response:
        name = f"evt_{next(self._numbers)}"
        event = {"event_id": name, "event_type": "customer_created", "content": {}}
        body = json.dumps(event).encode()
        signature = hyperswitch.sign(body, self.secrets["hyperswitch"]["hyperswitch"])
        return await self._deliver(http, "hyperswitch", name, body, {hyperswitch.HEADER: signature})

    async def _deliver(
        self,
        http: httpx.AsyncClient,
        provider: str,
        name: str,
        body: bytes,
        headers: dict[str, str],
    ) -> httpx.Response:
        answer = await http.post(f"{self.url}/webhooks/{provider}", content=body, headers=headers)
        if not answer.is_error:
            self.acknowledged.append(name)
        return answer

    async def some_are_answered(self) -> None:
        """Wait until a batch of each kind was answered after this moment."""
        wanted = {kind: self.answered.get(kind, 0) + BATCH for kind in self.secrets}

        async def all_are() -> bool:
            return all(self.answered.get(kind, 0) >= least for kind, least in wanted.items())

        await eventually(all_are, "requests of every kind are answered")


@asynccontextmanager
async def calling(callers: Callers) -> AsyncIterator[None]:
    sends = {"token": callers.order, "stripe": callers.stripe, "hyperswitch": callers.hyperswitch}
    tasks = [asyncio.create_task(callers.keep_calling(kind, send)) for kind, send in sends.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def listening(processes: Processes, *accepted: dict[str, str]) -> LedgerProcess:
    """Start a process that accepts these secrets, beside the present one; return once it is ready."""
    process = await processes.start(**environment(*accepted))
    transport = httpx.AsyncHTTPTransport(retries=6)
    async with httpx.AsyncClient(trust_env=False, transport=transport) as http:

        async def ready() -> bool:
            return not (await http.get(f"{process.url}/readyz")).is_error

        await eventually(ready, "the process is ready")
    return process


async def test_every_secret_is_rotated_without_a_refused_request(
    processes: Processes, view: LedgerView
) -> None:
    before = await listening(processes, OLD)
    callers = Callers(before.url)
    async with calling(callers):
        await callers.some_are_answered()
        both = await listening(processes, NEW, OLD)
        callers.url = both.url
        await callers.some_are_answered()
        for kind in ("token", "stripe", "hyperswitch"):  # each caller changes at its own time
            callers.secrets = {**callers.secrets, kind: NEW}
            await callers.some_are_answered()
        after = await listening(processes, NEW)
        callers.url = after.url
        await callers.some_are_answered()
        for process in (before, both):
            process.send(signal.SIGTERM)
        await callers.some_are_answered()
    assert callers.refused == []
    rows = await view.select("select event_id from webhook_inbox")
    assert {*callers.acknowledged} <= {row["event_id"] for row in rows}
    forgotten = Callers(after.url)  # with the old secrets
    async with httpx.AsyncClient(trust_env=False) as http:
        answers = [
            await send(http) for send in (forgotten.order, forgotten.stripe, forgotten.hyperswitch)
        ]
    assert [answer.status_code for answer in answers] == [401, 400, 400]
