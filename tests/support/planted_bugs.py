"""Bugs on purpose, to show that the simulation of faults can fail.

Each bug is a small patch of the product at run time: a context manager that replaces one function.
This is the only place where code of our own is replaced.
`tests/simulation/test_planted_bugs.py` searches the schedules that find them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import copy
from datetime import datetime
from typing import Any
from uuid import UUID

from application.command_handler import CommandHandler
from application.commands import refunds
from application.missed_webhooks.psp_refunds import MissedRefunds
from application.process_managers.leases import Leases
from application.process_managers.worker import Worker
from application.webhooks.inbox_worker import InboxLoop
from domain import allocation
from domain.errors import Conflict
from domain.fact import Fact
from domain.order import recovery
from domain.provider_call import deferral
from domain.provider_call.operation import TRANSFER, Deferral, LookFirst, Operation
from domain.provider_call.outcome import Outcome, Rejected, Succeeded, Unknown
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Rest, Send
from domain.seller_transfer import stripe_call, transfer_outcome
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.facts import Failed, ReversalWithdrawn
from infrastructure.stripe.gateway import StripeGateway
from projections import alarms

Replacement = Callable[..., Any]
"""A function that takes the place of one of the product's; it gets the original first."""


@contextmanager
def _replaced(owner: Any, name: str, replacement: Replacement) -> Iterator[None]:
    original = getattr(owner, name)

    def planted(*arguments: Any, **named: Any) -> Any:
        return replacement(original, *arguments, **named)

    setattr(owner, name, planted)
    try:
        yield
    finally:
        setattr(owner, name, original)


# --- the call protocol ----------------------------------------------------------------------------


def key_by_amount() -> AbstractContextManager[None]:
    """The idempotency key is made from the amount instead of the epoch: a stored refusal is
    repeated for ever, and a changed body of the same amount is an error."""

    def send(original: Replacement, transfer: Any, operation: Operation, *rest: Any) -> Any:
        amount = (
            transfer.amount
            if operation.what == TRANSFER
            else transfer.reversals[operation.what].amount
        )
        name = transfer.id if operation.what == TRANSFER else f"reversal of {transfer.id}"
        key = f"{name}:{amount}"
        known = operation._replace(epoch_key=key, epoch_began=transfer.begun_at)
        return original(transfer, known, *rest)

    return _replaced(stripe_call, "_send", send)


def outcome_before_call() -> AbstractContextManager[None]:
    """The success is stored before the call is made."""

    async def ask(original: Replacement, worker: Any, subject: UUID, uow: Any, step: Any) -> Any:
        if isinstance(step, Send) and "refund_id" not in step.body:
            hoped = Succeeded(f"tr_{step.key[-12:]}", step.body["amount"])
            await worker._recorder.record(worker._process, subject, uow, step, hoped)
        return await original(worker, subject, uow, step)

    return _replaced(Worker, "_ask_provider", ask)


def intent_after_call() -> AbstractContextManager[None]:
    """The intent is stored together with the outcome, after the call."""

    async def take(original: Replacement, worker: Any, subject: UUID, uow: Any) -> None:
        step = worker._process.next_step(uow, subject, worker._clock.now(), worker._monitor.state)
        if isinstance(step, Rest):
            if uow.changed():
                await worker._event_log.append(uow)
            return
        answer = await worker._ask_provider(subject, uow, step)
        await worker._recorder.record(worker._process, subject, uow, step, answer)

    return _replaced(Worker, "_take_step", take)


def new_key_after_unknown() -> AbstractContextManager[None]:
    """A reversal without an answer is repeated under a new key."""

    def unknown(original: Replacement, operation: Operation, *rest: Any) -> Deferral:
        found: Deferral = original(operation, *rest)
        if operation.what == TRANSFER:
            return found
        return found._replace(epoch=operation.epoch + 1, open=False)

    return _replaced(deferral, "unknown", unknown)


