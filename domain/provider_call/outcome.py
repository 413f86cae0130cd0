"""Outcomes of a call to Stripe or to the PSP, a closed vocabulary.

An outcome answers the question whether money moved, and so which step is allowed next:

- Succeeded: the object exists and agrees with the request.
- Pending: the reversal exists, and Stripe has not decided about it; it is only looked up.
- Rejected: definitely not done; a repetition needs a new key if Stripe stored the answer.
- NotExecuted: stopped before execution (limits, locks, credentials); the same key may be used
  again, and no attempt is consumed.
- Unknown: money may have moved; only the same key may be used, until a look-up at the provider.
"""

from dataclasses import dataclass
from enum import StrEnum

BALANCE_INSUFFICIENT = "balance_insufficient"
"""Stripe's error code for a balance that is too low."""


class Hindrance(StrEnum):
    """Reason why a provider did not execute a call at all."""

    RATE_LIMITED = "rate_limited"
    """429 by a rate limiter."""
    LOCK_TIMEOUT = "lock_timeout"
    """429 for another reason than the rate: another call holds the object."""
    KEY_IN_USE = "key_in_use"
    """409: an earlier request with this key is still executing, so the operation is open."""
    UNAUTHORIZED = "unauthorized"
    """401: the API key is wrong or was rolled; the transfer is not the cause."""
    FORBIDDEN = "forbidden"
    """403: the API key lacks the permission, or the account was disconnected."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The object exists at Stripe, and its id, amount, currency and transfer agree with the
    request."""

    stripe_id: str
    """`tr_…` for a transfer, `trr_…` for a reversal."""
    amount: int
    """Minor units, as Stripe answers."""
    request_id: str | None = None
    replayed: bool = False
    """True if Stripe answered from its idempotency store: an earlier call of ours had made the
    object."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A reversal that exists at Stripe and has not moved money yet: it may succeed, fail or be
    canceled within 45 days."""

    stripe_id: str
    amount: int
    """Minor units."""
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A definite refusal: 400, 402 or 404 with a parsed error that is not an `idempotency_error`,
    or 200 with a reversal that has failed or was canceled."""

    status: int
    code: str | None
    message: str
    stored: bool
    """True if Stripe keeps answering this key with this error (`Stripe-Should-Retry: false`, or a
    replay)."""
    param: str | None = None
    request_id: str | None = None
    says_reversed: bool = False
    """True if its message claims that nothing is left to reverse: a hint for a look-up, never a
    proof."""
    says_no_funds: bool = False
    """True if its message says that a balance is too low."""

    @property
    def lacks_funds(self) -> bool:
        """Return whether a sufficient balance would help, by code or by words."""
        return self.code == BALANCE_INSUFFICIENT or self.says_no_funds

    says_source: str | None = None
    """`used_up` or `currency` if its message claims that the transfer's charge is used up, or that
    its currency differs: hints that choose the next step after a definite refusal."""


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """A call that the provider did not begin. The same key may be used again, and no attempt is
    consumed."""

    why: Hindrance
    message: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """An unknown outcome, so money may have moved: 5xx, time-out, reset, an unreadable or
    disagreeing answer."""

    why: str
    """A short stable word: `http_503`, `timeout`, `connection`, `unreadable`, `disagrees`,
    `idempotency_error`, `cancelled`, `look_up_failed`, `incomplete` (a list with a hole),
    `lease_lost`, `rejected_while_open`, or `bug:<type>` for an error in this code, which is retried
    under the same key and raises an alarm."""
    message: str
    status: int | None = None
    request_id: str | None = None
    replayed: bool = False
    """True if the idempotency store answered with a stored 5xx, so no new attempt was made."""


Failure = Rejected | NotExecuted | Unknown
"""All outcomes but success. A call to the PSP ends with one of these, or with its object."""

Outcome = Succeeded | Failure

ReversalOutcome = Outcome | Pending


class ProviderSignal(StrEnum):
    """Signal of one exchange about the provider and the API key, independent of the money."""

    ANSWER = "answer"
    """The provider answered, and the key was accepted."""
    SILENCE = "silence"
    """No answer, or one of 500 and above: the provider may be down."""
    KEY_REFUSED = "key_refused"
    """401: the key itself is wrong."""
    FORBIDDEN = "forbidden"
    """403: the key lacks a permission, or one account has ended the connection."""
    NOT_FOUND = "not_found"
    """404: the object does not exist, or belongs to another account or mode."""
    TOO_FAST = "too_fast"
    """429 by a limiter."""
    NOTHING = "nothing"
    """No request was sent, or a stored answer came back."""


NO_PERMISSION = frozenset({ProviderSignal.KEY_REFUSED, ProviderSignal.FORBIDDEN})
"""Signals that a read was refused because of the API key."""


def signal_of(answer: object) -> ProviderSignal:
    """Return the signal of an answer to a call or a look-up. Any object of a provider is an
    `ANSWER`."""
    match answer:
        case Rejected(status=404):
            return ProviderSignal.NOT_FOUND
        case NotExecuted(why=Hindrance.UNAUTHORIZED):
            return ProviderSignal.KEY_REFUSED
        case NotExecuted(why=Hindrance.FORBIDDEN):
            return ProviderSignal.FORBIDDEN
        case NotExecuted(why=Hindrance.RATE_LIMITED):
            return ProviderSignal.TOO_FAST
        case Unknown(replayed=True):
            return ProviderSignal.NOTHING
        case Unknown(status=int(status)):
            return ProviderSignal.SILENCE if status >= 500 else ProviderSignal.ANSWER
        case Unknown(why=why):
            return (
                ProviderSignal.SILENCE
                if why in ("timeout", "connection", "unreadable")
                else ProviderSignal.NOTHING
            )
        case LookUpFailed():
            return answer.signal
        case NotAtStripe():
            return ProviderSignal.NOT_FOUND
        case _:
            return ProviderSignal.ANSWER


class LookUpFailed(Exception):
    """A provider's records could not be read completely, so nothing is known about their
    content."""

    def __init__(self, why: str, signal: ProviderSignal = ProviderSignal.ANSWER) -> None:
        self.signal = signal
        super().__init__(why)


class NotAtStripe(Exception):
    """Stripe answered that the transfer does not exist for this API key (404
    `resource_missing`)."""
