"""Request models. Money is an integer, never a float, a string or a bool; unknown members are
refused."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import TypeAliasType

from domain import money
from domain.errors import BadMoney
from domain.lifecycle import TransferStatus
from infrastructure.web.pagination import CURSOR_PATTERN
from infrastructure.web.request_rules import (
    DECIDED_ONCE,
    NAMED_BY_US_UNTIL_SETTLED,
    NOT_STRIPE,
    ONE_SCOPE,
)

ID_PATTERN = r"^[!-~]{1,128}$"
LINE_PATTERN = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")
EXPECTED = {
    ID_PATTERN: "expected 1 to 128 printable ASCII characters without spaces",
    LINE_PATTERN: "expected a line of text",
    r"^[A-Za-z]{3}$": "expected an ISO 4217 currency code such as EUR",
}
"""Explanations shown instead of regular expressions."""

MOST_SHARES = 1_000


def _currency(code: str) -> str:
    try:
        return money.currency(code)
    except BadMoney as bad:
        raise ValueError(str(bad)) from None


def digits(text: object) -> object:
    """Return the text of a whole number. Raises ValueError."""
    if isinstance(text, str) and not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise ValueError(f"expected digits, not {text[:40]!r}")
    return text


def _instant(text: object) -> object:
    if isinstance(text, str) and not RFC_3339.fullmatch(text):
        raise ValueError(
            "expected RFC 3339, such as 2026-11-20T12:00:00Z (in a query, + is written %2B)"
        )
    return datetime.fromisoformat(text.upper()) if isinstance(text, str) else text


def _person(actor: str) -> str:
    if actor.lower().startswith("stripe:"):
        raise ValueError(
            "stripe: is reserved for Stripe's own evidence; name a person or a program"
        )
    return actor


Id = Annotated[str, Field(pattern=ID_PATTERN)]
Line = Annotated[str, Field(pattern=LINE_PATTERN, max_length=500)]
Actor = Annotated[
    str,
    Field(pattern=LINE_PATTERN, max_length=128, json_schema_extra=NOT_STRIPE),
    AfterValidator(_person),
]
Amount = Annotated[int, Field(ge=1, le=money.LARGEST)]
Currency = TypeAliasType(
    "Currency",
    Annotated[
        str,
        Field(pattern=r"^[A-Za-z]{3}$"),
        AfterValidator(_currency),
        WithJsonSchema(
            {
                "type": "string",
                "enum": sorted(money.CURRENCIES),
                "description": "ISO 4217. Lower case is accepted too.",
            }
        ),
    ],
)
# the validator comes last: before Field it would hide the limits from the OpenAPI document
Instant = Annotated[datetime, BeforeValidator(_instant, json_schema_input_type=datetime)]


class Body(BaseModel):
    """A JSON body."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ShareIn(Body):
    """A seller's share of an order. `currency` only if it differs from the order's."""

    seller_id: Id
    destination: Id
    amount: Amount
    currency: Currency | None = None


class OrderIn(Body):
    """An order. Its shares in its currency add up to at most its amount; each seller has one
    share."""

    order_id: Id
    currency: Currency
    amount: Amount
    shares: Annotated[list[ShareIn], Field(min_length=1, max_length=MOST_SHARES)]
    payment_id: Id | None = None
    source_transaction: Id | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        claimed = sum(
            share.amount for share in self.shares if share.currency in (None, self.currency)
        )
        if claimed > self.amount:
            raise ValueError(
                f"the shares add up to {claimed}, expected at most the order's amount of "
                f"{self.amount}"
            )
        require_distinct([share.seller_id for share in self.shares])
        return self


class PaidIn(Body):
    """A payment that succeeded elsewhere. `amount_received` if more than the order was collected (a
    surcharge, a tip); for a paid order it corrects the recorded amount."""

    payment_id: Id | None = None
    source_transaction: Id | None = None
    amount_received: Amount | None = None


class PartIn(Body):
    """A seller's part of a refund, in the currency of that seller's share."""

    seller_id: Id
    amount: Amount


class RefundIn(Body):
    """A refund. Without `amount`: the rest of the order. Without `allocation`: in proportion to the
    shares; an empty one takes nothing from any seller."""

    refund_id: Id
    order_id: Id
    amount: Amount | None = None
    reason: Line | None = None
    allocation: Annotated[list[PartIn], Field(max_length=MOST_SHARES)] | None = None
    settled: bool = False
    psp_refund_id: Id | None = None

    model_config = ConfigDict(json_schema_extra=NAMED_BY_US_UNTIL_SETTLED)

    @model_validator(mode="after")
    def _names_each_seller_once(self) -> Self:
        require_distinct([part.seller_id for part in self.allocation or ()])
        return self

    @model_validator(mode="after")
    def _is_named_by_us_until_it_is_settled(self) -> Self:
        if self.psp_refund_id is not None and not self.settled:
            raise ValueError(
                "psp_refund_id is given without settled: true, but the ledger names the refunds "
                "that it requests"
            )
        return self


