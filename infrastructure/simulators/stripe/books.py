"""The simulated Stripe's objects and balances, and the events of the running change."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.ids import IdSequence
from infrastructure.simulators.stripe.balances import OUTSIDE, PLATFORM, BalanceKey, Balances
from infrastructure.simulators.stripe.collection import Collection
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.manners import DAY, Manners
from infrastructure.simulators.stripe.rows import (
    AccountRow,
    BalanceTransactionRow,
    ChargeRow,
    PaymentIntentRow,
    StripeEventRow,
    TransferReversalRow,
    TransferRow,
)
from infrastructure.simulators.stripe.state_file import Records, StoreGroup, WriteBuffer, kept_json


class Origin(NamedTuple):
    """The request that caused a change. A change made in the dashboard has none."""

    request_id: str | None = None
    key: str | None = None


DASHBOARD = Origin()


class SimulatedStripeBooks(StoreGroup):
    """State without rules. Code that changes a row calls `save` of its collection;
    `StripeWorld.commit` makes changes durable."""

    def __init__(
        self, config: SimulatorConfig, clock: SimClock, ids: IdSequence, buffer: WriteBuffer
    ) -> None:
        self.config = config
        self.clock = clock
        self.ids = ids
        self.balances = Balances(buffer)
        self.accounts = Collection(AccountRow, buffer)
        self.charges = Collection(ChargeRow, buffer)
        self.payment_intents = Collection(PaymentIntentRow, buffer)
        self.transfers = Collection(TransferRow, buffer, ("destination", "transfer_group"))
        self.reversals = Collection(TransferReversalRow, buffer, ("transfer",))
        self.transactions = Collection(BalanceTransactionRow, buffer, ("source",))
        self.events = Collection(StripeEventRow, buffer)
        self._collections: tuple[Collection[Any], ...] = (
            self.accounts,
            self.charges,
            self.payment_intents,
            self.transfers,
            self.reversals,
            self.transactions,
            self.events,
        )
        super().__init__(self.balances, *self._collections)
        self.manners = config.manners
        self.maturing: list[tuple[int, str]] = []
        """Heap of the charges and balance transactions with pending money, each with the instant
        at which the money becomes available."""
        self.announced: list[StripeEventRow] = []
        """Events of the running change, not yet given to the webhooks."""
        self.webhook_endpoints: Callable[[], list[dict[str, Any]]] = list
        """Endpoints as the API lists them. The webhooks keep them, and set this."""
        self.reversals_begin_pending = False
        """True if new reversals wait for a decision: see `pending_reversals.py`."""
        self.begin()

    def begin(self) -> None:
        """Start with the configured manners, and start the days of the automatic payouts."""
        self.manners = self.config.manners
        self.next_payouts = self.clock.seconds() + DAY

    def change_manners(self, manners: Manners) -> None:
        """Change the manners from now on. The platform gets their funds in every currency that it
        has used."""
        self.manners = manners
        for key in self.balances.held_by(PLATFORM):
            missing = manners.funds - self.balances.amount(key)
            if key.bucket == "available" and missing > 0:
                self.balances.move(missing, BalanceKey(OUTSIDE, key.currency), key)

    def platform_balance(self, currency: str, bucket: str = "available") -> BalanceKey:
        """Return the key of the platform's balance. A currency gets the funds of the manners at
        its first use."""
        key = BalanceKey(PLATFORM, currency, bucket)
        if bucket == "available" and key not in self.balances:
            self.balances.move(self.manners.funds, BalanceKey(OUTSIDE, currency), key)
        return key

    def add_transaction(
        self,
        type_: str,
        amount: int,
        currency: str,
        source: str,
        available_on: int | None = None,
    ) -> BalanceTransactionRow:
        """Add one line to the platform's balance history. `amount` is negative when money leaves
        the platform; without `available_on` it is available now."""
        now = self.clock.seconds()
        is_reversal = type_ == "transfer_reversal"
        return self.transactions.add(
            BalanceTransactionRow(
                id=self.ids.next("txn"),
                seq=self.transactions.next_seq(),
                created=now,
                type="transfer_refund" if is_reversal else type_,
                amount=amount,
                currency=currency,
                source=source,
                available_on=now if available_on is None else available_on,
                description="REFUND FOR TRANSFER" if is_reversal else None,
            )
        )

    def has(self, id_: object) -> bool:
        """Return whether an object of any kind has that id."""
        return any(id_ in collection.by_id for collection in self._collections)

    def announce(
        self,
        type_: str,
        object_: dict[str, Any] | bytes,
        origin: Origin = DASHBOARD,
        previous: dict[str, Any] | None = None,
        account: str | None = None,
    ) -> StripeEventRow:
        """Add an event. The webhooks get the event when the change is committed."""
        event = self.events.add(
            StripeEventRow(
                id=self.ids.next("evt"),
                seq=self.events.next_seq(),
                created=self.clock.seconds(),
                type=type_,
                object=object_ if isinstance(object_, bytes) else kept_json(object_),
                account=account,
                request_id=origin.request_id,
                idempotency_key=origin.key,
                previous_attributes=previous,
            )
        )
        self.announced.append(event)
        return event

    def clear(self) -> None:
        super().clear()
        self.maturing.clear()
        self.announced.clear()
        self.reversals_begin_pending = False

    def restore(self, records: Records) -> None:
        super().restore(records)
        self.announced.clear()
        pending = [(row.available_on, row.id) for row in self.transactions if row.matures]
        unsettled = [(row.available_on, row.id) for row in self.charges if not row.settled]
        self.maturing = sorted([*pending, *unsettled])

    def violations(self) -> Iterator[str]:
        """Yield broken laws of the books: none, unless the simulator is wrong (or a fault made it
        duplicate)."""
        for currency, total in self.balances.totals().items():
            if total:
                yield f"{total} {currency} came from nowhere"
        reversed_amounts: Counter[str] = Counter()
        for reversal in self.reversals:
            if reversal.status in (None, "succeeded"):
                reversed_amounts[reversal.transfer] += reversal.amount
        for transfer in self.transfers:
            if not 0 <= transfer.amount_reversed <= transfer.amount:
                yield f"{transfer.id}: {transfer.amount_reversed} of {transfer.amount} is reversed"
            if transfer.amount_reversed != reversed_amounts[transfer.id]:
                yield (
                    f"{transfer.id}: its reversals sum to {reversed_amounts[transfer.id]}, not "
                    f"{transfer.amount_reversed}"
                )
            if transfer.balance_transaction not in self.transactions.by_id:
                yield f"{transfer.id}: no balance transaction"
        for holder, buckets in self.balances.by_holder().items():
            account = self.accounts.get(holder)
            overdrawn = [
                currency for currency, amount in buckets["available"].items() if amount < 0
            ]
            if account is not None and overdrawn and not account.connected_reserves:
                yield f"{holder}: below zero in {overdrawn}"
