"""What a call to Stripe or to the PSP can have come to: a closed vocabulary, and what a look at Stripe's books shows.

The question each outcome answers is not "did it work" but "did money move, and what does that allow next":

Succeeded     the object is in our hands and agrees with what was asked
Rejected      definitely not done; trying again needs a new key if Stripe stored the answer
NotExecuted   stopped before execution (limits, locks, credentials); the same key may be used again, no attempt is consumed
Unknown       nobody can tell; the same key, until Stripe's books have been read
"""

from dataclasses import dataclass
from enum import StrEnum


class Hindrance(StrEnum):
    """Why Stripe did not execute a call at all."""

    RATE_LIMITED = "rate_limited"
    """429 by a limiter: we are too fast."""
    LOCK_TIMEOUT = "lock_timeout"
    """429 without a limiter's reason: another call holds the object."""
    KEY_IN_USE = "key_in_use"
    """409: an earlier request with this key is still executing, so the operation is open."""
    UNAUTHORIZED = "unauthorized"
    """401: the key is wrong or rolled; no transfer is at fault."""
    FORBIDDEN = "forbidden"
    """403: the key may not do this, or the account was disconnected."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Stripe's object exists, and its id, amount, currency and transfer agree with the request."""

    stripe_id: str
    """`tr_…` for a transfer, `trr_…` for a reversal."""
    amount: int
    """Minor units, as Stripe says."""
    request_id: str | None = None
    replayed: bool = False
    """True when Stripe answered from its idempotency store: an earlier call of ours had done it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Stripe definitely refused: 400, 402 or 404 with a parsed error that is not an `idempotency_error`."""

    status: int
    code: str | None
    message: str
    stored: bool
    """True when Stripe keeps answering this key with this error (`Stripe-Should-Retry: false`, or a replay)."""
    param: str | None = None
    request_id: str | None = None
    says_reversed: bool = False
    """Its words claim that nothing is left to reverse: a hint to look at Stripe's books, never a fact."""


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """Stripe refused to begin. The same key may be sent again and no attempt is consumed."""

    why: Hindrance
    message: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Money may or may not have moved: 5xx, time-out, reset, an unreadable or a disagreeing answer."""

    why: str
    """A short stable word: `http_503`, `timeout`, `connection`, `unreadable`, `disagrees`, `idempotency_error`, `cancelled`,
    `look_up_failed`, `incomplete` (a list with a hole), `lease_lost`, or `bug:<type>` for a mistake of ours, which is retried
    under the same key and alarmed."""
    message: str
    status: int | None = None
    request_id: str | None = None
    replayed: bool = False
    """True when a stored 5xx came back from the idempotency store: the same attempt, heard again."""


Failure = Rejected | NotExecuted | Unknown
"""All outcomes but success. The PSP's calls end in one of these, or in its object."""

Outcome = Succeeded | Failure


class ProviderSignal(StrEnum):
    """What one exchange says about Stripe and about our key, whatever became of the money."""

    ANSWER = "answer"
    """Stripe answered, and the key was good."""
    SILENCE = "silence"
    """No answer, or one of 500 and above: Stripe may be down."""
    KEY_REFUSED = "key_refused"
    """401 or 403."""
    NOT_FOUND = "not_found"
    """404: the object is unknown, or it belongs to another account or mode."""
    TOO_FAST = "too_fast"
    """429 by a limiter."""
    NOTHING = "nothing"
    """Stripe was not asked, or a stored answer came back."""


def signal_of(outcome: Outcome) -> ProviderSignal:
    """What an outcome says about Stripe itself."""
    match outcome:
        case Rejected(status=404):
            return ProviderSignal.NOT_FOUND
        case NotExecuted(why=Hindrance.UNAUTHORIZED | Hindrance.FORBIDDEN):
            return ProviderSignal.KEY_REFUSED
        case NotExecuted(why=Hindrance.RATE_LIMITED):
            return ProviderSignal.TOO_FAST
        case Unknown(replayed=True):
            return ProviderSignal.NOTHING
        case Unknown() if outcome.status is not None:
            return ProviderSignal.SILENCE if outcome.status >= 500 else ProviderSignal.ANSWER
        case Unknown():
            return ProviderSignal.SILENCE if outcome.why in ("timeout", "connection", "unreadable") else ProviderSignal.NOTHING
        case _:
            return ProviderSignal.ANSWER


class LookUpFailed(Exception):
    """Stripe's books could not be read completely, which says nothing about what is in them."""

    def __init__(self, why: str, signal: ProviderSignal = ProviderSignal.ANSWER) -> None:
        self.signal = signal
        super().__init__(why)


class NotAtStripe(Exception):
    """Stripe answered that there is no such transfer under this key (404 `resource_missing`)."""
