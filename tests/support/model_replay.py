"""Replay of a trace of the formal model against the code: each action of the model is taken by the
real workers, and the facts are compared with the model's state after each.

One tick of the model is half a minute, and the retry policy has the model's constants.
`tests.support.model_traces` records traces.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from application.commands import commands_on
from application.commands.refunds import RefundReport
from domain.identity import transfer_stream
from domain.lifecycle import TransferStatus
from domain.order.state import Share
from domain.pause import LOOK_UP_FIRST
from domain.provider_call.operation import Operation
from domain.provider_call.retry_policy import LATEST_CALL, Policy
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.opening_facts import LONG_AGO
from infrastructure.clock import DatabaseClock
from infrastructure.simulation.in_memory.database import MemoryDatabase, event_log
from infrastructure.simulation.in_memory.directory import MemoryDirectory
from infrastructure.simulation.virtual_time import epoch_seconds, now, run
from infrastructure.simulators.stripe import KIND, SimulatorConfig, create_simulator
from tests.support.held_process import INSTANT, HeldProcess, SentRequest, settle

State = Mapping[str, Any]
TRACES = Path(__file__).parents[1] / "model" / "traces"
TICK = timedelta(seconds=30)
POLICY = Policy(
    max_retries=1,
    base=timedelta(milliseconds=1),
    maximum=timedelta(milliseconds=1),
    call_timeout=2 * TICK - LATEST_CALL,
    key_lifetime=3 * TICK,
    look_up_lifetime=1.5 * TICK,
)
"""The constants of the model: UNDER_WAY is two ticks, KEY_LIFETIME three, MAX_RETRIES one."""
KEY_MEMORY = 4 * TICK
ORDER, SELLER, AMOUNT, SHARE = "o1", "anna", 1_000, 900
FAULTS: Mapping[str, Mapping[str, object]] = {
    "refused": {"kind": "error", "status": 400, "stored": True},
    "refused_unstored": {"kind": "error", "status": 400, "stored": False},
    "hindered": {"kind": "status", "status": 429},
    "in_use": {
        "kind": "error",
        "status": 409,
        "code": "idempotency_key_in_use",
        "stored": False,
    },
    "error": {"kind": "stored_500_not_created"},
    "error_with_effect": {"kind": "stored_500_then_created"},
}
"""The simulator's fault for each result of an execution but success."""


class Step(NamedTuple):
    """One action of a trace: its choices, and the states before and after it."""

    action: str
    choices: Mapping[str, Any]
    before: State
    after: State


def steps_of(states: Sequence[State]) -> list[Step]:
    """Return the steps between the states of a trace."""
    return [
        Step(after["action"], after["choices"], before, after) for before, after in pairwise(states)
    ]