class RetryIn(Body):
    """Actor and reason of an operator's action; both become part of the audit trail.

    `actor` is required with LEDGER_API_TOKEN. A named token acts as `<name>` (the default) or
    `<name>/<person>`.
    """

    actor: Annotated[Actor, Field(default_factory=str)]
    reason: Line


class ResolveIn(RetryIn):
    """Evidence of the end: a Stripe object (`tr_…`, `trr_…`), which the ledger reads at Stripe
    first, or a reference to another record."""

    evidence: Line


class AcknowledgeIn(RetryIn):
    """Acknowledgement of an alarm. `count`: the count that the caller has seen; an alarm that was
    raised again since is refused."""

    count: Annotated[int, Field(ge=1, le=money.LARGEST)] | None = None


class DecideIn(RetryIn):
    """Decision about a refund or dispute that was set aside: an `allocation`, whose parts are taken
    from the sellers, or `dismiss: true`, so that nothing is ever taken.

    `amount`: the part of the order that it counts as, in the order's currency.
    """

    allocation: Annotated[list[PartIn], Field(max_length=MOST_SHARES)] | None = None
    dismiss: bool = False
    amount: Amount | None = None

    model_config = ConfigDict(json_schema_extra=DECIDED_ONCE)

    @model_validator(mode="after")
    def _decides_once(self) -> Self:
        if self.dismiss != (self.allocation is None):
            raise ValueError("expected either an allocation or dismiss: true")
        if self.dismiss and self.amount is not None:
            raise ValueError("amount belongs to an allocation, and dismiss: true takes nothing")
        require_distinct([part.seller_id for part in self.allocation or ()])
        return self


class DestinationIn(RetryIn):
    """The account at Stripe to which a seller has moved."""

    destination: Id


class PauseIn(RetryIn):
    """Scope of a pause: all work for one seller, or one kind of work; without either,
    everything."""

    seller_id: Id | None = None
    work: Literal["transferring", "reversing", "refunding", "funding"] | None = None

    model_config = ConfigDict(json_schema_extra=ONE_SCOPE)

    @model_validator(mode="after")
    def _names_one_scope(self) -> Self:
        if self.seller_id is not None and self.work is not None:
            raise ValueError("seller_id and work are both given, expected at most one of them")
        return self


class Parameters(BaseModel):
    """Query parameters; a subclass names them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def names(cls) -> list[str]:
        """List the names as callers write them."""
        return [member.alias or name for name, member in cls.model_fields.items()]


class TransfersQuery(Parameters):
    """Filters and page of a list of transfers."""

    status: TransferStatus | None = None
    seller_id: Id | None = None
    order_id: Id | None = None
    limit: Annotated[int, Field(ge=1, le=500), BeforeValidator(digits)] = 50
    cursor: (
        Annotated[str, Field(max_length=200, json_schema_extra={"pattern": CURSOR_PATTERN})] | None
    ) = None


class PastQuery(Parameters):
    """An instant, or a position of the ledger, but not both. Without either: now."""

    as_of: Instant | None = None
    as_of_position: (
        Annotated[int, Field(ge=0, le=money.LARGEST), BeforeValidator(digits)] | None
    ) = None


class StatementQuery(Parameters):
    """A period from `from` (included) to `to` (excluded). With `as_of_position`: as the ledger knew
    it at that position."""

    start: Annotated[Instant, Field(alias="from")]
    end: Annotated[Instant, Field(alias="to")]
    as_of_position: (
        Annotated[int, Field(ge=0, le=money.LARGEST), BeforeValidator(digits)] | None
    ) = None
    currency: Currency | None = None


class AlarmsQuery(Parameters):
    """Filter of alarms: the open ones, oldest first, or the latest, including cleared ones."""

    cleared: bool = False
    limit: Annotated[int, Field(ge=1, le=500), BeforeValidator(digits)] = 100


class PayoutsQuery(Parameters):
    """Number of the newest payouts."""

    limit: Annotated[int, Field(ge=1, le=500), BeforeValidator(digits)] = 50


class FeedQuery(Parameters):
    """Position after which the feed begins, and the seconds to wait for a first fact."""

    after: Annotated[int, Field(ge=0, le=money.LARGEST), BeforeValidator(digits)] = 0
    limit: Annotated[int, Field(ge=1, le=1000), BeforeValidator(digits)] = 100
    wait: Annotated[int, Field(ge=0, le=60), BeforeValidator(digits)] = 0


def require_distinct(sellers: list[str]) -> None:
    """Raise ValueError if a seller occurs twice."""
    twice = (
        next((seller for seller in sellers if sellers.count(seller) > 1), None)
        if len(set(sellers)) < len(sellers)
        else None
    )
    if twice is not None:
        raise ValueError(f"seller {twice!r} occurs twice, expected one entry per seller")
