"""What came of a step at Stripe, as a value: it can be decided again after a lost race, and be kept if it is refused."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.calling import LookUp, Send, forgive, give_back
from domain.operation import Policy
from domain.outcomes import Heard
from domain.seller_transfer import SellerTransfer


class Settlement(Protocol):
    """What one outcome does to its transfer. Pure, and harmless when it was recorded before."""

    @property
    def heard(self) -> Heard:
        """What it says about Stripe itself."""
        ...

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
    """The call was not made after all."""

    attempt: int
    why: str
    heard: Heard = Heard.NOTHING

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        give_back(transfer, self.attempt, self.why, now)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Forgiven:
    """An outage had spent this attempt."""

    what: str
    attempt: int
    heard: Heard = Heard.NOTHING

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        forgive(transfer, self.what, self.attempt, now)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return False