class Replay:
    """One ledger with two processes and one Stripe, which follow a trace."""

    def __init__(self) -> None:
        self._app = create_simulator(
            SimulatorConfig(
                seed=1,
                clock=epoch_seconds,
                manners=KIND,
                idempotency_ttl=KEY_MEMORY.total_seconds(),
            )
        )
        self._world = self._app.state.world
        self._requests: dict[tuple[str, int], SentRequest] = {}
        """Calls on their way, by operation and attempt."""
        self._saved: MemoryDatabase | None = None
        self._use(MemoryDatabase(now))

    def _use(self, database: MemoryDatabase) -> None:
        self._database, self._log = database, event_log(database)
        self._commands = commands_on(self._log, MemoryDirectory(database), DatabaseClock(now))
        self._processes = {name: self._process() for name in ("A", "B")}

    def _process(self) -> HeldProcess:
        return HeldProcess(self._database, self._app, POLICY, TICK)

    async def follow(self, steps: list[Step]) -> None:
        """Take each step, and compare after each."""
        share = Share(seller_id=SELLER, destination="acct_1anna", amount=SHARE)
        await self._commands.orders.register(
            order_id=ORDER, currency="EUR", amount=AMOUNT, shares=[share]
        )
        await self._commands.orders.record_payment(ORDER, "pay_1", None, "test")
        for number, step in enumerate(steps, 1):
            await getattr(self, f"_{step.action}")(step)
            await settle()
            differences = await self._differences(step.after)
            assert not differences, f"step {number}, {step.action} {step.choices}: {differences}"
        for process in self._processes.values():
            await process.die()

    # --- actions of the workers ---------------------------------------------------------------

    def _of(self, step: Step) -> HeldProcess:
        return self._processes[step.choices["name"]]

    async def _claim(self, step: Step) -> None:
        process = self._of(step)
        await process.claim(step.before["op"]["what"])
        assert process.begin.reached, "the code has not claimed the work"

    async def _begin(self, step: Step) -> None:
        process = self._of(step)
        process.log.held = False
        process.begin.open()
        await settle()
        await process.release()

    async def _send(self, step: Step) -> None:
        process, worker = self._of(step), step.after["workers"][step.choices["name"]]
        process.log.held = True
        process.slot.open()
        await settle()
        if worker["phase"] == "calling" and worker["answer"] == "":
            process.call = process.network.take()
            assert process.call is not None, "no call has left the process"
            self._requests[worker["what"], worker["attempt"]] = process.call
        else:
            process.call = None
            assert worker["phase"] == "reading" or not process.network.sent, "a call has left"

    async def _lose(self, step: Step) -> None:
        """Do nothing yet: the caller learns it when it records."""

    async def _read(self, step: Step) -> None:
        process, seen = self._of(step), step.choices["seen"]
        if process.call is not None:  # the refusal of a reversal
            process.call.deliver()
            await settle()
        for _ in range(5):
            if (request := process.network.take()) is None:
                break
            if seen == "unread":
                request.lose()
            else:
                await request.execute(self._app)
                if seen == "absent":  # the list may be stale
                    what = step.before["workers"][step.choices["name"]]["what"]
                    request.exchange.body = without(what, request.exchange.body)
                request.deliver()
            await settle()

    async def _record(self, step: Step) -> None:
        process = self._of(step)
        if process.call is not None:
            lost = step.before["workers"][step.choices["name"]]["answer"] == "unknown"
            process.call.lose() if lost else process.call.deliver()
        process.log.held = False
        process.commit.open()
        await settle()
        await process.release()

    async def _crash(self, step: Step) -> None:
        await self._of(step).die()
        self._processes[step.choices["name"]] = self._process()

    # --- actions of Stripe and of the world ---------------------------------------------------

    async def _arrive(self, step: Step) -> None:
        asked, result = step.choices["r"], step.choices["result"]
        if (fault := FAULTS.get(result)) is not None:
            self._world.faults.add({"match": {"times": 1}, "action": dict(fault)})
        await self._requests.pop((asked["what"], asked["attempt"])).execute(self._app)
        self._world.faults.clear()

    async def _drop(self, step: Step) -> None:
        asked = step.choices["r"]
        del self._requests[asked["what"], asked["attempt"]]

    async def _tick(self, step: Step) -> None:
        await asyncio.sleep(TICK.total_seconds() - 1)
        if step.choices["renewed"]:
            await self._processes[step.before["lease"]].renew()
        await asyncio.sleep(1)

    # --- decisions outside the protocol -------------------------------------------------------

    async def _refund(self, step: Step) -> None:
        await self._refunded("refund", 400)

    async def _changeBody(self, step: Step) -> None:
        assert step.before["op"]["what"] == "transfer"
        await self._refunded("reduction", 100)

    async def _refunded(self, refund_id: str, amount: int) -> None:
        await self._commands.refunds.succeeded(
            RefundReport(refund_id, ORDER, amount, "EUR", "test")
        )

    async def _backup(self, step: Step) -> None:
        self._saved = deepcopy(self._database)

    async def _restore(self, step: Step) -> None:
        for process in self._processes.values():
            await process.die()
        assert self._saved is not None
        for id_, lease in list(self._saved.due._leases.items()):
            self._saved.due.release(lease.holder, [id_])  # a restore takes longer than a lease
        self._use(self._saved)
        await self._commands.operator.pause(
            LOOK_UP_FIRST, "serve --look-up-first", "restored", lost_since=LONG_AGO
        )

    # --- comparison ---------------------------------------------------------------------------

    async def _differences(self, model: State) -> list[str]:
        stream = transfer_stream(ORDER, SELLER)
        transfer = (await self._log.load([stream])).transfer(stream)
        code = {**facts_of(transfer), "effects": self._effects()}
        expected = {**facts_in(model["op"]), "effects": effects_in(model)}
        return [
            f"{name}: the model has {value!r}, the code {code.get(name)!r}"
            for name, value in expected.items()
            if code.get(name) != value
        ]

    def _effects(self) -> list[int]:
        held = self._world.ledger()["transfers"]
        return [len(held), sum(len(one["reversals"]) for one in held)]


