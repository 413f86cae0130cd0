"""A state machine over one refund: calls to the PSP, late arrivals, lost answers, crashes,
questions and corrections, against a model of plain values and the PSP's books.

The model calls nothing of the product. A refund may fail here by itself only if the PSP can never
have it; that is checked against the books, in which a call may still arrive after its answer has
been given up.
"""

from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.fact import Stream
from domain.provider_call.outcome import Failure, Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send
from domain.refund import psp_outcome
from domain.refund.aggregate import Refund
from domain.refund.state import RefundStatus
from tests.support.domain_story import START, FactStorage, state_of
from tests.support.effort import examples

RETRIES, CRASHES = 1, 3
TIMEOUT, LATE = timedelta(seconds=30), timedelta(seconds=29)
"""A call may arrive until its time-out."""
LATER = timedelta(minutes=1)
POLICY = Policy(
    max_retries=RETRIES,
    base=timedelta(seconds=1),
    maximum=timedelta(seconds=5),
    call_timeout=TIMEOUT,
    key_lifetime=psp_outcome.FOR_EVER,
)
STORAGE = FactStorage()
LOST = ("lost before", "lost after", "late")
"""Fates of a call whose answer does not arrive."""
FATES = (
    "ok",
    "refused",
    "not yet",
    "429",
    "busy",
    "not made",
    *LOST,
    *(f"crash, {x}" for x in LOST),
)
REPORTS = {
    "requested": "succeeded failed review",
    "submitted": "succeeded failed review",
    "review": "succeeded failed",
    "succeeded": "failed",
    "failed": "succeeded",
}
"""Statuses of the PSP that are news here."""
DECISIONS = {**REPORTS, "pending": REPORTS["submitted"]}


class Psp:
    """The PSP's books about one refund: it knows a refund by its name, and never forgets one."""

    def __init__(self) -> None:
        self.status: str | None = None
        self.body: object = None
        self.said_failed = False
        self.on_their_way: list[datetime] = []

    def receive(self, send: Send, fate: str, at: datetime) -> Failure | None:
        """Answer a call; None: with the refund."""
        assert self.body in (None, send.body), "one name, one body"
        self.body = send.body
        match fate:
            case "ok" | "lost after":
                self.status = self.status or "pending"
                return Unknown("timeout", "no answer") if fate == "lost after" else None
            case "late":
                self.on_their_way.append(at + LATE)
                return Unknown("timeout", "no answer")
            case "lost before":
                return Unknown("timeout", "no answer")
            case "429":
                return NotExecuted(Hindrance.RATE_LIMITED, "slow down")
            case "busy":
                return NotExecuted(Hindrance.LOCK_TIMEOUT, "locked")
        if self.status is not None:
            return None  # the client looks a refused refund up
        return Rejected(400, "IR_14" if fate == "not yet" else "IR_13", "no", stored=False)

    def clock(self, now: datetime) -> None:
        if any(at <= now for at in self.on_their_way):
            self.on_their_way = [at for at in self.on_their_way if at > now]
            self.status = self.status or "pending"

    def decide(self, status: str) -> None:
        self.status, self.said_failed = status, self.said_failed or status == "failed"