def lost_answer_is_failure() -> AbstractContextManager[None]:
    """A lost answer counts as a refusal."""

    async def create(original: Replacement, *arguments: Any) -> Outcome:
        outcome: Outcome = await original(*arguments)
        if isinstance(outcome, Unknown) and outcome.status is None:
            return Rejected(400, None, outcome.message, stored=True)
        return outcome

    return _replaced(StripeGateway, "create", create)


def doubt_forgotten() -> AbstractContextManager[None]:
    """A 401, 409 or 429 after a lost answer ends the doubt about it."""

    def hindered(original: Replacement, *arguments: Any, **named: Any) -> Deferral:
        found: Deferral = original(*arguments, **named)
        return found._replace(open=False, epoch=found.epoch + 1)

    return _replaced(deferral, "not_executed", hindered)


def key_after_a_day() -> AbstractContextManager[None]:
    """A key is used again after Stripe has forgotten it, without a look-up."""

    def must(
        original: Replacement,
        operation: Operation,
        now: datetime,
        policy: Policy,
        look_first: LookFirst | None = None,
    ) -> bool:
        young = operation._replace(epoch_began=None)
        return bool(original(young, now, policy, look_first))

    return _replaced(Operation, "must_look_up", must)


def late_outcome_believed() -> AbstractContextManager[None]:
    """Neither the lease nor the number of the attempt is checked when an outcome is stored."""

    def awaits(original: Replacement, operation: Operation, what: str, attempt: int) -> bool:
        return operation.what == what

    return _replaced(Operation, "awaits", awaits)


def lease_not_checked() -> AbstractContextManager[None]:
    """A call begins although the lease has run out."""

    def left(original: Replacement, leases: Leases, subject: UUID) -> float:
        return 60.0

    return _replaced(Leases, "seconds_left", left)


def absent_after_one_look() -> AbstractContextManager[None]:
    """A look-up begins while the call that it asks about may still be under way."""

    def until(original: Replacement, *arguments: Any) -> None:
        return None

    return _replaced(Operation, "under_way_until", until)


def new_key_after_absence() -> AbstractContextManager[None]:
    """An operation that a look-up did not find is sent under a new key, although a frozen process
    may still send it under the old one. The product was so until `simulate-faults` found it."""

    def spent(original: Replacement, operation: Operation, now: datetime, policy: Policy) -> bool:
        return operation.epoch_began is not None

    return _replaced(Operation, "is_spent", spent)


def frozen_caller_forgotten() -> AbstractContextManager[None]:
    """A look-up that found nothing frees amount and key, although a frozen process may still send
    the call. The product was so until `simulate-faults` found it."""

    def deferred(original: Replacement, *arguments: Any) -> Operation:
        operation: Operation = original(*arguments)
        return operation._replace(vanished_in=0)

    return _replaced(Operation, "deferred", deferred)


# --- money ----------------------------------------------------------------------------------------


