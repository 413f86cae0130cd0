"""What came of a step at Stripe, as a value: it can be decided again after a lost race, and be kept if it is refused."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from application.ports import Clock, EventLog, FleetState
from application.unit_of_work import UnitOfWork
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.steps import LookUp, Send, Step
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.stripe_call import forgive, give_back


class Said(Protocol):
    """What came of a step, as far as the loop has to know."""

    @property
    def signal(self) -> ProviderSignal:
        """What it says about the other side itself."""
        ...


Subject = TypeVar("Subject")
"""What is worked on: a seller's transfer, a buyer's refund."""
Answer = TypeVar("Answer", bound=Said)
"""What comes of a step, kept until it is recorded."""
Kept = TypeVar("Kept", contravariant=True)


class Records(Protocol[Kept]):
    """Stores what came of a step; returns only when that is done, whatever the database does meanwhile."""

    async def record(self, subject_id: UUID, uow: UnitOfWork, answer: Kept) -> None:
        """`uow` is as fresh as the intent; it is loaded anew when that was too old."""
        ...


class CallResult(Protocol):
    """What one outcome does to its transfer. Pure, and harmless when it was recorded before."""

    @property
    def signal(self) -> ProviderSignal:
        """What it says about Stripe itself."""
        ...

    def record(self, transfer: SellerTransfer, now: datetime) -> None: ...

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        """Keep it as evidence, where the database refuses what it leads to. Answers whether there is anything to keep."""
        ...


class ProcessManager(Protocol[Subject, Answer]):
    """What one kind of work does, at Stripe or at the PSP."""

    @property
    def kind(self) -> str:
        """As `Work` knows it."""
        ...

    @property
    def endpoint(self) -> str:
        """As `RateLimiter` knows it."""
        ...

    def subject(self, uow: UnitOfWork, subject_id: UUID) -> Subject:
        """What was claimed under this id. Raises UnknownId."""
        ...

    def may(self, subject: Subject, state: FleetState) -> bool:
        """What was claimed before an outage or a pause is not begun after it."""
        ...

    def begin(self, subject: Subject, now: datetime, state: FleetState) -> Step:
        """The next step, with its intent recorded."""
        ...

    async def call(self, subject: Subject, step: Send) -> Answer:
        """Make the call, once. Never raises for anything that the other side or the network does."""
        ...

    async def look_up(self, subject: Subject, step: LookUp) -> Answer:
        """Read the other side's books. Never raises for anything that it or the network does."""
        ...

    def given_back(self, attempt: int, why: str) -> Answer:
        """The call was not made after all."""
        ...

    def recorder(self, ledger: EventLog, clock: Clock) -> Records[Answer]:
        """Who stores what comes of it."""
        ...


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The call was not made after all."""

    attempt: int
    why: str
    signal: ProviderSignal = ProviderSignal.NOTHING

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        give_back(transfer, self.attempt, self.why, now)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Forgiven:
    """An outage had spent this attempt."""

    what: str
    attempt: int
    signal: ProviderSignal = ProviderSignal.NOTHING

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        forgive(transfer, self.what, self.attempt, now)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return False
