"""Handling of stored webhooks. The inbox row is the job: it is closed in the transaction of the
facts that it causes.

Arrival order and timestamps decide nothing. A webhook about something unknown is parked and comes
back. One that contradicts a recorded final status is parked with an alarm, never dropped. One that
does not concern the ledger is ignored, with the reason. Before any
handler, `application.webhooks.entitlement` checks that the sender may speak about the object. The
handlers of each provider know the meaning of each event type.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import ValidationError

from application.commands.subjects import subject_of_order
from application.unit_of_work import CommitExtras, InboxMark
from application.webhooks.entitlement import Entitlement
from domain.errors import (
    AwaitsPayment,
    BadMoney,
    ContentDiffers,
    Contradiction,
    NotTheAuthority,
    OtherPayment,
    Refused,
    UnknownId,
)

UNREADABLE = "unreadable"
"""Stored type of an event without a readable type or mode."""


class WebhookAlarm(StrEnum):
    """Kinds of alarms about webhooks."""

    UNREADABLE = "webhook_unreadable"
    PARKED_TOO_LONG = "webhook_parked_too_long"
    DEAD = "webhook_dead"
    PAYMENT_DISAGREES = "payment_disagrees"
    REFUND_DISAGREES = "refund_disagrees"
    DISPUTE_DISAGREES = "dispute_disagrees"
    REFUND_OF_SURPLUS_PAYMENT = "refund_of_surplus_payment"
    """A refund of another payment than the one that paid its order."""
    DISPUTE_OF_SURPLUS_PAYMENT = "dispute_of_surplus_payment"
    REFUND_UNKNOWN_TO_PSP = "refund_unknown_to_psp"
    """A refund at Stripe of an order that the PSP refunds, and the PSP reports no such refund."""
    DISPUTE_REINSTATED_IN_PART = "dispute_reinstated_in_part"
    REVERSED_AT_STRIPE = "reversed_at_stripe"
    SPLIT_MONEY = "split_money"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A webhook in the inbox."""

    inbox_id: int
    provider: str
    event_id: str
    event_type: str
    body: bytes

    @property
    def source(self) -> str:
        """The name of this webhook in the facts that it causes."""
        return f"{self.provider}:{self.event_id}"

    @property
    def done(self) -> CommitExtras:
        """The mark that closes this webhook in the transaction of its facts."""
        return CommitExtras(inbox=InboxMark(self.inbox_id, "done"))


@dataclass(frozen=True, slots=True)
class Done:
    """Handled: the inbox row was closed together with the facts."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Of no concern to the ledger, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Parked:
    """Waiting for `subject`; with `alarm`, a person should know.

    `maybe_foreign`: the webhook may not concern the ledger at all, so it is ignored after the
    deadline.
    """

    subject: str
    reason: str
    alarm: WebhookAlarm | None = None
    maybe_foreign: bool = False
    alarm_after: timedelta = timedelta(0)
    """Time since the arrival after which the alarm is raised, and the event is looked at again."""


@dataclass(frozen=True, slots=True)
class Dead:
    """Signed, and unreadable for good: a person should know."""

    reason: str
    alarm: WebhookAlarm


@dataclass(frozen=True, slots=True)
class Later:
    """To be handled again after `wait`, because Stripe or a call of ours has to answer first. It
    counts as no attempt."""

    reason: str
    wait: timedelta


WebhookResult = Done | Ignored | Parked | Later | Dead
DONE = Done()
NOT_READABLE = (
    "A signed webhook has no readable id, type or mode; read its body with `inbox show`, ask the "
    "sender, and close it with `inbox discard`."
)
UNREADABLE_TYPE = "unreadable"
"""Stored type of a signed webhook that is no JSON object, or has no readable type or mode."""

EventHandler = Callable[[StoredEvent], Awaitable[WebhookResult]]

REFUSALS = (
    NotTheAuthority,
    OtherPayment,
    ContentDiffers,
    Contradiction,
    BadMoney,
    UnknownId,
    AwaitsPayment,
)
"""Refusals of a command that settle the webhook behind it. Other errors count as failed
attempts."""


def result_of(
    refused: Refused, order_id: str, alarm: WebhookAlarm, *, maybe_foreign: bool = False
) -> Ignored | Parked:
    """Return the result of a webhook after its command was refused with one of `REFUSALS`."""
    match refused:
        case NotTheAuthority():
            return Ignored(str(refused))
        case UnknownId():
            return parked_for(subject_of_order(order_id), maybe_foreign=maybe_foreign)
        case _:
            return Parked(subject_of_order(order_id), str(refused), alarm)


def parked_for(subject: str, *, maybe_foreign: bool = False) -> Parked:
    """Return the result of a webhook about an order or payment that is not known yet."""
    return Parked(subject, f"there is no {subject} yet", maybe_foreign=maybe_foreign)


class WebhookHandler:
    """Passes each event to the handler of its provider and type."""

    def __init__(
        self, entitlement: Entitlement | None = None, /, **handlers: Mapping[str, EventHandler]
    ) -> None:
        """Take the handlers by event type, for each provider under its name in the inbox.

        The type `payment_*` stands for all other types that begin with `payment_`.
        """
        self._entitlement, self._handlers = entitlement or Entitlement(), handlers

    async def handle(self, event: StoredEvent) -> WebhookResult:
        """Handle one event. Raises the errors of commands, except `REFUSALS`.

        An event whose members are unreadable is parked with an alarm: it was signed, so it means
        something. A body that is no JSON never becomes readable, so it is dead.
        """
        if event.event_type == UNREADABLE_TYPE:
            return Dead(NOT_READABLE, WebhookAlarm.UNREADABLE)
        handlers = self._handlers.get(event.provider, {})
        family = f"{event.event_type.partition('_')[0]}_*"
        handler = handlers.get(event.event_type) or handlers.get(family)
        if handler is None:
            return Ignored(
                f"{event.provider} {event.event_type}: the ledger does not handle this type"
            )
        try:
            refused = self._entitlement.refusal(event.provider, event.event_type, event.body)
            return Ignored(refused) if refused is not None else await handler(event)
        except ValidationError as unreadable:
            first = unreadable.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return Parked(
                f"event:{event.event_id}",
                f"unreadable at {where}: {first['msg']}",
                WebhookAlarm.UNREADABLE,
            )
