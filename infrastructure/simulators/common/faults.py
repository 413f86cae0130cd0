"""Faults as data: which calls they strike, what they do, and how often they did.

A fault is chosen when a call arrives (that counts for `nth`) and strikes when the call reaches its point (that
counts for `times`): a call that is refused earlier leaves the fault for the next one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import count
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from infrastructure.simulators.common.fault_actions import Action, Point, Strict
from infrastructure.simulators.common.request import Call


class Match(Strict):
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


class Fault(Strict):
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
