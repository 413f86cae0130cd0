"""Stories for tests of the pure domain: a transfer with its clock, an order with its sellers, and
answers of Stripe by name."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar, Unpack
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, Mapper, UUIDAsHex

from domain.fact import Fact, Stream
from domain.identity import transfer_stream
from domain.lifecycle import TransferStatus
from domain.order.aggregate import Order
from domain.order.recovery import pay_sellers, recover_shares
from domain.provider_call.operation import TRANSFER, Operation
from domain.provider_call.outcome import (
    Hindrance,
    NotExecuted,
    Outcome,
    Pending,
    Rejected,
    ReversalOutcome,
    Succeeded,
    Unknown,
)
from domain.provider_call.request_body import TransferBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send, Step
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.aggregate import TOPIC, SellerTransfer
from domain.seller_transfer.opening_facts import Imported
from domain.seller_transfer.reversal import Reversal
from domain.seller_transfer.reversal_outcome import record_look_up as record_reversal_look_up
from domain.seller_transfer.stripe_call import begin
from domain.seller_transfer.transfer_outcome import record_look_up as record_transfer_look_up
from tests.support.outcomes import record_reversal_outcome, record_transfer_outcome
from tests.support.streams import ImportedColumns

F = TypeVar("F", bound=Fact)
G = TypeVar("G", bound=Fact)

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLICY = Policy(base=SECOND, maximum=10 * SECOND)


class Story:
    """One transfer of 100.00 EUR: its commands, Stripe's answers, and the resulting facts."""

    TR, TRR = "tr_1", "trr_1"

    def __init__(self) -> None:
        self.now, self.policy, self.amount = START, POLICY, 10_000
        self.transfer = self._created()
        self._told = 0

    def _created(self) -> SellerTransfer:
        return SellerTransfer.create(
            order_id="order-1",
            seller_id="ada",
            destination="acct_ada",
            amount=self.amount,
            currency="EUR",
            now=self.now,
        )

    # given

    def paid(self, stripe_transfer_id: str = TR) -> "Story":
        self.call(Succeeded(stripe_transfer_id, self.transfer.amount))
        self.news()
        return self

    def refunded(self, refund_id: str = "refund-1", amount: int = 4_000) -> "Story":
        self.transfer.take_back(refund_id, amount, self.now)
        return self

    def reversing(self, amount: int = 4_000) -> "Story":
        """Pay the transfer and request a reversal."""
        self.paid().refunded(amount=amount)
        self.news()
        return self

    # when

    def passes(self, time: timedelta) -> "Story":
        self.now += time
        return self

    def comes_due(self) -> "Story":
        assert self.transfer.next_retry_at is not None, "nothing will ever be due"
        self.now = max(self.now, self.transfer.next_retry_at)
        return self

    def step(self) -> Step:
        return begin(self.transfer, self.now, self.policy)

    def send(self) -> Send:
        """Return the next step, which has to be a call."""
        step = self.comes_due().step()
        assert isinstance(step, Send), step
        return step

    @staticmethod
    def first_send() -> Send:
        """Return the transfer's first call, for an answer that comes late; its body is not read
        again."""
        body = TransferBody(amount=0, currency="", destination="", transfer_group="", metadata={})
        return Send(TRANSFER, 1, "", body)

    def look(self) -> LookUp:
        """Return the next step, which has to be a look-up at Stripe."""
        step = self.comes_due().step()
        if isinstance(step, Rest):  # too early after the last call
            step = self.comes_due().step()
        assert isinstance(step, LookUp), step
        return step

    def answer(
        self, send: Send, outcome: ReversalOutcome, seen: TransferAtStripe | None = None
    ) -> "Story":
        if send.what == TRANSFER:
            assert not isinstance(outcome, Pending), "no transfer is pending"
            record_transfer_outcome(self.transfer, send.attempt, outcome, self.now, self.policy)
        else:
            record_reversal_outcome(
                self.transfer, send.what, send.attempt, outcome, seen, self.now, self.policy
            )
        return self

    def call(self, outcome: ReversalOutcome, seen: TransferAtStripe | None = None) -> Send:
        """Make the next call and record its answer."""
        send = self.send()
        self.answer(send, outcome, seen)
        return send

    def find(self, *found: TransferAtStripe) -> "Story":
        """Look up the transfer itself, and find these objects."""
        look = self.look()
        record_transfer_look_up(self.transfer, found, self.now, self.policy, look)
        return self

    def see(self, seen: TransferAtStripe) -> "Story":
        """Look up the running reversal, and see this transfer."""
        look = self.look()
        record_reversal_look_up(self.transfer, seen, self.now, self.policy, look)
        return self

    def see_nothing(self, look: LookUp) -> "Story":
        """Record a look-up, begun earlier, that has found nothing of ours."""
        if look.what == TRANSFER:
            record_transfer_look_up(self.transfer, (), self.now, self.policy, look)
        else:
            record_reversal_look_up(self.transfer, self.books(), self.now, self.policy, look)
        return self

    # Stripe

    def books(self, *reversals: ReversalAtStripe, tr: str = TR) -> TransferAtStripe:
        """Return the transfer as Stripe shows it, with these reversals, newest first."""
        taken = sum(reversal.amount for reversal in reversals if reversal.taken)
        ours = str(self.transfer.id)
        return TransferAtStripe(
            tr, self.transfer.amount, taken, "EUR", self.transfer.destination, ours, reversals
        )

    def ours(self, stripe_id: str = TRR) -> ReversalAtStripe:
        """Return the running reversal as Stripe lists it."""
        return ReversalAtStripe(stripe_id, self.reversal.amount, self.reversal.reversal_id)

    @staticmethod
    def theirs(amount: int, stripe_id: str = "trr_dashboard") -> ReversalAtStripe:
        return ReversalAtStripe(stripe_id, amount, None)

    # then

    def news(self) -> list[Fact]:
        """Return the facts since the last call of this method or of `told`."""
        facts = [fact for fact in self.transfer.pending_events if isinstance(fact, Fact)]
        fresh, self._told = facts[self._told :], len(facts)
        return fresh

    def told(self) -> list[str]:
        """Return the names of the facts since the last call of this method or of `news`."""
        return [type(fact).__name__ for fact in self.news()]

    def last(self, kind: type[F]) -> F:
        """Return the newest of the new facts, which has to be of this kind."""
        fact = self.news()[-1]
        assert isinstance(fact, kind), fact
        return fact

    def two(self, first: type[F], second: type[G]) -> tuple[F, G]:
        """Return the only two new facts, which have to be of these kinds."""
        one, other = self.news()
        assert isinstance(one, first), one
        assert isinstance(other, second), other
        return one, other

    def only(self, kind: type[F]) -> F:
        """Return the only new fact, which has to be of this kind."""
        (fact,) = self.news()
        assert isinstance(fact, kind), fact
        return fact

    @property
    def status(self) -> TransferStatus:
        return self.transfer.status

    @property
    def operation(self) -> Operation:
        assert self.transfer.operation is not None
        return self.transfer.operation

    @property
    def reversal(self) -> Reversal:
        """Return the running reversal."""
        assert self.transfer.in_flight is not None
        return self.transfer.in_flight

    @property
    def waits(self) -> timedelta:
        """Return the time until the next step."""
        assert self.transfer.next_retry_at is not None
        return self.transfer.next_retry_at - self.now