class RefundAgainstModel(RuleBasedStateMachine):
    """One requested refund of 40 and its model."""

    @initialize()
    def is_requested(self) -> None:
        self.now, self.psp = START, Psp()
        self.refund = Refund.open(
            refund_id="r1",
            order_id="o1",
            amount=40,
            currency="EUR",
            origin="api",
            payment_id="pay_1",
            now=self.now,
        )
        self.replica: Stream | None = None
        self.status, self.tries, self.crashes, self.calls = "requested", 0, 0, 0
        self.running = self.doubtful = self.exhausted = self.look = False
        self.began: datetime | None = None
        self.sent: Send | None = None

    # --- calls ------------------------------------------------------------------------------------

    @precondition(lambda self: self._due())
    @rule(
        wait=st.booleans(),
        answered=st.booleans(),
        fate=st.sampled_from(FATES),
        meanwhile=st.sampled_from([None, None, None, 0, 1, 2]),
        takes=st.sampled_from([0, 1, 20]),
    )
    def worker_takes_it(
        self, wait: bool, answered: bool, fate: str, meanwhile: int | None, takes: int
    ) -> None:
        """Do the next step, at the first instant (`wait` False) or later; the PSP may decide
        `meanwhile`, and its webhook come first."""
        self._begins(wait, answered)
        if self.sent is None:
            return
        sent, self.sent = self.sent, None
        if fate == "not made":
            psp_outcome.give_back(self.refund, sent.attempt, "no lease", self.now)
            self.running, self.crashes = False, 0
            return
        failure = self.psp.receive(sent, fate.removeprefix("crash, "), self.now)
        self.now += timedelta(seconds=takes)
        if meanwhile is not None and self.psp.status is not None:
            self.psp_decides(meanwhile)
            self.psp_reports()
        if not fate.startswith("crash"):
            self._ends(sent, failure, busy=fate == "busy")

    def _begins(self, wait: bool, answered: bool) -> None:
        assert self.refund.next_retry_at is not None
        if self.refund.next_retry_at > self.now:
            early = psp_outcome.begin(self.refund, self.now, POLICY)
            assert isinstance(early, Rest)
        self.now = self.now + LATER if wait else max(self.now, self.refund.next_retry_at)
        self.psp.clock(self.now)
        step = psp_outcome.begin(self.refund, self.now, POLICY)
        if self.status == "submitted":
            assert isinstance(step, LookUp)
            self._asks(answered)
        elif self.running and self.crashes + 1 >= CRASHES:
            assert isinstance(step, Rest)
            self.crashes += 1
            self._unknown()
        elif not (self.exhausted or self.look):
            assert isinstance(step, Send)
            self._sends(step)
        elif self.began is not None and self.now < self.began + TIMEOUT:
            assert isinstance(step, Rest), "the call may still arrive"
        else:
            assert isinstance(step, LookUp)
            self._looks(answered)

    def _due(self) -> bool:
        return self.status in ("requested", "submitted")

    def _sends(self, step: Send) -> None:
        self.calls += 1
        assert (step.key, step.attempt) == ("r1", self.calls)
        assert step.body["amount"] == 40
        self.crashes = self.crashes + 1 if self.running else self.crashes
        self.doubtful, self.running = self.doubtful or self.running, True
        self.began, self.sent = self.now, step

    def _ends(self, sent: Send, failure: Failure | None, *, busy: bool) -> None:
        if failure is None:
            self._shown()
            return
        why = psp_outcome.record_failure(self.refund, sent.attempt, failure, self.now, POLICY)
        if not self.running:
            assert why is None, "a webhook was faster"
            return
        self._call_failed(failure, busy=busy)
        assert (why is None) == (self.status == "requested")
        if why is not None:
            self.refund.fail("answer", why, self.now)

    def _call_failed(self, failure: Failure, *, busy: bool) -> None:
        if isinstance(failure, Unknown):
            self.crashes = 0
            self._unknown()
            return
        self.running, self.crashes = False, 0
        if isinstance(failure, NotExecuted):
            self.doubtful = self.doubtful or (busy and self.calls > 1)
        elif self.doubtful:
            self.look = True
        elif failure.code == "IR_14" and self.tries < RETRIES:
            self.tries += 1
        else:
            self.status = "failed"

    def _unknown(self) -> None:
        self.running, self.doubtful = False, True
        if self.tries == RETRIES:
            self.exhausted = True
        else:
            self.tries += 1

    @precondition(lambda self: not self._due())
    @rule()
    def time_passes(self) -> None:
        self.now += LATER
        self.psp.clock(self.now)

    # --- the PSP's records ------------------------------------------------------------------------

    def _shown(self) -> None:
        """Record the refund as the PSP shows it, as the process manager does."""
        if self.status == "requested":
            ask_at = psp_outcome.ask_first_at(self.refund, self.now, POLICY)
            self.refund.submit("r1", ask_at, self.now)
            self.status, self.tries = "submitted", 0
            self._at_rest()
        self.psp_reports()

    def _asks(self, answered: bool) -> None:
        if answered and self.psp.status != "pending":
            self.psp_reports()
        elif answered:
            psp_outcome.ask_again(self.refund, DeferralReason.PENDING, "pending", self.now, POLICY)
            self.tries += 1
        else:
            self._put_off()

    def _looks(self, answered: bool) -> None:
        if not answered:
            self._put_off()
        elif self.psp.status is not None:
            self._shown()
        else:
            why = psp_outcome.record_absence(self.refund, "no such refund", self.now)
            assert (why is not None) == self.exhausted
            if why is not None:
                self.refund.fail("asked", why, self.now)
                self.status = "failed"
            self._at_rest()

    def _put_off(self) -> None:
        until = self.now + POLICY.base
        why = DeferralReason.LOOK_UP_FAILED
        psp_outcome.put_off(self.refund, why, "no answer", until, self.now, POLICY)

    def _at_rest(self) -> None:
        self.running = self.doubtful = self.exhausted = self.look = False
        self.crashes = 0

    @precondition(lambda self: self.psp.status is not None)
    @rule(pick=st.integers(0, 2))
    def psp_decides(self, pick: int) -> None:
        assert self.psp.status is not None
        ways = DECISIONS[self.psp.status].split()
        self.psp.decide(ways[pick % len(ways)])

    @precondition(lambda self: self.psp.status is not None)
    @rule()
    def psp_reports(self) -> None:
        """Report the present status; a webhook may come before the answer to the call."""
        told = self.psp.status
        assert told is not None
        if told == "pending":
            return
        news = told in REPORTS[self.status].split()
        assert self.refund.may_become(RefundStatus(told)) == news
        if not news:
            return
        match told:
            case "succeeded":
                self.refund.succeed("psp", [], self.now)
            case "failed":
                self.refund.fail("psp", "by the bank", self.now)
            case _:
                self.refund.review("psp", "a person decides", self.now)
        self.status = told
        self._at_rest()

    # --- what holds after each step ---------------------------------------------------------------

    @invariant()
    def product_agrees_with_the_model(self) -> None:
        refund, operation = self.refund, self.refund.operation
        assert refund.status == self.status
        assert (operation is not None) == (refund.next_retry_at is not None) == self._due()
        if operation is None:
            return
        assert (operation.in_call, operation.unknown) == (self.running, self.doubtful)
        assert (operation.exhausted, operation.look_first) == (self.exhausted, self.look)
        assert (operation.attempt, operation.retry_count) == (self.calls, self.tries)

    @invariant()
    def refund_that_the_psp_may_have_has_not_failed_here(self) -> None:
        if self.status == "failed" and not self.psp.said_failed:
            assert self.psp.status is None
            assert not self.psp.on_their_way

    @invariant()
    def facts_fold_to_the_same_state(self) -> None:
        self.replica = STORAGE.replayed(self.refund.collect_events(), onto=self.replica)
        assert state_of(self.replica) == state_of(self.refund)

    def teardown(self) -> None:
        """Let the PSP answer and decide: then ledger and PSP agree."""
        if not hasattr(self, "refund"):
            return
        for _ in range(20):
            if self._due():
                self.worker_takes_it(True, True, "ok", None, 0)
            if self.psp.status in ("pending", "review"):
                self.psp.decide("succeeded")
        if self.psp.status is not None:
            self.psp_reports()
        self.product_agrees_with_the_model()
        assert self.status == (self.psp.status or "failed")


def test_refund_in_any_history_agrees_with_the_model() -> None:
    run_state_machine_as_test(RefundAgainstModel, settings=examples(150, steps=30))
