"""Faults as data: which calls they strike, what they do, and how often they did.

A fault is chosen when a call arrives (that counts for `nth`) and strikes when the call reaches its point (that
counts for `times`): a call that is refused earlier leaves the fault for the next one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from infrastructure.stripe.simulator.calls import Call


class Point(StrEnum):
    """Where on its way a call can be struck, in the order it passes them."""

    ARRIVAL = "arrival"
    """Before anything was looked at."""
    ADMISSION = "admission"
    """Stripe's own limiters, before the idempotency layer."""
    LOOK_UP = "look_up"
    """Just before the idempotency key is looked up."""
    BEFORE_EXECUTION = "before_execution"
    """Valid, but lost before it began: the key stays free."""
    BEFORE_COMMIT = "before_commit"
    """The key is executing and the transfer is locked; nothing has changed yet."""
    AFTER_COMMIT = "after_commit"
    """The change is durable; the key is still executing."""
    DELIVERY = "delivery"
    """The answer is stored and on its way back."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Action(_Strict):
    POINT: ClassVar[Point]

    @property
    def strikes_at(self) -> Point:
        return self.POINT


class Latency(_Action):
    """Slow: `ms`, or evenly `between` two, or as `recorded` from real Stripe, times `scale`."""

    kind: Literal["latency"]
    ms: float | None = Field(default=None, ge=0)
    between: tuple[float, float] | None = None
    recorded: bool = False
    scale: float = Field(default=1.0, ge=0)
    point: Literal[Point.BEFORE_COMMIT, Point.AFTER_COMMIT] = Point.BEFORE_COMMIT

    @property
    def strikes_at(self) -> Point:
        return self.point


class Hold(_Action):
    """Stopped until released. If the client goes away meanwhile: `abandon` the call, `execute` it, or keep `wait`ing."""

    kind: Literal["hold"]
    point: Literal[Point.BEFORE_COMMIT, Point.AFTER_COMMIT] = Point.BEFORE_COMMIT
    on_disconnect: Literal["abandon", "execute", "wait"] = "abandon"

    @property
    def strikes_at(self) -> Point:
        return self.point


class Status(_Action):
    """A failing answer that no key remembers. 429 is a rate limit with `reason`, or, with `lock`, a lock timeout."""

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    reason: str = "endpoint-rate"
    lock: bool = False
    should_retry: bool | None = None
    html: bool = False

    @property
    def strikes_at(self) -> Point:
        return Point.ADMISSION if self.status == 429 and not self.lock else Point.BEFORE_EXECUTION


class Error(_Action):
    """Any error object; `stored` ones are repeated under the same key."""

    kind: Literal["error"]
    status: int = Field(default=400, ge=400, le=599)
    type: str = "invalid_request_error"
    code: str | None = None
    message: str = "A fault was injected here."
    param: str | None = None
    stored: bool = True

    @property
    def strikes_at(self) -> Point:
        return Point.BEFORE_COMMIT if self.stored else Point.BEFORE_EXECUTION


class Cut(_Action):
    """The connection is reset (RST) without an answer."""

    kind: Literal["reset_on_arrival", "reset_before_commit", "reset_after_commit"]

    @property
    def strikes_at(self) -> Point:
        return _LOST_AT[self.kind.removeprefix("reset_")]


class Silence(_Action):
    """No answer for `seconds`, or until released or the client gives up; then the connection is closed."""

    kind: Literal["timeout_on_arrival", "timeout_before_commit", "timeout_after_commit"]
    seconds: float | None = Field(default=None, ge=0)

    @property
    def strikes_at(self) -> Point:
        return _LOST_AT[self.kind.removeprefix("timeout_")]


_LOST_AT = {
    "on_arrival": Point.ARRIVAL,
    "before_commit": Point.BEFORE_EXECUTION,
    "after_commit": Point.DELIVERY,
}


class Mangle(_Action):
    """The answer is spoilt: half the JSON; half the promised bytes; half the header; or one byte after the other."""

    POINT = Point.DELIVERY
    kind: Literal["truncate_body", "cut_body", "partial_headers", "slow_drip"]
    seconds: float = Field(default=0.5, ge=0)
    """How long a slow drip takes in all."""


class Stored500(_Action):
    """500, stored and repeated; the object is made all the same (after `seconds`), or never."""

    POINT = Point.BEFORE_COMMIT
    kind: Literal["stored_500_then_created", "stored_500_not_created"]
    seconds: float = Field(default=0.0, ge=0)


class ForgetfulKeys(_Action):
    """`drop_key`: the key has expired. `duplicate_ignoring_key`: a broken server that executes again."""

    POINT = Point.LOOK_UP
    kind: Literal["drop_key", "duplicate_ignoring_key"]


Action: TypeAlias = Latency | Hold | Status | Error | Cut | Silence | Mangle | Stored500 | ForgetfulKeys


class Match(_Strict):
    """Which calls. Everything given must agree; `operation` and `key` may be globs such as `reversals.*`."""

    operation: str = "*"
    key: str | None = None
    destination: str | None = None
    transfer: str | None = None
    nth: int | None = Field(default=None, ge=1)
    """Only the nth call that agrees with the rest."""
    times: int | None = Field(default=None, ge=1)
    """Strike at most so often."""
    probability: float = Field(default=1.0, ge=0, le=1)
    seed: int = 1

    def agrees_with(self, call: Call) -> bool:
        return (
            fnmatchcase(call.operation, self.operation)
            and (self.key is None or fnmatchcase(call.key or "", self.key))
            and self.destination in (None, call.destination)
            and self.transfer in (None, call.transfer)
        )


class Fault(_Strict):
    match: Match = Match()
    action: Annotated[Action, Field(discriminator="kind")]


_FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


class ArmedFault:
    """A fault with its counters."""

    def __init__(self, id_: str, fault: Fault) -> None:
        self.id = id_
        self.fault = fault
        self.random = random.Random(fault.match.seed)
        self.seen = 0
        self.hits = 0

    def wants(self, call: Call) -> bool:
        match = self.fault.match
        if not match.agrees_with(call):
            return False
        self.seen += 1
        return match.nth in (None, self.seen) and (match.probability >= 1 or self.random.random() < match.probability)

    def strike(self, point: Point) -> Action | None:
        """The action, if this is its point and it has strikes left."""
        times = self.fault.match.times
        if self.fault.action.strikes_at != point or (times is not None and self.hits >= times):
            return None
        self.hits += 1
        return self.fault.action

    def listing(self) -> dict[str, Any]:
        return {"id": self.id, "seen": self.seen, "hits": self.hits, **self.fault.model_dump(mode="json")}


class Plan:
    """The faults that chose one call."""

    __slots__ = ("_chosen",)

    def __init__(self, chosen: list[ArmedFault]) -> None:
        self._chosen = chosen

    def strikes(self, point: Point) -> Iterator[tuple[Action, random.Random]]:
        for armed in self._chosen:
            action = armed.strike(point)
            if action is not None:
                yield action, armed.random

    def __bool__(self) -> bool:
        return bool(self._chosen)


NO_FAULTS = Plan([])


class FaultBoard:
    def __init__(self, unknown: frozenset[str] = frozenset()) -> None:
        """`unknown`: kinds of action that the provider cannot be struck with."""
        self._unknown = unknown
        self._numbers = count(1)
        self.armed: dict[str, ArmedFault] = {}

    def add(self, description: Any) -> ArmedFault:
        """Raises ValueError (pydantic's among them) when the description is not a fault that can happen here."""
        fault = _FAULT.validate_python(description)
        if fault.action.kind in self._unknown:
            raise ValueError(f"this provider has no {fault.action.kind}: choose another kind of fault")
        armed = ArmedFault(f"fault_{next(self._numbers)}", fault)
        self.armed[armed.id] = armed
        return armed

    def clear(self, id_: str | None = None) -> int:
        """Disarm one or all; returns how many there were."""
        if id_ is not None:
            return 0 if self.armed.pop(id_, None) is None else 1
        cleared = len(self.armed)
        self.armed.clear()
        return cleared

    def plan(self, call: Call) -> Plan:
        if not self.armed:
            return NO_FAULTS
        return Plan([armed for armed in self.armed.values() if armed.wants(call)])
