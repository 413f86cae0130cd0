"""Aggregate of a seller's account at Stripe, once the seller has moved to another one.

An order says the accounts of its sellers. After a move, the shares of orders that were registered
before it, and the compensations of such orders, go to the new account.
"""

from datetime import datetime

from domain.fact import Fact, Opening, Stream, opened
from domain.identity import seller_account_stream

TOPIC = "ledger.seller_account"


class Noted(Opening):
    """A seller moves for the first time."""

    TOPIC = "ledger.seller_account.noted"
    seller_id: str

    def apply(self, aggregate: "SellerAccount") -> None:
        aggregate.seller_id = self.seller_id


class Moved(Fact):
    """`actor` said that the seller is paid to `destination` from now on."""

    TOPIC = "ledger.seller_account.moved"
    seller_id: str
    destination: str
    actor: str
    reason: str

    def apply(self, aggregate: "SellerAccount") -> None:
        aggregate.destination, aggregate.moved_at = self.destination, self.timestamp


class SellerAccount(Stream, topic=TOPIC, opening=Noted):
    """The account of one seller who has moved."""

    def __init__(self) -> None:
        self.seller_id = self.destination = ""
        self.moved_at: datetime | None = None

    @classmethod
    def note(cls, seller_id: str, now: datetime) -> "SellerAccount":
        """Open the stream of a seller who has not moved before."""
        fact = Noted(**cls.first(seller_account_stream(seller_id), now), seller_id=seller_id)
        return opened(cls, fact)

    def move(self, destination: str, actor: str, reason: str, now: datetime) -> bool:
        """Record the new account. Returns whether that is new."""
        if destination == self.destination:
            return False
        self.record(
            Moved(
                **self.next(now),
                seller_id=self.seller_id,
                destination=destination,
                actor=actor,
                reason=reason,
            )
        )
        return True

    def destination_for(self, registered: datetime) -> str | None:
        """Return the account for a share of an order that was registered then; None if the order
        says it."""
        moved = self.moved_at is not None and registered < self.moved_at
        return self.destination if moved else None


AnySellerAccountFact = Noted | Moved
