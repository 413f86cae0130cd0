"""The faults that can strike at this moment."""

import random
from collections import Counter
from collections.abc import Callable, Collection

from infrastructure.simulation.faults.schedule import PlannedFault


class _Active:
    def __init__(self, fault: PlannedFault) -> None:
        self.fault, self.left, self.spared = fault, fault.times, fault.passes
        self.chance = random.Random(f"strike {fault.seed}")

    def strikes(self) -> bool:
        """Return whether the fault strikes a matching call, which may be spared."""
        if self.fault.share < 1 and self.chance.random() >= self.fault.share:
            return False
        if self.spared:
            self.spared -= 1
            return False
        self.left -= 1
        return True


def _matches(fault: PlannedFault, step: str, process: int | None, provider: str | None) -> bool:
    if fault.step not in (None, step) or provider not in (None, fault.provider):
        return False
    return process is None or fault.process in (None, process)


class Strikes:
    """The begun faults. Each draws its chance from its own seed."""

    def __init__(self, count: Callable[[str], None], tell: Callable[[str], None]) -> None:
        """`count` counts a state that was reached; `tell` adds a line to the story."""
        self._count, self._tell = count, tell
        self._active: dict[str, list[_Active]] = {}
        self.struck = Counter[str]()
        """Strikes of each fault, by name."""

    def begin(self, fault: PlannedFault) -> None:
        """Let the fault strike from now on."""
        self._active.setdefault(fault.kind, []).append(_Active(fault))

    def end(self, fault: PlannedFault) -> None:
        """Let the fault strike no more."""
        active = self._active.get(fault.kind, [])
        active[:] = [one for one in active if one.fault.name != fault.name]

    def strike(
        self,
        kinds: Collection[str],
        step: str,
        *,
        process: int | None = None,
        provider: str | None = None,
    ) -> tuple[PlannedFault, random.Random] | None:
        """Return a fault of these kinds that strikes this step, with its chance; the strike is
        counted. A fault that strikes a few times comes before one that always strikes. `process`
        and `provider`: those of the step."""
        if not self._active:
            return None
        matching = [
            one
            for kind in kinds
            for one in self._active.get(kind, ())
            if one.left and _matches(one.fault, step, process, provider)
        ]
        for one in sorted(matching, key=lambda one: one.fault.times):
            if one.strikes():
                self.note(one.fault, step)
                return one.fault, one.chance
        return None

    def note(self, fault: PlannedFault, where: str) -> None:
        """Count a strike."""
        self.struck[fault.name] += 1
        self._count(f"{fault.kind} @ {where}")
        self._tell(f"FAULT {fault.kind} ({fault.name}) at {where}")
