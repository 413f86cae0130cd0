"""Schedule of a run with faults: plain data, drawn from its seed before the run begins.

Amounts are in minor units, instants in seconds from the beginning. Each element has a name and a
seed of its own: when a shrinker removes an element, all others stay as they are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """A part of a schedule that can be removed."""

    name: str
    """Unique in the schedule, such as `order 1`."""
    at: float
    seed: int
    """Seed of all chance in the element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOrder(Element):
    """An order and its payment. `name` is also its order id."""

    amount: int
    shares: Mapping[str, int]
    """Amount of each seller."""
    paid_after: float
    """Seconds from the order to its payment; negative: the payment is reported first."""
    surcharge: int = 0
    """Amount that the buyer pays besides the order's."""

    @property
    def payment_id(self) -> str:
        return f"pay_{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRefund(Element):
    """A refund of a part of an order."""

    order: str
    amount: int
    by_ledger: bool
    """True if the marketplace requests it from the ledger, False if it is made at the PSP."""
    ends_after: float
    """Seconds until the connector decides."""
    succeeds: bool = True
    reviewed: bool = False
    """True if the PSP reviews it before the connector decides."""
    fails_after: float | None = None
    """Seconds from its success until the bank refuses it; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDispute(Element):
    """A dispute about a whole order."""

    order: str
    ends_after: float
    lost: bool
    challenged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCommand(Element):
    """A command of an operator."""

    kind: str
    """See `operator.COMMANDS`."""
    order: str | None = None
    seller: str | None = None
    step: str | None = None
    """From `at` on the operator waits until a process reaches this step; None: no wait."""
    lasts: float = 0.0
    """Seconds from a pause to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault(Element):
    """A fault. `kind` is a `FaultKind`."""

    kind: str
    lasts: float = 0.0
    """Seconds from its begin to its end."""
    process: int | None = 0
    """Index of the process that it strikes; None: whichever reaches the step."""
    provider: str = "stripe"
    """`stripe` or `hyperswitch`."""
    step: str | None = None
    """Step that it strikes (see `kinds.STEPS`); None: any."""
    times: int = 1
    """Number of times that it strikes at most."""
    passes: int = 0
    """Number of matching calls that it spares first."""
    share: float = 1.0
    """Share of the matching calls or webhooks that it strikes, or of the transfer it reverses."""
    seconds: float = 0.0
    """Delay, jump or down time."""
    order: str | None = None
    seller: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    """Variant of the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Everything that happens in one run."""

    seed: int
    processes: int = 1
    live: bool = False
    """True if the platform begins without money, and card money is pending for two days."""
    orders: tuple[PlannedOrder, ...] = ()
    refunds: tuple[PlannedRefund, ...] = ()
    disputes: tuple[PlannedDispute, ...] = ()
    commands: tuple[PlannedCommand, ...] = ()
    faults: tuple[PlannedFault, ...] = ()

    def elements(self) -> Iterator[Element]:
        """Yield all elements, grouped by kind."""
        for group in GROUPS:
            yield from getattr(self, group)

    def without(self, *names: str) -> "Schedule":
        """Return the schedule without these elements. Refunds and disputes of an order that is
        missing do not happen."""
        kept: dict[str, Any] = {
            group: tuple(one for one in getattr(self, group) if one.name not in names)
            for group in GROUPS
        }
        return replace(self, **kept)

    def as_json(self) -> Json:
        """Return the schedule as plain data."""
        return asdict(self)

    @staticmethod
    def from_json(data: Json) -> "Schedule":
        """Return the schedule that `as_json` has written. Raises ValueError for other data."""
        return _SCHEDULE.validate_python(data)


GROUPS = ("orders", "refunds", "disputes", "commands", "faults")
"""Fields of a schedule that hold elements."""
_SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(Schedule)
