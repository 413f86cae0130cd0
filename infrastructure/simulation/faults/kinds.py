"""Kinds of faults, and the steps at which faults can strike.

The steps are read from the ports, so that a new method is a step without being listed here.
"""

from enum import StrEnum

from application.gateways import ChargeReader, PaymentGateway, TransferGateway
from application.ports import CircuitBreaker, Directory, EventLog, Inbox, RateLimiter, WorkQueue


class FaultKind(StrEnum):
    """Kind of a fault."""

    CRASH_BEFORE = "crash_before"
    """A process dies right before a call of a port."""
    CRASH_AFTER = "crash_after"
    """A process dies after a call of a port was carried out, before its answer is read."""
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
    REVERSAL_PENDING = "reversal_pending"
    """New reversals begin pending; each succeeds, fails or is canceled later."""
    DASHBOARD_REVERSAL = "dashboard_reversal"
    """A person reverses a part of a transfer in Stripe's dashboard."""
    DASHBOARD_TRANSFER = "dashboard_transfer"
    """A person pays a seller in Stripe's dashboard."""


PORTS: tuple[type, ...] = (
    EventLog,
    Directory,
    WorkQueue,
    RateLimiter,
    CircuitBreaker,
    Inbox,
    TransferGateway,
    ChargeReader,
    PaymentGateway,
)
"""Ports through which a process acts on the outside."""


def _steps(port: type) -> list[str]:
    """Return `Port.method` for each method; `EventLog.append` is two steps."""
    names = [name for name, value in vars(port).items() if callable(value) and name[0] != "_"]
    steps = [f"{port.__name__}.{name}" for name in names]
    return [one for step in steps for one in ((INTENT, OUTCOME) if step == APPEND else (step,))]


APPEND = "EventLog.append"
INTENT, OUTCOME = "EventLog.append intent", "EventLog.append outcome"
"""Appends of a call's intent, and of all other facts."""
STEPS: tuple[str, ...] = tuple(step for port in PORTS for step in _steps(port))
"""All steps at which a process can die."""