class Answers:
    """Answers of Stripe, by the names that tests use."""

    timeout = Unknown("timeout", "no answer in 30 s")
    outage = Unknown("http_503", "Service Unavailable", 503)
    replayed_outage = Unknown("http_500", "stored", 500, replayed=True)
    idempotency_error = Unknown("idempotency_error", "other parameters", 400)
    rate_limited = NotExecuted(Hindrance.RATE_LIMITED, "Too many requests")
    key_in_use = NotExecuted(Hindrance.KEY_IN_USE, "in progress")
    unauthorized = NotExecuted(Hindrance.UNAUTHORIZED, "Invalid API key")
    forbidden = NotExecuted(Hindrance.FORBIDDEN, "no access")
    not_found = Rejected(404, "resource_missing", "No such transfer: 'tr_1'", stored=False)
    not_found_stored = Rejected(404, "resource_missing", "No such transfer: 'tr_1'", stored=True)
    invalid = Rejected(400, "parameter_invalid_integer", "Invalid integer", stored=False)
    refused = Rejected(400, None, "Something is wrong", stored=True)
    too_little = Rejected(400, "balance_insufficient", "Insufficient funds", stored=True)
    too_little_in_words = Rejected(
        400, None, "does not have sufficient funds", stored=True, says_no_funds=True
    )
    too_little_unstored = Rejected(400, "balance_insufficient", "Insufficient funds", stored=False)
    on_hold = Rejected(
        400, "insufficient_capabilities_for_transfer", "needs capabilities", stored=True
    )
    already = Rejected(400, None, "Transfer tr_1 is already fully reversed.", stored=True)


