"""Stripe's webhooks: the members that the ledger reads. All other members are ignored.

Amounts are as Stripe counts them (see `domain.currency`).

A snapshot event carries its object as it was. A thin event (`v1.…`) only names its object, which
has to be read at Stripe. Statuses are plain strings here, since Stripe may add new ones.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter

from application.foreign_members import AS_ITEMS, AS_MEMBERS, Metadata, Text, Whole
from application.webhooks.amounts import Amount, AnyAmount
from application.webhooks.entitlement import sender_of
from application.webhooks.names import Name, PossibleName, is_possible
from domain.currency import from_stripe
from domain.provider_call.stripe_objects import TransferAtStripe

Members = Annotated[dict[str, object] | None, AS_MEMBERS]


@dataclass(frozen=True, slots=True)
class EventData:
    """`data` of a snapshot event."""

    object: Members = None


@dataclass(frozen=True, slots=True)
class RelatedObject:
    """`related_object` of a thin event."""

    url: Text = None
    id: Text = None


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """A snapshot or thin event. `account` (thin: `context`, in old API versions `user_id`) is the
    connected account of the event; None: the platform."""

    account: object = None
    context: object = None
    user_id: object = None
    data: EventData | None = None
    related_object: RelatedObject | None = None

    @property
    def of_account(self) -> str | None:
        return sender_of(self.account, self.context, self.user_id)


@dataclass(frozen=True, slots=True)
class RefundObject:
    """A `refund`. Amount in minor units."""

    id: Name
    amount: Amount
    currency: str
    status: Text = None
    charge: PossibleName = None
    payment_intent: PossibleName = None
    failure_reason: Text = None
    transfer_group: Text = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BalanceMovement:
    """A `balance_transaction` of the platform. `amount` is negative where money left."""

    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class DisputeObject:
    """A `dispute`. Amount in minor units."""

    id: Name
    amount: Amount
    currency: str
    status: Text = None
    reason: Text = None
    charge: PossibleName = None
    payment_intent: PossibleName = None
    transfer_group: Text = None
    balance_transactions: Annotated[list[BalanceMovement], AS_ITEMS] = field(default_factory=list)
    evidence_details: object = None
    metadata: Metadata = field(default_factory=dict)

    @property
    def still_withdrawn(self) -> dict[str, int]:
        """The amounts that the platform has not got back, by currency: a dispute may be settled in
        another currency than it was opened in."""
        moved: Counter[str] = Counter()
        for movement in self.balance_transactions:
            moved[movement.currency.upper()] += movement.amount
        return {currency: -amount for currency, amount in moved.items() if amount < 0}


@dataclass(frozen=True, slots=True)
class NamedObject:
    """The names in a refund or dispute, of any shape. They tell whether it concerns an order of
    ours."""

    id: Text = None
    status: Text = None
    charge: PossibleName = None
    payment_intent: PossibleName = None
    transfer_group: PossibleName = None
    metadata: Metadata = field(default_factory=dict)

    @property
    def orders(self) -> list[str]:
        """The orders that the metadata or the transfer group names."""
        named = (self.metadata.get("order_id"), self.transfer_group)
        return [name for name in named if name and is_possible(name)]

    @property
    def names(self) -> list[str]:
        """All names by which the order can be found."""
        return [*self.orders, *self.payments]

    @property
    def payments(self) -> list[str]:
        """Stripe's names of the payment."""
        return [name for name in (self.charge, self.payment_intent) if name]


@dataclass(frozen=True, slots=True)
class TransferObject:
    """A `transfer`. Its embedded reversals are not read, since there are ten at most."""

    id: str
    amount: AnyAmount
    amount_reversed: AnyAmount
    currency: str
    destination: Text = None
    """Nullable; a transfer of ours has one."""
    metadata: Metadata = field(default_factory=dict)

    @property
    def at_stripe(self) -> TransferAtStripe:
        """The transfer as a look-up at Stripe would show it, without its reversals. Raises
        BadMoney."""
        currency = self.currency.upper()
        return TransferAtStripe(
            self.id,
            from_stripe(currency, self.amount),
            from_stripe(currency, self.amount_reversed),
            currency,
            self.destination or "",
            self.metadata.get("transfer_id"),
            ledger_id=self.metadata.get("ledger_id"),
        )


@dataclass(frozen=True, slots=True)
class NamedTransfer:
    """The names in a transfer, of any shape. They tell whether it is ours."""

    id: Text = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountRequirements:
    """`requirements` of an account: the information that Stripe still wants."""

    disabled_reason: Text = None


@dataclass(frozen=True, slots=True)
class AccountObject:
    """An `account`."""

    id: Name
    capabilities: Metadata = field(default_factory=dict)
    requirements: Annotated[AccountRequirements | None, AS_MEMBERS] = None
    whole: Annotated[bool, BeforeValidator(lambda _: True)] = True
    """False: only one capability was told."""


@dataclass(frozen=True, slots=True)
class CapabilityObject:
    """A `capability` of an account."""

    id: Name
    status: str


@dataclass(frozen=True, slots=True)
class PayoutObject:
    """A `payout`. Amount in minor units."""

    id: Name
    amount: AnyAmount
    currency: str
    status: str
    arrival_date: Whole = None
    """Unix seconds."""
    failure_code: Text = None
    failure_message: Text = None


EVENT = TypeAdapter(StripeEvent)
NAMED, NAMED_TRANSFER = TypeAdapter(NamedObject), TypeAdapter(NamedTransfer)
REFUND, DISPUTE, TRANSFER = (
    TypeAdapter(RefundObject),
    TypeAdapter(DisputeObject),
    TypeAdapter(TransferObject),
)
ACCOUNT, CAPABILITY, PAYOUT = (
    TypeAdapter(AccountObject),
    TypeAdapter(CapabilityObject),
    TypeAdapter(PayoutObject),
)

Object = Mapping[str, object]
