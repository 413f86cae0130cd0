"""Kinds of faults, and the steps at which faults can strike.

The steps are read from the ports, so that a new method is a step without being listed here.
"""

from enum import StrEnum
from functools import cache

from application.gateways import ChargeReader, PaymentGateway, TransferGateway
from application.missed_webhooks.ports import (
    KnownDisputes,
    KnownRefunds,
    PolledInbox,
    PollProgress,
    StripeEvents,
    UnpaidOrders,
)
from application.ports import (
    Alarms,
    CircuitBreaker,
    Directory,
    EventLog,
    Inbox,
    RateLimiter,
    WorkQueue,
)
from infrastructure.simulation.fleet import PortCall


class FaultKind(StrEnum):
    """Kind of a fault."""

    CRASH_BEFORE = "crash_before"
    """A process dies right before a call of a port."""
    CRASH_AFTER = "crash_after"
    """A process dies after a call of a port was carried out, before its answer is read."""
    CRASH_IN_CALL = "crash_in_call"
    """A process dies while a request of it is at a provider."""
    FROZEN = "frozen"
    """A process stops for longer than its leases, and continues."""
    CLOCK_JUMP = "clock_jump"
    """The wall clock of a process jumps, forth or back."""
    OLD_RELEASE = "old_release"
    """A process runs a release that does not know one kind of fact."""

    APPEND_REFUSED = "append_refused"
    """A lock timeout or a serialization failure: nothing is stored."""
    APPEND_IN_DOUBT = "append_in_doubt"
    """The connection is lost in COMMIT: the facts are stored, and the caller does not know."""
    DATABASE_AWAY = "database_away"
    RESTORED = "restored"
    """The database is lost and restored from a backup; the ledger starts with `--look-up-first`."""

    REQUEST_LOST = "request_lost"
    ANSWER_LOST = "answer_lost"
    ANSWER_LATE = "answer_late"
    """The provider executes the request after its caller has given up."""
    RATE_LIMITED = "rate_limited"
    LOCK_TIMEOUT = "lock_timeout"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    KEY_IN_USE = "key_in_use"
    STORED_500 = "stored_500"
    """Stripe stores a 500 for the key, and has executed nothing."""
    STORED_500_EXECUTED = "stored_500_executed"
    """Stripe stores a 500 for the key, and executes the request at once or later."""
    TRUNCATED_BODY = "truncated_body"
    SLOW_DRIP = "slow_drip"
    KEY_EXPIRED = "key_expired"
    """An answer is lost, and nothing runs until Stripe has forgotten the key."""
    STALE_LIST = "stale_list"
    """A list of the provider lacks its newest objects for a while."""

    WEBHOOK_DROPPED = "webhook_dropped"
    WEBHOOK_DOUBLED = "webhook_doubled"
    WEBHOOK_DELAYED = "webhook_delayed"
    """Delayed by up to hours each, and so out of order."""
    WEBHOOK_FORGED = "webhook_forged"
    """A webhook arrives with a wrong signature first."""

    BALANCE_EMPTY = "balance_empty"
    """Money of a seller or of the platform is paid out."""
    ACCOUNT_RESTRICTED = "account_restricted"
    """Stripe lets a seller get no transfers for a while."""
    REVERSAL_PENDING = "reversal_pending"
    """New reversals begin pending; each succeeds, fails or is canceled later."""
    DASHBOARD_REVERSAL = "dashboard_reversal"
    """A person reverses a part of a transfer in Stripe's dashboard."""
    DASHBOARD_TRANSFER = "dashboard_transfer"
    """A person pays a seller in Stripe's dashboard."""


DATABASE: tuple[type, ...] = (
    EventLog,
    Directory,
    WorkQueue,
    RateLimiter,
    CircuitBreaker,
    Inbox,
    Alarms,
    PollProgress,
    PolledInbox,
    KnownRefunds,
    KnownDisputes,
    UnpaidOrders,
)
"""Ports to the database."""
PROVIDERS: tuple[type, ...] = (TransferGateway, ChargeReader, StripeEvents, PaymentGateway)
"""Ports to the providers."""
APPEND = "EventLog.append"
INTENT, OUTCOME = "EventLog.append intent", "EventLog.append other facts"
"""The two steps of `EventLog.append`: of the intent of a call, and of all other facts."""


def _methods(port: type) -> list[str]:
    return [name for name, value in vars(port).items() if callable(value) and name[0] != "_"]


def _steps(ports: tuple[type, ...]) -> tuple[str, ...]:
    steps = [f"{port.__name__}.{name}" for port in ports for name in _methods(port)]
    return tuple(
        one for step in steps for one in ((INTENT, OUTCOME) if step == APPEND else (step,))
    )


DATABASE_STEPS, PROVIDER_STEPS = _steps(DATABASE), _steps(PROVIDERS)
STEPS = (*DATABASE_STEPS, *PROVIDER_STEPS)
"""All steps at which a process can die: `Port.method`."""


def step_of(made: PortCall) -> str:
    """Return the step that a call of a port is."""
    named = _named(type(made.port), made.method)  # type: ignore[arg-type]  # a class is hashable
    if named != APPEND:
        return named
    changed = made.arguments[0].changed()  # type: ignore[attr-defined]  # a unit of work
    begins = any(type(fact).__name__ == "CallStarted" for _, facts in changed for fact in facts)
    return INTENT if begins else OUTCOME


@cache
def _named(implementation: type, method: str) -> str:
    """Return `Port.method`, by the port that this class implements with this method."""
    for port in (*DATABASE, *PROVIDERS):
        methods = _methods(port)
        if method in methods and all(hasattr(implementation, name) for name in methods):
            return f"{port.__name__}.{method}"
    return f"{implementation.__name__}.{method}"
