"""Process managers: the rules of one kind of work at a provider. One `Worker` applies them step by
step."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from application.command_handler import LOOK_UP_FIRST_STREAM
from application.ports import EventLog, FleetState
from application.unit_of_work import UnitOfWork
from domain.errors import LedgerError
from domain.identity import order_stream
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.steps import LookUp, Send, Step
from domain.provider_call.stripe_objects import TransferAtStripe

Answer = TypeVar("Answer")
"""Answer of a provider to a step, as plain data: it is recorded again after a lost race."""


class NotCalled(NamedTuple):
    """A step that was claimed but not taken, for the reason `why`."""

    why: str


class ProcessManager(Protocol[Answer]):
    """Rules of one kind of work. `subject_id` is the stream of the transfer or refund that was
    claimed."""

    @property
    def kind(self) -> str:
        """Kind of work in the work queue."""

    @property
    def endpoint(self) -> str:
        """Endpoint in the rate limiter."""

    @property
    def unrecordable(self) -> tuple[type[LedgerError], ...]:
        """Errors of `record`, or of its append, after which `keep` is called instead."""

    async def load(
        self, event_log: EventLog, subject_id: UUID, intent: UnitOfWork | None
    ) -> UnitOfWork:
        """Load the streams that an answer may change.

        `intent` is the unit of work of the step's intent; None after a lost race, when it is
        outdated.
        """

    def account(self, uow: UnitOfWork, subject_id: UUID) -> str:
        """Return the account that the work pays or takes from; empty if none is known."""

    def may_run(self, uow: UnitOfWork, subject_id: UUID, state: FleetState) -> bool:
        """Return whether neither an outage nor a pause forbids the work."""

    def next_step(
        self, uow: UnitOfWork, subject_id: UUID, now: datetime, state: FleetState
    ) -> Step:
        """Return the next step, with its intent recorded. Raises UnknownId."""

    async def call(self, uow: UnitOfWork, subject_id: UUID, step: Send) -> Answer:
        """Make the call once. Never raises for an error of the provider or the network."""

    async def look_up(self, uow: UnitOfWork, subject_id: UUID, step: LookUp) -> Answer:
        """Read the provider's records. Never raises for an error of the provider or the network."""

    def books(self, answer: Answer | NotCalled) -> Sequence[TransferAtStripe]:
        """Return the transfers at Stripe that an answer shows with all their reversals."""

    def signal(self, answer: Answer) -> ProviderSignal:
        """Return the signal of an answer about the provider itself."""

    def record(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: Answer | NotCalled,
        now: datetime,
    ) -> Sequence[str]:
        """Record an answer; return the causes for which shares must be recovered again. A second
        time changes nothing."""

    def keep(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: Answer | NotCalled,
        why: str,
        now: datetime,
    ) -> None:
        """Keep an answer for a person, since the database refused its facts for the reason
        `why`."""


async def load_order(event_log: EventLog, order_id: str) -> UnitOfWork:
    """Load an order, all its transfers, and the pause `look_up_first`. Raises UnknownId."""
    uow = await event_log.load([order_stream(order_id), LOOK_UP_FIRST_STREAM])
    order = uow.order(order_id)
    uow.merge(await event_log.load([*order.transfer_ids(), *order.seller_streams()]))
    uow.mark_moved()
    return uow
