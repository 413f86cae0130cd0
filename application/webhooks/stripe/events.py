"""Stripe's webhooks: the members that the ledger reads. All other members are ignored.

A snapshot event carries its object as it was. A thin event (`v1.…`) only names its object, which
has to be read at Stripe. Statuses are plain strings here, since Stripe may add new ones.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from application.webhooks.amounts import Amount, AnyAmount
from application.webhooks.names import Name
from domain.provider_call.stripe_objects import TransferAtStripe

THIN = "v1."
"""Prefix of the types of thin events."""


@dataclass(frozen=True, slots=True)
class EventData:
    """`data` of a snapshot event."""

    object: dict[str, object]


@dataclass(frozen=True, slots=True)
class RelatedObject:
    """`related_object` of a thin event."""

    url: str


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """A snapshot or thin event. `account` (thin: `context`) is the connected account of the event;
    None: the platform."""

    id: str
    type: str
    account: str | None = None
    context: str | None = None
    data: EventData | None = None
    related_object: RelatedObject | None = None

    @property
    def of_account(self) -> str | None:
        return self.account or self.context


@dataclass(frozen=True, slots=True)
class RefundObject:
    """A `refund`. Amount in minor units."""

    id: Name
    amount: Amount
    currency: str
    status: str | None = None
    charge: Name | None = None
    payment_intent: Name | None = None
    failure_reason: str | None = None
    transfer_group: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


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
    status: str | None = None
    reason: str | None = None
    charge: Name | None = None
    payment_intent: Name | None = None
    transfer_group: str | None = None
    balance_transactions: list[BalanceMovement] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def still_withdrawn(self) -> dict[str, int]:
        """The amounts that the platform has not got back, by currency: a dispute may be settled in
        another currency than it was opened in."""
        moved: Counter[str] = Counter()
        for movement in self.balance_transactions:
            moved[movement.currency.upper()] += movement.amount
        return {currency: -amount for currency, amount in moved.items() if amount < 0}


RefundOrDispute = RefundObject | DisputeObject
"""An object about a buyer's payment. Its order is found by any of its names."""


@dataclass(frozen=True, slots=True)
class TransferObject:
    """A `transfer`. Its embedded reversals are not read, since there are ten at most."""

    id: str
    amount: AnyAmount
    amount_reversed: AnyAmount
    currency: str
    destination: str
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def at_stripe(self) -> TransferAtStripe:
        """The transfer as a look-up at Stripe would show it, without its reversals."""
        ours = self.metadata.get("transfer_id")
        currency = self.currency.upper()
        return TransferAtStripe(
            self.id, self.amount, self.amount_reversed, currency, self.destination, ours
        )


@dataclass(frozen=True, slots=True)
class AccountRequirements:
    """`requirements` of an account: the information that Stripe still wants."""

    disabled_reason: str | None = None


@dataclass(frozen=True, slots=True)
class AccountObject:
    """An `account`."""

    id: Name
    capabilities: dict[str, str] = field(default_factory=dict)
    requirements: AccountRequirements | None = None


@dataclass(frozen=True, slots=True)
class CapabilityObject:
    """A `capability` of an account."""

    id: Name
    account: Name
    status: str


@dataclass(frozen=True, slots=True)
class PayoutObject:
    """A `payout`. Amount in minor units."""

    id: Name
    amount: AnyAmount
    currency: str
    status: str
    arrival_date: int | None = None
    """Unix seconds."""
    failure_code: str | None = None
    failure_message: str | None = None


EVENT = TypeAdapter(StripeEvent)
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