class Sale:
    """One order and its sellers' transfers; shares are recovered after each change, as the use
    cases do."""

    def __init__(self, amount: int, shares: dict[str, int], paid: bool = True) -> None:
        self.now = START
        self.order = Order.register(
            order_id="order-1",
            currency="EUR",
            amount=amount,
            shares=[
                {"seller_id": s, "destination": f"acct_{s}", "amount": share}
                for s, share in shares.items()
            ],
            now=self.now,
        )
        self.transfers: list[SellerTransfer] = []
        if paid:
            self.is_paid()

    def is_paid(self) -> "Sale":
        self._tick()
        if self.order.pay("pay-1", "ch_1", "api", self.now):
            self.transfers = pay_sellers(self.order, self.now)
        return self

    def is_refunded(
        self,
        refund_id: str,
        amount: int,
        explicit: dict[str, int] | None = None,
        currency: str = "EUR",
    ) -> str | None:
        """Report a succeeded refund. Returns the reason why it was set aside, or None."""
        self._tick()
        why = self.order.allocate_refund(refund_id, amount, currency, explicit, self.now)
        if why is None:
            self.recover_shares(refund_id)
        return why

    def is_revoked(self, refund_id: str) -> "Sale":
        """Report that a succeeded refund has failed."""
        self._tick()
        if self.order.revoke_refund(refund_id, self.now):
            self.recover_shares(refund_id)
        return self

    def recover_shares(self, cause_id: str) -> None:
        self.transfers += recover_shares(self.order, self.transfers, cause_id, self.now)

    def send(self, transfer: SellerTransfer) -> Send:
        step = begin(transfer, self.now, POLICY)
        assert isinstance(step, Send), step
        return step

    def answer(
        self,
        transfer: SellerTransfer,
        send: Send,
        outcome: Outcome,
        seen: TransferAtStripe | None = None,
    ) -> None:
        """Record an outcome; recover the shares of a reversal whose cause vanished meanwhile."""
        if send.what == TRANSFER:
            assert not isinstance(outcome, Pending), "no transfer is pending"
            record_transfer_outcome(transfer, send.attempt, outcome, self.now, POLICY)
        else:
            record_reversal_outcome(
                transfer, send.what, send.attempt, outcome, seen, self.now, POLICY
            )
        reversal = transfer.reversals.get(send.what)
        if reversal is not None and reversal.contested and reversal.refund_id is not None:
            self.recover_shares(reversal.refund_id)

    def goes_through(self, transfer: SellerTransfer, stripe_id: str) -> None:
        """Let the next call succeed."""
        send = self.send(transfer)
        self.answer(transfer, send, Succeeded(stripe_id, send.body["amount"]))

    def all_go_through(self) -> "Sale":
        """Let every due call succeed, until none is due."""
        n = 0
        while due := [t for t in self.transfers if t.operation is not None]:
            for transfer in due:
                n += 1
                prefix = "trr" if transfer.paid else "tr"
                self.goes_through(transfer, f"{prefix}_{transfer.seller_id}_{n}")
        return self

    def of(self, seller_id: str, nth: int = 0) -> SellerTransfer:
        """Return a seller's n-th transfer; the sale is the first."""
        return [transfer for transfer in self.transfers if transfer.seller_id == seller_id][nth]

    def net(self, seller_id: str) -> int:
        """Return the amount that the seller keeps, by the paid transfers."""
        theirs = [transfer for transfer in self.transfers if transfer.seller_id == seller_id]
        return sum(
            transfer.amount - transfer.amount_reversed for transfer in theirs if transfer.paid
        )

    def _tick(self) -> None:
        self.now += SECOND


class FactStorage:
    """The mapper of `eventsourcing` with its JSON transcoder, which every fact passes before it is
    read again."""

    def __init__(self) -> None:
        transcoder = JSONTranscoder()
        for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
            transcoder.register(transcoding)
        self._mapper: Mapper[UUID] = Mapper(transcoder)

    def read_back(self, facts: Iterable[DomainEventProtocol[UUID]]) -> list[Fact]:
        read = [self._mapper.to_domain_event(self._mapper.to_stored_event(fact)) for fact in facts]
        return [fact for fact in read if isinstance(fact, Fact)]

    def replayed(
        self, facts: Iterable[DomainEventProtocol[UUID]], onto: Stream | None = None
    ) -> Stream:
        """Return the aggregate of these facts after they have been stored and read."""
        state: Stream | None = onto
        for fact in self.read_back(facts):
            state = fact.mutate(state)
        assert state is not None
        return state


def imported(status: str, now: datetime, **columns: Unpack[ImportedColumns]) -> Imported:
    """Return the fact of a row of an older system: the story's transfer of 100.00 EUR, unless
    columns say otherwise."""
    row: ImportedColumns = {
        "seller_id": "ada",
        "destination": "acct_ada",
        "amount": 10_000,
        "amount_reversed": 0,
        **columns,
    }
    return Imported(
        originator_id=transfer_stream("order-1", "ada"),
        originator_version=1,
        originator_topic=TOPIC,
        timestamp=now,
        order_id="order-1",
        currency="EUR",
        transfer_group="order-1",
        status=status,
        evidence="row 17 of seller_transfers",
        **row,
    )


StateOf = Callable[[Stream], dict[str, object]]


def state_of(stream: Stream) -> dict[str, object]:
    """Return all fields of an aggregate, without those that belong to one command."""
    of_command = ("_pending_events", "shortened")
    return {name: value for name, value in vars(stream).items() if name not in of_command}
