"""Stripe in memory, for scenarios with tens of thousands of calls: about fifty times as fast as the
simulator.

It implements the contract of the port and no more: keys, refusals, books, and the network on the
way. It passes the same contract as the real gateway (tests/contracts/test_transfer_gateway.py).
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from domain.provider_call.outcome import (
    Hindrance,
    LookUpFailed,
    NotAtStripe,
    NotExecuted,
    Outcome,
    Rejected,
    Succeeded,
    Unknown,
)
from domain.provider_call.request_body import TransferBody
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from infrastructure.simulation.network import TIMEOUT, NetworkConditions
from infrastructure.simulators.common.latency import recorded
from tests.support.json_types import Json

CREATE, REVERSE, RETRIEVE, LIST, PAGE = (
    "transfers.create",
    "reversals.create",
    "transfers.retrieve",
    "transfers.list",
    "reversals.list",
)
KEY_LIFETIME = timedelta(hours=24)
HINDRANCES = {401: Hindrance.UNAUTHORIZED, 403: Hindrance.FORBIDDEN, 429: Hindrance.RATE_LIMITED}


@dataclass(slots=True)
class CallFault:
    """A fault of the next call of an operation."""

    status: int = 0
    lock: bool = False
    lost: bool = False
    executed: bool = False
    held: asyncio.Event | None = None


@dataclass(slots=True)
class StoredTransfer:
    """A transfer in the books."""

    id: str
    body: TransferBody
    created: datetime
    reversals: list[ReversalAtStripe] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.body["amount"] - sum(reversal.amount for reversal in self.reversals)

    def shown(self) -> TransferAtStripe:
        body = self.body
        return TransferAtStripe(
            self.id,
            body["amount"],
            body["amount"] - self.left,
            body["currency"].upper(),
            body["destination"],
            dict(body["metadata"]).get("transfer_id"),
            tuple(reversed(self.reversals)),
        )


class MemoryStripe:
    """See `application.ports.TransferGateway`; one for a whole fleet."""

    def __init__(
        self,
        seed: int = 1,
        network: NetworkConditions | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Without `network`, every call is answered at once."""
        self.network = network or NetworkConditions(slowness=0.0)
        self.calls = 0
        self.funds: dict[str, int] = {}
        """The platform's balance, for currencies in which it is limited."""
        self._now = clock or (lambda: datetime.now(UTC))
        self._chance, self._numbers = random.Random(f"light {seed}"), count(1)
        self._books: dict[str, StoredTransfer] = {}
        self._answers: dict[str, tuple[object, Outcome, datetime]] = {}
        self._executing: set[str] = set()
        self._faults: dict[str, CallFault] = {}
        self._under_way: set[asyncio.Task[Outcome]] = set()

    def inject(self, operation: str, fault: CallFault) -> None:
        """Let the fault strike the next call of the operation, once."""
        self._faults[operation] = fault

    @property
    def executing(self) -> int:
        return len(self._executing)

    # --- the port ---------------------------------------------------------------------------------

    async def create(self, body: TransferBody, key: str) -> Outcome:
        return await self._post(CREATE, key, body, lambda: self._paid(body))

    async def reverse(
        self,
        stripe_transfer_id: str,
        amount: int | None,
        reason: str,
        key: str,
        metadata: dict[str, str] | None = None,
        currency: str = "",
    ) -> Outcome:
        asked = (
            self._books[stripe_transfer_id].left
            if amount is None and stripe_transfer_id in self._books
            else amount or 0
        )
        named = (metadata or {}).get("reversal_id")
        if amount is None and (known := self._found(stripe_transfer_id, named)):
            return Succeeded(known.stripe_reversal_id, known.amount, replayed=True)
        return await self._post(
            REVERSE,
            key,
            (stripe_transfer_id, asked),
            lambda: self._taken(stripe_transfer_id, asked, named),
        )

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        await self._get(RETRIEVE, PAGE)
        if stripe_transfer_id not in self._books:
            raise NotAtStripe(f"No such transfer: {stripe_transfer_id}")
        return self._books[stripe_transfer_id].shown()

    async def find_by_our_id(
        self, transfer_id: str, destination: str, since: datetime
    ) -> Sequence[TransferAtStripe]:
        await self._get(LIST)
        theirs = [
            held
            for held in self._books.values()
            if held.body["destination"] == destination and held.created >= since
        ]
        return [
            shown for shown in (held.shown() for held in theirs) if shown.transfer_id == transfer_id
        ]

    async def find_similar(
        self, destination: str, currency: str, amount: int, since: datetime
    ) -> Sequence[TransferAtStripe]:
        await self._get(LIST)
        theirs = [held.shown() for held in self._books.values() if held.created >= since]
        same = (destination, currency, amount)
        return [
            seen._replace(reversals=())
            for seen in theirs
            if (seen.destination, seen.currency, seen.amount) == same
        ]

    async def answers(self) -> bool:
        network = self.network
        await asyncio.sleep(TIMEOUT if network.silent else 0)
        return not (network.silent or network.refused or network.unavailable)

    async def account(self) -> str | None:
        return None

    async def get_object(self, path: str, account: str | None = None) -> Mapping[str, object]:
        raise LookUpFailed("this Stripe has transfers only")

    # --- the way there and back -------------------------------------------------------------------

    async def _post(
        self, operation: str, key: str, asked: object, act: Callable[[], Outcome]
    ) -> Outcome:
        if not 0 < len(key) <= 255:
            raise ValueError("an idempotency key of 1 to 255 characters is needed")
        self.calls += 1
        fault, back = self._faults.pop(operation, CallFault()), await self._arrive(operation)
        if isinstance(back, Unknown):
            return back
        if refused := _refusal(fault):
            return refused
        outcome = await self._asked(key, asked, act, fault)
        await asyncio.sleep(back)
        lost = fault.lost or self._chance.random() < self.network.lost_answers
        return Unknown("connection", "the answer was lost") if lost else outcome

    async def _arrive(self, operation: str) -> float | Unknown:
        """Return the seconds of the way back, or the outcome of a request that did not arrive."""
        network, chance = self.network, self._chance
        seconds = network.slowness * recorded(operation, chance.random()) / 1000
        there, lost = seconds * chance.random(), chance.random() < network.lost_requests
        if network.refused:
            return Unknown("connection", "connection refused")
        await asyncio.sleep(TIMEOUT if network.silent else there)
        if network.silent:
            return Unknown("timeout", "no answer within the time limit")
        if network.unavailable:
            return Unknown("http_503", "Stripe is not available", 503)
        return Unknown("connection", "the request was lost") if lost else seconds - there

    async def _asked(
        self, key: str, asked: object, act: Callable[[], Outcome], fault: CallFault
    ) -> Outcome:
        if key in self._executing:
            return NotExecuted(Hindrance.KEY_IN_USE, "a request with this key is being executed")
        known = self._answers.get(key)
        if known is not None and self._now() - known[2] < KEY_LIFETIME:
            return (
                _repeated(known[1])
                if known[0] == asked
                else Unknown("idempotency_error", "another body under this key", 400)
            )
        if fault.held is None:
            return self._executed(key, asked, act)
        self._executing.add(key)
        task = asyncio.create_task(self._executed_late(key, asked, act, fault.held))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _executed_late(
        self, key: str, asked: object, act: Callable[[], Outcome], released: asyncio.Event
    ) -> Outcome:
        await released.wait()
        self._executing.discard(key)
        return self._executed(key, asked, act)

    def _executed(self, key: str, asked: object, act: Callable[[], Outcome]) -> Outcome:
        outcome = act()
        if isinstance(outcome, Succeeded) or (isinstance(outcome, Rejected) and outcome.stored):
            self._answers[key] = (asked, outcome, self._now())
        return outcome

    async def _get(self, *operations: str) -> None:
        for operation in operations:
            fault, back = self._faults.pop(operation, None), await self._arrive(operation)
            if fault is not None or isinstance(back, Unknown):
                raise LookUpFailed("Stripe's books could not be read")
            await asyncio.sleep(back)

    # --- the books --------------------------------------------------------------------------------

    def _paid(self, body: TransferBody) -> Outcome:
        if "missing" in body["destination"]:
            return Rejected(
                400, "resource_missing", "No such destination", stored=True, param="destination"
            )
        left = self.funds.get(body["currency"])
        if left is not None and left < body["amount"]:
            return Rejected(400, "balance_insufficient", "Insufficient funds", stored=True)
        if left is not None:
            self.funds[body["currency"]] = left - body["amount"]
        return Succeeded(self.hold(body), body["amount"])

    def hold(self, body: TransferBody) -> str:
        """Put a transfer into the books and return its id."""
        held = StoredTransfer(f"tr_{next(self._numbers):08}", body, self._now())
        self._books[held.id] = held
        return held.id

    def _taken(self, stripe_transfer_id: str, amount: int, reversal_id: str | None) -> Outcome:
        held = self._books.get(stripe_transfer_id)
        if held is None:
            return Rejected(
                404,
                "resource_missing",
                f"No such transfer: {stripe_transfer_id}",
                stored=False,
                param="id",
            )
        if not 0 < amount <= held.left:
            return Rejected(400, None, f"Only {held.left} is left to reverse", stored=True)
        return Succeeded(self.take_back(stripe_transfer_id, amount, reversal_id), amount)

    def take_back(
        self, stripe_transfer_id: str, amount: int, reversal_id: str | None = None
    ) -> str:
        """Put a reversal into the books and return its id."""
        reversal = ReversalAtStripe(f"trr_{next(self._numbers):08}", amount, reversal_id)
        self._books[stripe_transfer_id].reversals.append(reversal)
        return reversal.stripe_reversal_id

    def _found(self, stripe_transfer_id: str, reversal_id: str | None) -> ReversalAtStripe | None:
        held = self._books.get(stripe_transfer_id)
        return (
            next(
                (one for one in held.reversals if reversal_id and one.reversal_id == reversal_id),
                None,
            )
            if held
            else None
        )

    @property
    def transfers(self) -> list[Json]:
        """Return every transfer with all its reversals, as Stripe would show them."""
        return [_json(held) for held in self._books.values()]

    @property
    def violations(self) -> Sequence[str]:
        return [
            f"{held.id}: more is reversed than was paid"
            for held in self._books.values()
            if held.left < 0
        ]


def _refusal(fault: CallFault) -> Outcome | None:
    if fault.lock:
        return NotExecuted(Hindrance.LOCK_TIMEOUT, "another call holds the object")
    if fault.status in HINDRANCES:
        return NotExecuted(HINDRANCES[fault.status], "refused")
    if fault.status:
        return Unknown(f"http_{fault.status}", "failed", fault.status)
    return (
        Unknown("connection", "the request was lost") if fault.lost and not fault.executed else None
    )


def _repeated(outcome: Outcome) -> Outcome:
    return replace(outcome, replayed=True) if isinstance(outcome, Succeeded) else outcome


def _json(held: StoredTransfer) -> Json:
    shown = held.shown()
    reversals = [
        {
            "id": one.stripe_reversal_id,
            "amount": one.amount,
            "metadata": {"reversal_id": one.reversal_id} if one.reversal_id else {},
        }
        for one in held.reversals
    ]
    return {
        "id": held.id,
        **held.body,
        "amount_reversed": shown.amount_reversed,
        "reversals": reversals,
    }
