"""What came of a step at Stripe, as a value: it can be decided again after a lost race, and be kept if it is refused."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.calling import LookUp, Send, give_back
from domain.operation import Policy
from domain.seller_transfer import SellerTransfer


class Settlement(Protocol):
    """What one outcome does to its transfer. Pure, and harmless when it was recorded before."""

    def record(self, transfer: SellerTransfer, now: datetime) -> None: ...

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        """Keep it as evidence, where the database refuses what it leads to. Answers whether there is anything to keep."""
        ...


class Errand(Protocol):
    """What one kind of work does at Stripe."""

    @property
    def kind(self) -> str:
        """As `Work` knows it."""
        ...

    @property
    def endpoint(self) -> str:
        """As `Pace` knows it."""
        ...

    @property
    def policy(self) -> Policy: ...

    async def call(self, transfer: SellerTransfer, step: Send) -> Settlement:
        """Make the call, once. Never raises for anything that Stripe or the network does."""
        ...

    async def look_up(self, transfer: SellerTransfer, step: LookUp) -> Settlement:
        """Read Stripe's books. Never raises for anything that Stripe or the network does."""
        ...


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Too little of the lease was left: the call was not made."""

    attempt: int

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        give_back(transfer, self.attempt, now)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return False
