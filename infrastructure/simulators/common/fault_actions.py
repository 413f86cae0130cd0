"""What faults do, as data, and where on its way each of them strikes a call."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class Point(StrEnum):
    """Where on its way a call can be struck, in the order it passes them."""

    ARRIVAL = "arrival"
    """Before anything was looked at."""
    ADMISSION = "admission"
    """Stripe's own limiters, before the idempotency layer."""
    LOOK_UP = "look_up"
    """Just before the idempotency key is looked up."""
    BEFORE_EXECUTION = "before_execution"
    """Valid, but lost before it began: the key stays free."""
    BEFORE_COMMIT = "before_commit"
    """The key is executing and the transfer is locked; nothing has changed yet."""
    AFTER_COMMIT = "after_commit"
    """The change is durable; the key is still executing."""
    DELIVERY = "delivery"
    """The answer is stored and on its way back."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Action(Strict):
    POINT: ClassVar[Point]

    @property
    def strikes_at(self) -> Point:
        return self.POINT


class Latency(_Action):
    """Slow: `ms`, or evenly `between` two, or as `recorded` from real Stripe, times `scale`."""

    kind: Literal["latency"]
    ms: float | None = Field(default=None, ge=0)
    between: tuple[float, float] | None = None
    recorded: bool = False
    scale: float = Field(default=1.0, ge=0)
    point: Literal[Point.BEFORE_COMMIT, Point.AFTER_COMMIT] = Point.BEFORE_COMMIT

    @property
    def strikes_at(self) -> Point:
        return self.point


class Hold(_Action):
    """Stopped until released. If the client goes away meanwhile: `abandon` the call, `execute` it, or keep `wait`ing."""

    kind: Literal["hold"]
    point: Literal[Point.BEFORE_COMMIT, Point.AFTER_COMMIT] = Point.BEFORE_COMMIT
    on_disconnect: Literal["abandon", "execute", "wait"] = "abandon"

    @property
    def strikes_at(self) -> Point:
        return self.point


class Status(_Action):
    """A failing answer that no key remembers. 429 is a rate limit with `reason`, or, with `lock`, a lock timeout.

    `html` and `bare` bodies come from something before Stripe: a web page, or JSON without an `error`.
    """

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    reason: str = "endpoint-rate"
    lock: bool = False
    should_retry: bool | None = None
    html: bool = False
    bare: bool = False

    @property
    def strikes_at(self) -> Point:
        return Point.ADMISSION if self.status == 429 and not self.lock else Point.BEFORE_EXECUTION


class Error(_Action):
    """Any error object; `stored` ones are repeated under the same key."""

    kind: Literal["error"]
    status: int = Field(default=400, ge=400, le=599)
    type: str = "invalid_request_error"
    code: str | None = None
    message: str = "A fault was injected here."
    param: str | None = None
    stored: bool = True

    @property
    def strikes_at(self) -> Point:
        return Point.BEFORE_COMMIT if self.stored else Point.BEFORE_EXECUTION


class Cut(_Action):
    """The connection is reset (RST) without an answer."""

    kind: Literal["reset_on_arrival", "reset_before_commit", "reset_after_commit"]

    @property
    def strikes_at(self) -> Point:
        return _LOST_AT[self.kind.removeprefix("reset_")]


class Silence(_Action):
    """No answer for `seconds`, or until released or the client gives up; then the connection is closed."""

    kind: Literal["timeout_on_arrival", "timeout_before_commit", "timeout_after_commit"]
    seconds: float | None = Field(default=None, ge=0)

    @property
    def strikes_at(self) -> Point:
        return _LOST_AT[self.kind.removeprefix("timeout_")]


_LOST_AT = {
    "on_arrival": Point.ARRIVAL,
    "before_commit": Point.BEFORE_EXECUTION,
    "after_commit": Point.DELIVERY,
}


class Mangle(_Action):
    """The answer is spoilt: half the JSON; half the promised bytes; half the header; or one byte after the other."""

    POINT = Point.DELIVERY
    kind: Literal["truncate_body", "cut_body", "partial_headers", "slow_drip"]
    seconds: float = Field(default=0.5, ge=0)
    """How long a slow drip takes in all."""


class Stored500(_Action):
    """500, stored and repeated; the object is made all the same (after `seconds`), or never.

    `announce_after`: its webhook leaves so many seconds after it was made, if that was at once.
    """

    POINT = Point.BEFORE_COMMIT
    kind: Literal["stored_500_then_created", "stored_500_not_created"]
    seconds: float = Field(default=0.0, ge=0)
    announce_after: float = Field(default=0.0, ge=0)


class ForgetfulKeys(_Action):
    """`drop_key`: the key has expired. `duplicate_ignoring_key`: a broken server that executes again."""

    POINT = Point.LOOK_UP
    kind: Literal["drop_key", "duplicate_ignoring_key"]


Action: TypeAlias = Latency | Hold | Status | Error | Cut | Silence | Mangle | Stored500 | ForgetfulKeys
