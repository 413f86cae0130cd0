"""Actions of faults as data, each with the point at which it acts on a request."""

from enum import StrEnum
from typing import ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class Point(StrEnum):
    """Points at which faults can act on a request, in the order in which the request passes
    them."""

    ARRIVAL = "arrival"
    """Before the request is read."""
    ADMISSION = "admission"
    """Stripe's own limiters, before the idempotency layer."""
    LOOK_UP = "look_up"
    """Just before the idempotency key is looked up."""
    BEFORE_EXECUTION = "before_execution"
    """Valid, but lost before its execution began: the key stays free."""
    BEFORE_COMMIT = "before_commit"
    """The key is executing and the transfer is locked; nothing has changed."""
    AFTER_COMMIT = "after_commit"
    """The change is durable; the key is still executing."""
    DELIVERY = "delivery"
    """The answer is stored and on its way back."""


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Action(StrictModel):
    POINT: ClassVar[Point]

    @property
    def acts_at(self) -> Point:
        return self.POINT


class _ActionAtCommit(_Action):
    point: Literal[Point.BEFORE_COMMIT, Point.AFTER_COMMIT] = Point.BEFORE_COMMIT

    @property
    def acts_at(self) -> Point:
        return self.point


class Latency(_ActionAtCommit):
    """A delay: `ms`, or evenly `between` two values, or as `recorded` from real Stripe, times
    `scale`."""

    kind: Literal["latency"]
    ms: float | None = Field(default=None, ge=0)
    between: tuple[float, float] | None = None
    recorded: bool = False
    scale: float = Field(default=1.0, ge=0)


class Stop(_ActionAtCommit):
    """The request stops until its release. If the client disconnects meanwhile: `abandon`,
    `execute` or `wait`."""

    kind: Literal["hold"]
    on_disconnect: Literal["abandon", "execute", "wait"] = "abandon"


class ErrorStatus(_Action):
    """An error that no key remembers. 429 is a rate limit with `reason`, or, with `lock`, a lock
    timeout.

    `html` and `bare` bodies come from a proxy before Stripe: a web page, or JSON without an
    `error`.
    """

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    reason: str = "endpoint-rate"
    lock: bool = False
    should_retry: bool | None = None
    html: bool = False
    bare: bool = False

    @property
    def acts_at(self) -> Point:
        return Point.ADMISSION if self.status == 429 and not self.lock else Point.BEFORE_EXECUTION


class Error(_Action):
    """Any error object; a `stored` one is repeated under the same key."""

    kind: Literal["error"]
    status: int = Field(default=400, ge=400, le=599)
    type: str = "invalid_request_error"
    code: str | None = None
    message: str = "A fault was injected here."
    param: str | None = None
    stored: bool = True

    @property
    def acts_at(self) -> Point:
        return Point.BEFORE_COMMIT if self.stored else Point.BEFORE_EXECUTION


class _Lost(_Action):
    kind: str

    @property
    def acts_at(self) -> Point:
        return _LOST_AT[self.kind.partition("_")[2]]


class Cut(_Lost):
    """The connection is reset (RST) without an answer."""

    kind: Literal["reset_on_arrival", "reset_before_commit", "reset_after_commit"]


class Silence(_Lost):
    """No answer for `seconds`, or until the release or the client's disconnect; then the connection
    is closed."""

    kind: Literal["timeout_on_arrival", "timeout_before_commit", "timeout_after_commit"]
    seconds: float | None = Field(default=None, ge=0)


_LOST_AT = {
    "on_arrival": Point.ARRIVAL,
    "before_commit": Point.BEFORE_EXECUTION,
    "after_commit": Point.DELIVERY,
}


class Mangle(_Action):
    """A broken answer: half the JSON; half the promised bytes; half the header; or a slow stream of
    small parts."""

    POINT = Point.DELIVERY
    kind: Literal["truncate_body", "cut_body", "partial_headers", "slow_drip"]
    seconds: float = Field(default=0.5, ge=0)
    """Duration of a slow answer."""


class Stored500(_Action):
    """500, stored and repeated, although the object is created (after `seconds`); or the object is
    never created.

    `announce_after`: seconds from the creation of the object, if that was at once, to its webhook.
    """

    POINT = Point.BEFORE_COMMIT
    kind: Literal["stored_500_then_created", "stored_500_not_created"]
    seconds: float = Field(default=0.0, ge=0)
    announce_after: float = Field(default=0.0, ge=0)


class ForgetfulKeys(_Action):
    """`drop_key`: the key has expired. `duplicate_ignoring_key`: a broken server executes the
    request again."""

    POINT = Point.LOOK_UP
    kind: Literal["drop_key", "duplicate_ignoring_key"]


Action: TypeAlias = (
    Latency | Stop | ErrorStatus | Error | Cut | Silence | Mangle | Stored500 | ForgetfulKeys
)
