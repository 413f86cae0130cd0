"""Stripe's webhooks as we read them: only the members we use, tolerant of everything else.

A snapshot event carries its object as it was; a thin one (`v1.…`) only names it, and it has to be read at Stripe. What Stripe
calls a thing today may have another name tomorrow, so every word from a list of words is a plain string here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from application.webhooks.fields import Amount, AnyAmount
from domain.provider_call.stripe_objects import TransferAtStripe

THIN = "v1."
"""How the types of thin events begin."""


@dataclass(frozen=True, slots=True)
class Carried:
    """`data` of a snapshot event."""

    object: dict[str, object]


@dataclass(frozen=True, slots=True)
class Named:
    """`related_object` of a thin event."""

    url: str


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """Either kind of event. `account` (thin: `context`) is the connected account that it is about; None: the platform."""

    id: str
    type: str
    account: str | None = None
    context: str | None = None
    data: Carried | None = None
    related_object: Named | None = None

    @property
    def of_account(self) -> str | None:
        return self.account or self.context


@dataclass(frozen=True, slots=True)
class Refund:
    """A `refund`. Amount in minor units."""

    id: str
    amount: Amount
    currency: str
    status: str | None = None
    charge: str | None = None
    payment_intent: str | None = None
    failure_reason: str | None = None
    transfer_group: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BalanceTransaction:
    """One movement on the platform's balance. `amount` is below zero where money left."""

    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Dispute:
    """A `dispute`. Amount in minor units."""

    id: str
    amount: Amount
    currency: str
    status: str | None = None
    reason: str | None = None
    charge: str | None = None
    payment_intent: str | None = None
    transfer_group: str | None = None
    balance_transactions: list[BalanceTransaction] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def still_withdrawn(self) -> int:
        """What the platform has not got back, as far as it is told in the dispute's own currency."""
        told = [moved.amount for moved in self.balance_transactions if moved.currency == self.currency]
        return -sum(told)


Payment = Refund | Dispute
"""What is about a payment: its order is found by any of its names."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A `transfer`. Its embedded reversals are not read: they are ten at most."""

    id: str
    amount: AnyAmount
    amount_reversed: AnyAmount
    currency: str
    destination: str
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def at_stripe(self) -> TransferAtStripe:
        """As a look at Stripe's books would show it, without its reversals."""
        ours = self.metadata.get("transfer_id")
        currency = self.currency.upper()
        return TransferAtStripe(self.id, self.amount, self.amount_reversed, currency, self.destination, ours)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What Stripe wants of an account."""

    disabled_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An `account`."""

    id: str
    capabilities: dict[str, str] = field(default_factory=dict)
    requirements: Requirements | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """A `capability` of an account."""

    id: str
    account: str
    status: str


@dataclass(frozen=True, slots=True)
class Payout:
    """A `payout`. Amount in minor units."""

    id: str
    amount: AnyAmount
    currency: str
    status: str
    arrival_date: int | None = None
    """Unix seconds."""
    failure_code: str | None = None
    failure_message: str | None = None


EVENT = TypeAdapter(StripeEvent)
REFUND, DISPUTE, TRANSFER = TypeAdapter(Refund), TypeAdapter(Dispute), TypeAdapter(Transfer)
ACCOUNT, CAPABILITY, PAYOUT = TypeAdapter(Account), TypeAdapter(Capability), TypeAdapter(Payout)

Object = Mapping[str, object]
