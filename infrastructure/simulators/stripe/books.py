"""The simulated Stripe's books: who holds what, which transfers and reversals exist, and what was announced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.ids import IdSequence
from infrastructure.simulators.stripe.balances import PLATFORM, WORLD, Pocket, Purse
from infrastructure.simulators.stripe.collection import Shelf
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.journal import Journal, Record, kept_json, of_kind
from infrastructure.simulators.stripe.rows import Account, BalanceTransaction, Charge, Event, Reversal, Transfer


class Origin(NamedTuple):
    """The request that caused a change; nothing of it is known for changes made in the dashboard."""

    request_id: str | None = None
    key: str | None = None


DASHBOARD = Origin()


class Books:
    """State without rules. Whoever changes a row tells its shelf; `World.commit` makes the changes durable."""

    def __init__(self, config: SimulatorConfig, clock: SimClock, ids: IdSequence, journal: Journal) -> None:
        self.config = config
        self.clock = clock
        self.ids = ids
        self.purse = Purse(journal)
        self.accounts = Shelf(Account, journal)
        self.charges = Shelf(Charge, journal)
        self.transfers = Shelf(Transfer, journal, ("destination", "transfer_group"))
        self.reversals = Shelf(Reversal, journal, ("transfer",))
        self.transactions = Shelf(BalanceTransaction, journal, ("source",))
        self.events = Shelf(Event, journal)
        self.unsettled: dict[str, Charge] = {}
        """Charges whose money is not available yet."""
        self.announced: list[Event] = []
        """Events of the running change, not yet given to the webhooks."""

    @property
    def _shelves(self) -> tuple[Shelf[Any], ...]:
        return (self.accounts, self.charges, self.transfers, self.reversals, self.transactions, self.events)

    def platform_pocket(self, currency: str, bucket: str = "available") -> Pocket:
        """The platform's pocket; a currency touched for the first time arrives with the default funds in it."""
        pocket = Pocket(PLATFORM, currency, bucket)
        if bucket == "available" and not self.purse.knows(pocket):
            self.purse.move(self.config.default_funds, Pocket(WORLD, currency), pocket)
        return pocket

    def book_transaction(self, type_: str, amount: int, currency: str, source: str) -> BalanceTransaction:
        """One line of the platform's balance history; `amount` is negative when money leaves it."""
        now = self.clock.seconds()
        description = "REFUND FOR TRANSFER" if type_ == "transfer_reversal" else None
        return self.transactions.add(
            BalanceTransaction(
                id=self.ids.next("txn"),
                seq=self.transactions.next_seq(),
                created=now,
                type="transfer_refund" if type_ == "transfer_reversal" else type_,
                amount=amount,
                currency=currency,
                source=source,
                available_on=now,
                description=description,
            )
        )

    def has(self, id_: object) -> bool:
        """Whether an object of that id exists, of whatever kind."""
        return any(id_ in shelf.by_id for shelf in self._shelves)

    def announce(
        self,
        type_: str,
        object_: dict[str, Any] | bytes,
        origin: Origin = DASHBOARD,
        previous: dict[str, Any] | None = None,
        account: str | None = None,
    ) -> Event:
        """Write down an event; it reaches the webhooks when the change is committed."""
        event = Event(
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
        self.events.add(event)
        self.announced.append(event)
        return event

    def clear(self) -> None:
        for shelf in self._shelves:
            shelf.clear()
        self.purse.clear()
        self.unsettled.clear()
        self.announced.clear()

    def records(self) -> Iterator[Record]:
        yield from self.purse.records()
        for shelf in self._shelves:
            yield from shelf.records()

    def restore(self, records: Iterable[Record]) -> None:
        kept = list(records)
        self.announced.clear()
        self.purse.restore(of_kind(kept, "balance"))
        for shelf in self._shelves:
            shelf.restore(of_kind(kept, shelf.kind))
        self.unsettled = {charge.id: charge for charge in self.charges if not charge.settled}
