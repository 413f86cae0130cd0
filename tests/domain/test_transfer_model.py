"""A state machine over one seller transfer: refunds, calls, lost answers, crashes, frozen callers
and operators, against a model of plain values.

The model knows the rules from docs/lifecycle.md and calls nothing of the product. After each step
status, amounts and reversals have to agree, and so has the fold of the facts.
"""

from datetime import timedelta
from typing import TypedDict

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.errors import CallInFlight, NothingToRetry
from domain.fact import Stream
from domain.provider_call.outcome import (
    Hindrance,
    NotExecuted,
    Outcome,
    Rejected,
    Succeeded,
    Unknown,
)
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import reversal_outcome, transfer_outcome
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.stripe_call import begin
from tests.support.domain_story import START, FactStorage, state_of
from tests.support.effort import examples
from tests.support.outcomes import record_reversal_outcome, record_transfer_outcome

RETRIES = 1
CRASHES = 3
"""Vanished callers in a row from which on one counts as a failed attempt."""
POLICY = Policy(max_retries=RETRIES, base=timedelta(seconds=1), maximum=timedelta(seconds=5))
LATER = timedelta(minutes=1)
"""Longer than every wait and every call, and 50 steps are shorter than the life of a key."""
STORAGE = FactStorage()
LIVE = ("queued", "requested", "failed")
FATES = ("ok", "ok", "ok", "refused", "429", "429", "lost before", "lost after")


class Taking(TypedDict):
    """One reversal of the model."""

    refund: str
    amount: int
    state: str


class Call(TypedDict):
    """The operation that the model expects next: the transfer (None), or this reversal."""

    of: Taking | None
    tries: int
    crashes: int
    running: bool
    doubtful: bool
    vanished: bool
    exhausted: bool
    look: bool


def call_of(taking: Taking | None, *, look: bool = False) -> Call:
    return Call(
        of=taking,
        tries=0,
        crashes=0,
        running=False,
        doubtful=False,
        vanished=False,
        exhausted=False,
        look=look,
    )


class Books:
    """Stripe: one account, keys with their bodies and answers."""

    def __init__(self) -> None:
        self.paid: list[int] = []
        self.taken: dict[str, int] = {}
        self.bodies: dict[str, object] = {}
        self.answers: dict[str, Outcome] = {}

    def receive(self, send: Send, fate: str) -> Outcome:
        assert self.bodies.setdefault(send.key, send.body) == send.body, "one key, one body"
        if fate == "429":
            return NotExecuted(Hindrance.RATE_LIMITED, "slow down")
        if fate == "lost before":
            return Unknown("timeout", "no answer")
        if send.key not in self.answers:
            self.answers[send.key] = self._answer(send, refused=fate == "refused")
        return Unknown("timeout", "no answer") if fate == "lost after" else self.answers[send.key]

    def _answer(self, send: Send, *, refused: bool) -> Outcome:
        if refused:
            return Rejected(400, None, "refused", stored=True)
        amount = send.body["amount"]
        if send.what == "transfer":
            self.paid.append(amount)
            return Succeeded("tr_1", amount)
        assert send.what not in self.taken, "one reversal at Stripe for each of ours"
        self.taken[send.what] = amount
        return Succeeded(f"trr_{len(self.taken)}", amount)