def effects_in(model: State) -> list[int]:
    """Return the numbers of transfers and reversals at the model's Stripe."""
    return [model["effects"].count(what) for what in ("transfer", "reversal")]


def facts_in(op: State) -> dict[str, object]:
    """Return the model's facts about the operation, as far as they are compared."""
    if op["status"] != "due":
        return {"what": op["what"], "status": op["status"]}
    return {
        "what": op["what"],
        "status": "due",
        "epoch": op["epoch"],
        "attempt": op["attempt"],
        "retries": op["retries"],
        "key used": op["keyAge"] >= 0,
        "in call": op["inCall"],
        "unknown": op["unknown"],
        "lost": op["lost"],
        "exhausted": op["exhausted"],
        "look first": op["lookFirst"],
        "may arrive late": op["keyAge"] >= 0 and op["vanished"],
        "due now": op["wait"] == 0,
    }


def facts_of(transfer: SellerTransfer) -> dict[str, object]:
    """Return the same of the code's facts."""
    what = "transfer" if not transfer.reversals else "reversal"
    if transfer.status is TransferStatus.PERMANENTLY_FAILED:
        return {"what": what, "status": "stopped"}
    if (operation := transfer.operation) is None:
        return {"what": what, "status": "done"}
    assert transfer.next_retry_at is not None
    soon = now() + timedelta(seconds=INSTANT)
    return {
        **operation_of(operation),
        "what": what,
        "status": "due",
        "due now": transfer.next_retry_at <= soon,
    }


def operation_of(operation: Operation) -> dict[str, object]:
    """Return the fields of an operation that the model has too."""
    return {
        "epoch": operation.epoch,
        "attempt": operation.attempt,
        "retries": operation.retry_count,
        "key used": operation.epoch_began is not None,
        "in call": operation.in_call,
        "unknown": operation.unknown,
        "lost": operation.lost,
        "exhausted": operation.exhausted,
        "look first": operation.look_first,
        "may arrive late": operation.may_arrive_late,
    }


def without(what: str, body: bytes) -> bytes:
    """Return the answer to a look-up as it was before the transfer, or its reversal, was made."""
    shown = json.loads(body)
    if shown["object"] == "list":
        return json.dumps({**shown, "data": [], "has_more": False}).encode()
    assert what == "reversal", "a transfer that is not listed is not read"
    reversals = {**shown["reversals"], "data": []}
    return json.dumps({**shown, "amount_reversed": 0, "reversals": reversals}).encode()


def read(trace: Path) -> list[State]:
    """Read a recorded trace: each line has the action and the parts of the state that changed."""
    changes = (json.loads(line) for line in trace.read_text().splitlines())
    return list(accumulate(changes, lambda before, changed: before | changed))


def replay(states: Sequence[State]) -> None:
    """Replay a trace in virtual time. Raises AssertionError at the first difference."""

    async def follow() -> None:
        await Replay().follow(steps_of(states))

    run(follow())