def residue_to_two() -> AbstractContextManager[None]:
    """Each seller bears the rest of the rounding, instead of the platform."""

    def allocate(
        original: Replacement,
        shares: Mapping[str, int],
        order_amount: int,
        refunded: int,
        steps: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        return {seller: -(-share * refunded // order_amount) for seller, share in shares.items()}

    return _replaced(allocation, "allocate", allocate)


def reversal_not_queued() -> AbstractContextManager[None]:
    """A refund meets a transfer whose call is open, and the transfer counts as unsent."""

    def take(original: Replacement, transfer: Any, refund_id: str, amount: int, now: Any) -> None:
        if transfer.status in ("pending", "failed") and not transfer.unverified:
            transfer._reduce(refund_id, amount, now)
        else:
            original(transfer, refund_id, amount, now)

    return _replaced(SellerTransfer, "take_back", take)


def failed_refund_keeps_the_money() -> AbstractContextManager[None]:
    """A refund that fails after its success gives nothing back to the sellers."""

    def give_back(original: Replacement, *arguments: Any) -> list[SellerTransfer]:
        return []

    return _replaced(recovery, "_give_back", give_back)


def refund_stays_set_aside() -> AbstractContextManager[None]:
    """A refund that was set aside is not taken when the failure of another one leaves room for it.
    The product was so until `simulate-faults` found it."""
    return _replaced(refunds, "take_fitting", lambda original, *arguments: None)


def repeated_failure_is_ignored() -> AbstractContextManager[None]:
    """A refund's failure that is reported again explains nothing that Stripe has shown meanwhile.
    The product was so until `simulate-faults` found it."""
    return _replaced(refunds, "recover_again", lambda original, *arguments: None)


def given_up_is_cancelled() -> AbstractContextManager[None]:
    """A transfer without an answer, refunded as a whole, is cancelled after one look-up, although
    Stripe may make it later. The product was so until `simulate-faults` found it."""

    def give_up(
        original: Replacement, transfer: SellerTransfer, reason: Any, outcome: Any, now: datetime
    ) -> None:
        operation = transfer.operation
        if outcome is None and transfer.queue and operation is not None:
            failed = Failed(
                **transfer.next(now),
                reason=reason.value,
                code=None,
                detail="",
                retry_count=operation.retry_count,
                next_retry_at=now,
                epoch=operation.epoch,
                request_id=None,
            )
            transfer.record(failed)
            transfer.operation = operation._replace(in_call=False, unknown=False)  # no doubt
            transfer.forgo_queue(now)
        if transfer.status != "cancelled":
            original(transfer, reason, outcome, now)

    return _replaced(transfer_outcome, "_give_up_unpaid", give_up)


# --- webhooks -------------------------------------------------------------------------------------


def at_most_once_inbox() -> AbstractContextManager[None]:
    """A webhook is marked as handled before it is handled."""

    async def handle(original: Replacement, loop: Any, event: Any, ignored: Any) -> None:
        await loop._inbox.ignore({event.inbox_id: "handled"})
        await original(loop, event, ignored)

    return _replaced(InboxLoop, "_handle", handle)


def conflict_is_success() -> AbstractContextManager[None]:
    """A command that lost a race counts as done."""

    class Careless:
        def __init__(self, log: Any) -> None:
            self.load, self._log = log.load, log

        async def append(self, *arguments: Any) -> None:
            with suppress(Conflict):
                await self._log.append(*arguments)

    async def handle(original: Replacement, handler: Any, *arguments: Any) -> Any:
        careless = copy(handler)
        careless._log = Careless(handler._log)
        return await original(careless, *arguments)

    return _replaced(CommandHandler, "_handle", handle)


def poller_skips_a_page() -> AbstractContextManager[None]:
    """The poller leaves out the newest refund of each list."""

    async def missed(original: Replacement, poller: Any, listed: Sequence[Any], *rest: Any) -> Any:
        return await original(poller, listed[1:], *rest)

    return _replaced(MissedRefunds, "_missed", missed)


# --- alarms ---------------------------------------------------------------------------------------


def alarm_outlives_withdrawal() -> AbstractContextManager[None]:
    """A running reversal that is withdrawn leaves its alarm about missing funds. The product was so
    until `simulate-faults` found it."""

    def ends(original: Replacement, fact: Fact, troubled: bool) -> Any:
        return () if isinstance(fact, ReversalWithdrawn) else original(fact, troubled)

    return _replaced(alarms, "_ends", ends)


BUGS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    bug.__name__: bug
    for bug in (
        key_by_amount,
        outcome_before_call,
        at_most_once_inbox,
        intent_after_call,
        new_key_after_unknown,
        lost_answer_is_failure,
        doubt_forgotten,
        key_after_a_day,
        late_outcome_believed,
        lease_not_checked,
        absent_after_one_look,
        residue_to_two,
        reversal_not_queued,
        failed_refund_keeps_the_money,
        conflict_is_success,
        poller_skips_a_page,
        new_key_after_absence,
        frozen_caller_forgotten,
        alarm_outlives_withdrawal,
        refund_stays_set_aside,
        repeated_failure_is_ignored,
        given_up_is_cancelled,
    )
}
"""All planted bugs, by name; the first three are those that the issue asks for."""