class TransferAgainstModel(RuleBasedStateMachine):
    """One transfer and its model; `takings` are in the order in which refunds asked."""

    @initialize(amount=st.sampled_from([1, 2, 100, 100, 1_000]))
    def is_created(self, amount: int) -> None:
        self.now, self.stripe, self.refunds = START, Books(), 0
        self.transfer = SellerTransfer.create(
            order_id="o1",
            seller_id="ada",
            destination="acct_ada",
            amount=amount,
            currency="EUR",
            now=self.now,
        )
        self.replica: Stream | None = None
        self.status, self.original, self.amount, self.reversed = "pending", amount, amount, 0
        self.paid = self.doubted = False
        self.takings: list[Taking] = []
        self.call: Call | None = call_of(None)
        self.sent: Send | None = None
        self.frozen: list[Send] = []

    # --- the model's own words --------------------------------------------------------------------

    @property
    def open(self) -> bool:
        return self.call is not None and (self.call["running"] or self.call["doubtful"])

    @property
    def late(self) -> bool:
        """Whether a caller that vanished may still send under the present key."""
        return self.call is not None and self.call["vanished"]

    @property
    def unsent(self) -> bool:
        return not self.paid and self.status != "cancelled" and not self.open and not self.late

    @property
    def queue(self) -> list[Taking]:
        return [taking for taking in self.takings if taking["state"] == "queued"]

    @property
    def room(self) -> int:
        if self.status == "cancelled":
            return 0
        live = sum(taking["amount"] for taking in self.takings if taking["state"] in LIVE)
        return self.amount - self.reversed - live

    def _reduce(self, amount: int) -> None:
        if amount == self.amount and self.doubted:
            self.status, self.amount = "permanently_failed", 0
        elif amount == self.amount and self.status != "permanently_failed":
            self.status, self.call = "cancelled", None
        else:
            self.amount -= amount

    def _release(self) -> None:
        if self.queue and self.status in ("completed", "partially_reversed"):
            self._request(self.queue[0])

    def _request(self, taking: Taking) -> None:
        taking["state"], self.status = "requested", "reversal_pending"
        self.call = call_of(taking)

    def _forgo_queue(self) -> None:
        if self.late:
            return
        for taking in self.queue:
            taking["state"] = "withdrawn"
            self._reduce(taking["amount"])

    # --- refunds ----------------------------------------------------------------------------------

    @precondition(lambda self: self.room > 0)
    @rule(part=st.sampled_from([1, 1, 10, 30, 50, 1_000]))
    def refund_takes(self, part: int) -> None:
        amount = min(part, self.room)
        self.refunds += 1
        refund = f"r{self.refunds}"
        self.transfer.take_back(refund, amount, self.now)
        if self.unsent:
            self._reduce(amount)
            return
        taking = Taking(refund=refund, amount=amount, state="queued")
        self.takings.append(taking)
        if self.status in ("completed", "partially_reversed"):
            self._request(taking)

    @precondition(lambda self: any(taking["state"] in LIVE for taking in self.takings))
    @rule(pick=st.integers(0, 10), part=st.sampled_from([1, 5, 10, 1_000]))
    def refund_fails(self, pick: int, part: int) -> None:
        live = [n for n, taking in enumerate(self.takings) if taking["state"] in LIVE]
        number = live[pick % len(live)]
        taking = self.takings[number]
        reversal = list(self.transfer.reversals.values())[number]
        withdrawn = self.transfer.withdraw(reversal, part, taking["refund"], self.now)
        if taking["state"] == "requested" and (self.open or self.late):
            assert withdrawn == 0, "the outcome of an open call is awaited"
            return
        assert withdrawn == min(part, taking["amount"])
        if part < taking["amount"]:
            taking["amount"] -= part
            return
        if taking["state"] == "requested":
            self.status, self.call = "partially_reversed", None
        taking["state"] = "withdrawn"
        self._release()

    # --- calls ------------------------------------------------------------------------------------

    @precondition(lambda self: self._due() and self.sent is None)
    @rule()
    def call_begins(self) -> None:
        assert self.call is not None
        self.now += LATER
        step = begin(self.transfer, self.now, POLICY)
        if self.call["running"] and self.call["crashes"] + 1 >= CRASHES:
            assert isinstance(step, Rest)
            self.call["crashes"] += 1
            self._unknown(self.call)
        elif self.call["exhausted"] or self.call["look"]:
            assert isinstance(step, LookUp), step
            self._looks(step)
        else:
            assert isinstance(step, Send), step
            taking = self.call["of"]
            assert step.body["amount"] == (taking["amount"] if taking else self.amount)
            self.call["crashes"] += self.call["running"]
            self.call["vanished"] |= self.call["running"]
            self.call["doubtful"], self.call["running"] = self.open, True
            self.sent = step

    def _due(self) -> bool:
        return self.call is not None and self.status in ("pending", "failed", "reversal_pending")

    @precondition(lambda self: self.sent is not None)
    @rule(fate=st.sampled_from(FATES))
    def call_ends(self, fate: str) -> None:
        assert self.sent is not None
        assert self.call is not None
        sent, self.sent = self.sent, None
        outcome = self.stripe.receive(sent, fate)
        if sent.what == "transfer":
            record_transfer_outcome(self.transfer, sent.attempt, outcome, self.now, POLICY)
        else:
            seen = self._seen()
            record_reversal_outcome(
                self.transfer, sent.what, sent.attempt, outcome, seen, self.now, POLICY
            )
        self.call["running"], self.call["crashes"] = False, 0
        match outcome:
            case Succeeded():
                self._succeeded(self.call)
            case Rejected():
                self._refused(self.call)
            case Unknown():
                self._unknown(self.call)

    @precondition(lambda self: self.sent is not None)
    @rule(reached=st.booleans())
    def caller_crashes(self, reached: bool) -> None:
        assert self.sent is not None
        self.stripe.receive(self.sent, "lost after" if reached else "lost before")
        self.sent = None

    @precondition(lambda self: self.sent is not None and self.sent.what == "transfer")
    @rule()
    def caller_freezes(self) -> None:
        """It goes on later, right before its request leaves."""
        assert self.sent is not None
        self.frozen.append(self.sent)
        self.sent = None

    @precondition(lambda self: self.frozen)
    @rule(fate=st.sampled_from(["lost after", "refused"]))
    def frozen_call_leaves(self, fate: str) -> None:
        self.stripe.receive(self.frozen.pop(0), fate)

    def _succeeded(self, call: Call) -> None:
        self.call = None
        if call["of"] is None:
            self.status, self.paid = "completed", True
        else:
            call["of"]["state"] = "reversed"
            self.reversed += call["of"]["amount"]
            self.status = "reversed" if self.reversed == self.amount else "partially_reversed"
        self._release()

    def _unknown(self, call: Call) -> None:
        call["running"], call["doubtful"] = False, True
        if call["tries"] == RETRIES:
            call["exhausted"] = True
        else:
            call["tries"] += 1

    def _refused(self, call: Call) -> None:
        call["doubtful"] = call["vanished"] = False  # the next key is another one
        if call["tries"] == RETRIES:
            self._given_up(call)
            return
        call["tries"] += 1
        if call["of"] is None:
            self.status = "failed"
            self._forgo_queue()

    def _given_up(self, call: Call) -> None:
        call["doubtful"] = call["exhausted"] = False
        if call["of"] is None:
            self.status = "failed"
            self._forgo_queue()
            if self.status == "failed":
                self.status = "permanently_failed"
            return
        call["of"]["state"], self.status = "failed", "permanently_failed"

    def _looks(self, look: LookUp) -> None:
        assert self.call is not None
        doubtful = self.open
        self.call["running"] = False
        if self.call["of"] is None:
            found = [self._seen()] if self.stripe.paid else []
            transfer_outcome.record_look_up(self.transfer, found, self.now, POLICY, look)
        else:
            reversal_outcome.record_look_up(self.transfer, self._seen(), self.now, POLICY, look)
            found = [self._seen()] if look.what in self.stripe.taken else []
        self.doubted |= doubtful and not found and self.call["of"] is None
        if found:
            self._succeeded(self.call)
        elif self.call["exhausted"]:
            self._given_up(self.call)
        else:
            self.call["look"] = self.call["doubtful"] = False
            if self.call["of"] is None:
                self._forgo_queue()

    def _seen(self) -> TransferAtStripe:
        """Return the transfer as Stripe shows it."""
        made = [
            ReversalAtStripe(f"trr_{n}", amount, reversal_id)
            for n, (reversal_id, amount) in enumerate(self.stripe.taken.items(), 1)
        ]
        amount, taken = self.stripe.paid[0], sum(self.stripe.taken.values())
        ours = str(self.transfer.id)
        return TransferAtStripe("tr_1", amount, taken, "EUR", "acct_ada", ours, tuple(made[::-1]))

    # --- operators --------------------------------------------------------------------------------

    @rule(chance=st.integers(1, 6))
    def operator_retries(self, chance: int) -> None:
        if chance > 1 and self.status != "permanently_failed":
            return
        try:
            self.transfer.retry("olga", "looks right again", self.now)
        except CallInFlight:
            assert self.call is not None
            assert self.call["running"]
            return
        except NothingToRetry:
            assert not self._can_retry()
            return
        assert self._can_retry()
        before = self.call
        if self.status == "permanently_failed" and not self.paid:
            self.status, self.call = "failed", call_of(None, look=True)
        elif self.status == "permanently_failed":
            owed = self._owed()
            assert owed is not None
            self._request(owed)
            self.call = call_of(owed, look=True)
        if before is not None and self.call is not None and before["of"] is self.call["of"]:
            self.call["vanished"] = before["vanished"]

    def _can_retry(self) -> bool:
        if self.status != "permanently_failed":
            return self.call is not None
        return self._owed() is not None if self.paid else self.amount > 0

    def _owed(self) -> Taking | None:
        live = [taking for taking in self.takings if taking["state"] in LIVE]
        return next((one for one in live if one["state"] == "failed"), live[0] if live else None)

    # --- what holds after each step ---------------------------------------------------------------

    @invariant()
    def product_agrees_with_the_model(self) -> None:
        transfer = self.transfer
        assert transfer.status == self.status
        assert (transfer.amount, transfer.amount_reversed) == (self.amount, self.reversed)
        assert (transfer.paid, transfer.room, transfer.unsent) == (
            self.paid,
            self.room,
            self.unsent,
        )
        reversals = [
            Taking(refund=one.refund_id or "", amount=one.amount, state=one.state.value)
            for one in transfer.reversals.values()
        ]
        assert reversals == self.takings
        kept = [taking for taking in self.takings if taking["state"] != "withdrawn"]
        reduced = self.original - (0 if self.status == "cancelled" else self.amount)
        assert transfer.taken == reduced + sum(taking["amount"] for taking in kept)
        assert (transfer.next_retry_at is not None) == self._due()

    @invariant()
    def stripe_holds_at_most_the_share(self) -> None:
        assert len(self.stripe.paid) <= 1
        assert sum(self.stripe.taken.values()) <= sum(self.stripe.paid) <= self.original
        if not self.open and not self.late:
            assert sum(self.stripe.taken.values()) == self.reversed
            assert bool(self.stripe.paid) == self.paid

    @invariant()
    def facts_fold_to_the_same_state(self) -> None:
        facts = self.transfer.collect_events()
        self.replica = STORAGE.replayed(facts, onto=self.replica)
        assert state_of(self.replica) == state_of(self.transfer)

    def teardown(self) -> None:
        """Let all that is due succeed: then nothing waits, except for a person."""
        if not hasattr(self, "transfer"):
            return
        for _ in range(100):
            if self.sent is not None:
                self.call_ends("ok")
            elif self._due():
                self.call_begins()
            else:
                break
        while self.frozen:
            self.frozen_call_leaves("lost after")
        self.product_agrees_with_the_model()
        self.stripe_holds_at_most_the_share()
        assert not self.open
        if self.status != "permanently_failed":
            assert not any(taking["state"] in LIVE for taking in self.takings)


def test_transfer_in_any_history_agrees_with_the_model() -> None:
    run_state_machine_as_test(TransferAgainstModel, settings=examples(150, steps=50))
