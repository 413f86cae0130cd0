"""Faults as data: the requests that they match, their actions, and their counters.

A fault is chosen when a request arrives (that counts for `nth`) and acts when the request reaches
its point (that counts for `times`): a request that is refused earlier leaves the fault for the next
one.
"""

import random
from fnmatch import fnmatchcase
from itertools import count
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from infrastructure.simulators.common.fault_actions import Action, Point, StrictModel
from infrastructure.simulators.common.request import ApiRequest


class FaultMatch(StrictModel):
    """Requests that a fault applies to. All settings must agree; `operation` and `key` may be globs
    such as `reversals.*`."""

    operation: str = "*"
    key: str | None = None
    destination: str | None = None
    transfer: str | None = None
    nth: int | None = Field(default=None, ge=1)
    """Only the nth request that agrees with the rest."""
    times: int | None = Field(default=None, ge=1)
    """Number of times that the fault acts at most."""
    probability: float = Field(default=1.0, ge=0, le=1)
    seed: int = 1

    def agrees_with(self, request: ApiRequest) -> bool:
        return (
            fnmatchcase(request.operation, self.operation)
            and (self.key is None or fnmatchcase(request.key or "", self.key))
            and self.destination in (None, request.destination)
            and self.transfer in (None, request.transfer)
        )


class Fault(StrictModel):
    match: FaultMatch = FaultMatch()
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

    def applies_to(self, request: ApiRequest) -> bool:
        match = self.fault.match
        if not match.agrees_with(request):
            return False
        self.seen += 1
        return match.nth in (None, self.seen) and (
            match.probability >= 1 or self.random.random() < match.probability
        )

    def action_at(self, point: Point) -> Action | None:
        """Count and return the action, if this is its point and `times` is not used up."""
        times = self.fault.match.times
        if self.fault.action.acts_at != point or (times is not None and self.hits >= times):
            return None
        self.hits += 1
        return self.fault.action

    def listing(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "seen": self.seen,
            "hits": self.hits,
            **self.fault.model_dump(mode="json"),
        }


class FaultBoard:
    def __init__(self, impossible: frozenset[str] = frozenset()) -> None:
        """`impossible`: kinds of action that the provider does not have."""
        self._impossible = impossible
        self._numbers = count(1)
        self.armed: dict[str, ArmedFault] = {}

    def add(self, description: Any) -> ArmedFault:
        """Arm a fault. Raises ValueError (pydantic's among them) when the description is not a
        fault of this provider."""
        fault = _FAULT.validate_python(description)
        if fault.action.kind in self._impossible:
            raise ValueError(
                f"this provider has no {fault.action.kind}; choose another kind of fault"
            )
        armed = ArmedFault(f"fault_{next(self._numbers)}", fault)
        self.armed[armed.id] = armed
        return armed

    def clear(self, id_: str | None = None) -> int:
        """Disarm one fault or all. Returns their number."""
        if id_ is not None:
            return 0 if self.armed.pop(id_, None) is None else 1
        cleared = len(self.armed)
        self.armed.clear()
        return cleared

    def matching(self, request: ApiRequest) -> list[ArmedFault]:
        return [armed for armed in self.armed.values() if armed.applies_to(request)]
