"""States that matter, and how often they were reached.

The names that have to be reached are read from the code: the facts, the life cycles, the outcomes
and the steps. So a new one cannot be forgotten.
"""

from collections.abc import Iterator, Mapping
from typing import get_args

from domain.fact import Fact
from domain.lifecycle import ALLOWED_TRANSITIONS, OPERATOR_TRANSITIONS
from domain.provider_call.outcome import Failure, Hindrance, NotExecuted, Outcome, ReversalOutcome
from domain.provider_call.psp_objects import RefundAtPsp
from domain.refund.state import REFUND_TRANSITIONS
from domain.seller_transfer.reversal import ReversalStatus
from infrastructure.simulation.faults.kinds import DATABASE_STEPS, PROVIDER_STEPS, FaultKind
from infrastructure.simulation.faults.network import CALLED, EVERYWHERE, OF_KEYS
from infrastructure.simulation.faults.unreachable import UNREACHABLE
from projections.orders import OrderStatus

K = FaultKind
NEW = "new"
"""Status before the first one."""
CALLS: Mapping[str, tuple[type, ...]] = {
    "TransferGateway.create": get_args(Outcome),
    "TransferGateway.reverse": get_args(ReversalOutcome),
    "PaymentGateway.create_refund": (RefundAtPsp, *get_args(Failure)),
}
"""Calls that move money, with the types of their answers."""
IN_PROCESS = (K.CRASH_BEFORE, K.CRASH_AFTER, K.FROZEN)
"""Faults that strike a process at a step."""
OF_APPENDS = (K.APPEND_REFUSED, K.APPEND_IN_DOUBT)
OF_WEBHOOKS = (K.WEBHOOK_DROPPED, K.WEBHOOK_DOUBLED, K.WEBHOOK_DELAYED, K.WEBHOOK_FORGED)
ONCE = (
    K.CLOCK_JUMP,
    K.OLD_RELEASE,
    K.DATABASE_AWAY,
    K.RESTORED,
    K.BALANCE_EMPTY,
    K.ACCOUNT_RESTRICTED,
    K.REVERSAL_PENDING,
    K.DASHBOARD_REVERSAL,
    K.DASHBOARD_TRANSFER,
)
"""Faults that are counted without a step."""


def required() -> list[str]:
    """Return the names of all states that a long run has to reach."""
    return [name for name in all_names() if name not in UNREACHABLE]


def all_names() -> Iterator[str]:
    """Yield the names of all states that matter."""
    yield from fault_names()
    yield from (f"fact {topic}" for topic in topics())
    yield from _arrows()
    yield from _outcomes()


def topics() -> list[str]:
    """Return the topics of all facts."""
    return sorted(set(_topics(Fact)))


def _topics(base: type[Fact]) -> Iterator[str]:
    for kind in base.__subclasses__():
        topic = vars(kind).get("TOPIC")
        if topic and kind.__module__.startswith("domain."):
            yield topic
        yield from _topics(kind)


def fault_names() -> Iterator[str]:
    """Yield each kind of fault with each place where it can strike."""
    for kind in IN_PROCESS:
        yield from (f"{kind} @ {step}" for step in (*DATABASE_STEPS, *PROVIDER_STEPS))
    for kind in OF_APPENDS:
        yield from (f"{kind} @ {step}" for step in DATABASE_STEPS if "append" in step)
    for provider in ("stripe", "hyperswitch"):
        yield from (
            f"{kind} @ {provider} {name}" for kind in EVERYWHERE for name in CALLED[provider]
        )
        yield from (f"{kind} @ {provider} webhook" for kind in OF_WEBHOOKS)
        yield from (
            f"{K.STALE_LIST} @ {provider} {name}"
            for name in CALLED[provider]
            if name.endswith(".list")
        )
    yield from (
        f"{kind} @ stripe {name}"
        for kind in OF_KEYS
        for name in CALLED["stripe"]
        if name.endswith(".create")
    )
    yield from (f"{kind} @ once" for kind in ONCE)


def _arrows() -> Iterator[str]:
    yield f"transfer {NEW} -> pending"
    for table in (ALLOWED_TRANSITIONS, OPERATOR_TRANSITIONS):
        for before, after in table.items():
            yield from (f"transfer {before} -> {status}" for status in sorted(after))
    for refund, ends in REFUND_TRANSITIONS.items():
        yield from (f"refund {refund} -> {status}" for status in sorted(ends))
    yield from (f"reversal -> {status}" for status in ReversalStatus)
    yield from (f"order -> {status}" for status in OrderStatus)


def _outcomes() -> Iterator[str]:
    for step, answers in CALLS.items():
        for kind in answers:
            if kind is NotExecuted:
                yield from (f"outcome {step}: {kind.__name__} {why}" for why in Hindrance)
            else:
                yield f"outcome {step}: {kind.__name__}"


def outcome_name(step: str, answer: object) -> str:
    """Return the name of the decision that an answer of a gateway is."""
    why = getattr(answer, "why", None)
    shown = f" {why}" if isinstance(why, Hindrance) else ""
    return f"outcome {step}: {type(answer).__name__}{shown}"
