"""The oracle of the fault simulation: each invariant is broken once by hand-made books."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from infrastructure.simulation.faults import invariants
from infrastructure.simulation.faults.books import (
    Acknowledged,
    HeldDispute,
    HeldReversal,
    HeldTransfer,
)
from infrastructure.simulation.faults.invariants.arithmetic import Claim, remaining
from infrastructure.simulation.faults.invariants.broken import invariant_of
from infrastructure.simulation.faults.invariants.oracle import InvariantOracle
from tests.support.hand_made_books import (
    NOW,
    HandMadeBooks,
    acknowledge,
    judged,
    reverse,
    settled_books,
    without_facts,
)

Change = Callable[[HandMadeBooks], object]
ANNA, BEN = "transfer of anna", "transfer of ben"


@pytest.mark.parametrize("refund", [1, 333, 500, 1_000])
def test_oracle_with_equal_books_finds_nothing(refund: int) -> None:
    assert list(InvariantOracle().at_end(settled_books(refund))) == []


def _second_transfer(books: HandMadeBooks) -> None:
    again = books.transfer("ben")._replace(id="tr_again", amount_reversed=300, reversals=[
        HeldReversal("trr_all", "tr_again", 300, None, 0, {})])  # fmt: skip
    books.transfers.append(again)


def _second_reversal(books: HandMadeBooks) -> None:
    held = books.transfer("ben")
    again = held.reversals[0]._replace(id="trr_again")
    books.change("ben", reversals=[*held.reversals, again], amount_reversed=300)


def _another_destination(books: HandMadeBooks) -> None:
    books.change("ben", destination="acct_zoe")


def _unpaid(books: HandMadeBooks) -> None:
    books.payments[0] = books.payments[0]._replace(amount_received=999)


def _refund_never_succeeded(books: HandMadeBooks) -> None:
    books.refunds[0] = books.refunds[0]._replace(status="pending")


def _too_much(books: HandMadeBooks) -> None:
    """Stripe holds 301 of a share of 300."""
    books.change("ben", amount=451)


def _more_than_the_refund(books: HandMadeBooks) -> None:
    books.refunds[0] = books.refunds[0]._replace(amount=400)


def _status_from_nowhere(books: HandMadeBooks) -> None:
    books.add(ANNA, "seller_transfer.failed", reason="rejected")


def _reopened_by_no_one(books: HandMadeBooks) -> None:
    books.add(ANNA, "seller_transfer.reversal_requested", reversal_id="r", refund_id="re_1",
              amount=1, reason="refund")  # fmt: skip
    books.add(ANNA, "seller_transfer.permanently_failed", reason="not_found")
    books.add(ANNA, "seller_transfer.reopened", to="reversal_pending", actor="", reason="")


def _cancelled_though_sent(books: HandMadeBooks) -> None:
    books.add("new", "seller_transfer.created", order_id="o1", seller_id="anna", cause="more",
              destination="acct_anna", amount=5, currency="EUR")  # fmt: skip
    named = {"transfer_id": "new", "order_id": "o1", "seller_id": "anna", "compensates": ANNA}
    books.transfers.append(HeldTransfer("tr_new", 5, 0, "eur", "acct_anna", None, 0, named, []))
    books.add("new", "seller_transfer.cancelled", refund_id="re_1", by=5)


def _another_amount_reversed(books: HandMadeBooks) -> None:
    held = books.transfer("ben")
    books.change("ben", reversals=[held.reversals[0]._replace(amount=149)], amount_reversed=149)


def _position_left_out(books: HandMadeBooks) -> None:
    books.stored[-1] = books.stored[-1]._replace(position=99)


def _version_left_out(books: HandMadeBooks) -> None:
    books.stored[-1] = books.stored[-1]._replace(version=99)


def _lost_dispute_without_effect(books: HandMadeBooks) -> None:
    books.disputes.append(HeldDispute("dp_1", "pay_1", 1_000, "EUR", "lost"))


def _dispute_counted_that_is_open(books: HandMadeBooks) -> None:
    books.disputes.append(HeldDispute("dp_1", "pay_1", 1_000, "EUR", "opened"))
    books.add("order o1", "order.dispute_counted", dispute_id="dp_1", amount=1_000)


def _refund_without_a_fact(books: HandMadeBooks) -> None:
    books.refunds[0] = books.refunds[0]._replace(id="re_2")


def _closed(event_type: str, **names: str) -> Change:
    """Let a webhook be closed as done, of which no fact tells."""

    def change(books: HandMadeBooks) -> None:
        acknowledge(books, "evt_9", "done")
        body = {"content": {"object": {"payment_id": "pay_1", **names}}}
        books.acknowledged[-1] = books.acknowledged[-1]._replace(details={"body": body})
        books.row("webhook_inbox", "evt_9")["event_type"] = event_type

    return change


def _alarm(kind: str, subject: str) -> Change:
    return lambda books: books.rows("alarms").append(
        {"kind": kind, "subject": subject, "detail": "why", "cleared_at": None}
    )


def _row(**columns: object) -> Change:
    return lambda books: books.row("seller_transfers", BEN).update(columns)


def _asked(key: str, amount: int) -> Change:
    return lambda books: books.request(key, amount)


def _refused_key(books: HandMadeBooks) -> None:
    """The reversal of anna's transfer is asked for under a key that is refused."""
    books.requests[2] = refused = books.requests[2]._replace(status=400)
    books.add(ANNA, "seller_transfer.attempt_deferred", why="awaiting_funds")
    books.add(ANNA, "seller_transfer.call_started", key=refused.key, body={"amount": 1})


def _second_key(books: HandMadeBooks) -> None:
    key = f"transfer:{BEN}:e2"
    books.add(BEN, "seller_transfer.call_started", key=key, body={"amount": 300})
    books.request(key, 300, name=BEN)


def _waiting(status: str, waits: str | None, due: float | None) -> Change:
    """Let a transfer of 5 wait; it is a compensation that is still to be paid."""

    def change(books: HandMadeBooks) -> None:
        books.add("new", "seller_transfer.created", order_id="o1", seller_id="ben", cause="more",
                  destination="acct_ben", amount=5, currency="EUR")  # fmt: skip
        if status == "failed":
            books.add("new", "seller_transfer.failed", reason="awaiting_funds")
        row = {**books.row("seller_transfers", BEN), "transfer_id": "new", "amount": 5}
        row |= {"status": status, "waiting_for": waits, "next_retry_at": due}
        row |= {"stripe_transfer_id": None, "amount_reversed": 0}
        books.rows("seller_transfers").append(row)

    return change


def _without_a_key(books: HandMadeBooks) -> None:
    books.requests[0] = books.requests[0]._replace(key=None)


def _more_reversed_than_asked(books: HandMadeBooks) -> None:
    """A reversal of 151 is recorded, and a total of 152."""
    reverse(books, "ben", 151, "re_2")
    last = books.stored[-1]
    books.stored[-1] = last._replace(fact={**last.fact, "amount_reversed": 302})


def _reduced_below_nothing(books: HandMadeBooks) -> None:
    books.add(ANNA, "seller_transfer.amount_reduced", refund_id="re_1", by=601, amount=-1)


def _promise(kind: str, subject: str) -> Change:
    return lambda books: books.acknowledged.append(Acknowledged(9, 0, kind, subject, {}, False))


DIFFERENCES: list[tuple[Change, str]] = [
    (_second_transfer, "one_transfer_per_cause"),
    (_second_reversal, "one_reversal_per_cause"),
    (_asked(f"transfer:{BEN}:e1", 299), "one_body_per_key"),
    (_asked("transfer:never recorded:e1", 299), "intent_precedes_call"),
    (_second_key, "no_new_key_after_success"),
    (_refused_key, "no_key_after_a_refusal"),
    (_another_amount_reversed, "outcomes_have_evidence"),
    (lambda books: books.change("ben", amount_reversed=151), "reversed_never_exceeds_sent"),
    (_another_destination, "only_sellers_are_paid"),
    (_unpaid, "nothing_is_sent_before_the_payment"),
    (_unpaid, "reports_are_true"),
    (_refund_never_succeeded, "no_reversal_without_cause"),
    (_refund_never_succeeded, "reports_are_true"),
    (_dispute_counted_that_is_open, "reports_are_true"),
    (_too_much, "no_seller_gets_more_than_the_share"),
    (_more_than_the_refund, "no_more_is_taken_than_the_causes"),
    (_more_than_the_refund, "each_seller_has_exactly_the_due_amount"),
    (_lost_dispute_without_effect, "each_seller_has_exactly_the_due_amount"),
    (_refund_without_a_fact, "each_refund_is_known"),
    (_status_from_nowhere, "statuses_follow_the_life_cycle"),
    (_reopened_by_no_one, "statuses_follow_the_life_cycle"),
    (_cancelled_though_sent, "unknown_is_not_failed"),
    (_position_left_out, "positions_have_no_gaps"),
    (_version_left_out, "versions_have_no_gaps"),
    (_row(amount_reversed=149), "rows_equal_facts"),
    (_row(next_retry_at=NOW, status="reversed"), "rows_keep_their_constraints"),
    (_row(status="reversal_pending"), "rows_keep_their_constraints"),
    (_row(amount_reversed=301), "rows_keep_their_constraints"),
    (_row(status="lost"), "rows_keep_their_constraints"),
    (_row(waiting_for="funds"), "rows_keep_their_constraints"),
    (_waiting("pending", None, None), "rows_keep_their_constraints"),
    (_waiting("pending", None, NOW + 60), "everything_ends"),
    (_waiting("failed", None, NOW - 7_200), "due_work_is_done"),
    (_waiting("failed", "payment", None), "waits_are_true"),
    (lambda books: books.row("orders", "o1").update(status="open"), "rows_equal_facts"),
    (_promise("webhook", "stripe:evt_9"), "no_acknowledged_webhook_is_lost"),
    (_promise("register", "o9"), "no_acknowledged_call_is_lost"),
    (_promise("refund", "re_9"), "no_acknowledged_call_is_lost"),
    (lambda books: acknowledge(books, "evt_9", "stored"), "every_webhook_ends"),
    (_closed("refund_succeeded", refund_id="re_9"), "webhooks_close_with_their_effect"),
    (_closed("refund_failed", refund_id="re_9"), "webhooks_close_with_their_effect"),
    (_closed("dispute_lost", dispute_id="dp_9"), "webhooks_close_with_their_effect"),
    (_alarm("permanently_failed", BEN), "no_alarm_without_cause"),
    (_alarm("stripe_outage", "stripe"), "no_alarm_without_cause"),
    (_alarm("refund_failed_after_success", "refund re_1"), "no_alarm_without_cause"),
    (_alarm("webhook_dead", "hyperswitch:evt_1"), "no_alarm_without_cause"),
    (_without_a_key, "every_call_has_a_key"),
    (_more_reversed_than_asked, "reversals_add_up"),
    (_more_reversed_than_asked, "reversals_never_exceed_the_transfer"),
    (_reduced_below_nothing, "reductions_never_exceed_the_share"),
]  # fmt: skip
"""A change of equal books, and an invariant that it breaks."""
TESTED_BELOW = {"facts_never_change"}


@pytest.mark.parametrize(("change", "invariant"), DIFFERENCES)
def test_oracle_with_one_difference_names_its_invariant(change: Change, invariant: str) -> None:
    books = settled_books()
    change(books)
    assert invariant in judged(books)


def test_every_invariant_is_broken_here_once() -> None:
    """The names are the first arguments of `broken` in the modules of the oracle."""
    names = set[str]()
    for module in Path(invariants.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Call(func=ast.Name("broken"), args=[ast.Constant(str(name)), *_]):
                    names.add(name)
    assert len(names) > 30
    assert names == {invariant for _, invariant in DIFFERENCES} | TESTED_BELOW


def test_recorded_reversal_without_one_at_stripe_is_found() -> None:
    """An outcome that is recorded before its call has no evidence."""
    books = settled_books()
    books.change("ben", reversals=[], amount_reversed=0)
    assert "outcomes_have_evidence" in judged(books)


@pytest.mark.parametrize(
    ("reason", "found"), [("rejected", {"no_key_after_a_refusal"}), ("exhausted", set())]
)
def test_key_after_a_refusal_is_allowed_if_no_answer_came(reason: str, found: set[str]) -> None:
    """Each answer was lost, and the look-up showed nothing: the ledger has heard no refusal."""
    books = settled_books()
    books.request(f"transfer:{BEN}:e1", 300, name=BEN)
    books.requests[-1] = books.requests[-1]._replace(status=400)
    books.add(BEN, "seller_transfer.call_started", key=f"transfer:{BEN}:e1", body={"amount": 300})
    books.add(BEN, "seller_transfer.failed", reason=reason)
    books.add(BEN, "seller_transfer.call_started", key=f"transfer:{BEN}:e1", body={"amount": 300})
    assert judged(books) & {"no_key_after_a_refusal"} == found


def test_call_before_its_intent_is_found_at_the_step() -> None:
    """The intent is stored by the end; at the step of the request it was not."""
    books = settled_books()
    oracle = InvariantOracle()
    assert list(oracle.after_step(books)) == []
    books.request("transfer:late:e1", 5)
    found = list(oracle.after_step(books))
    books.add(BEN, "seller_transfer.call_started", key="transfer:late:e1", body={"amount": 5})
    assert [invariant_of(one) for one in found] == ["intent_precedes_call"]


@pytest.mark.parametrize(
    ("status", "found"), [("failed", set()), ("pending", {"no_new_key_after_success"})]
)
def test_second_key_of_a_reversal_is_allowed_once_it_has_failed(
    status: str, found: set[str]
) -> None:
    """A reversal can be pending at Stripe first, and fail days later."""
    books = settled_books()
    name = "reversal of ben for re_1"
    (made,) = books.transfer("ben").reversals
    books.change("ben", reversals=[made, made._replace(id="trr_first", status=status)])
    key = f"reversal:{name}:e2"
    books.add(BEN, "seller_transfer.call_started", key=key, body={"amount": 150})
    books.request(key, 150, "/v1/transfers/tr_ben/reversals", name)
    assert judged(books) - {"one_reversal_per_cause"} == found


def test_fact_that_vanishes_or_changes_is_found() -> None:
    books = settled_books()
    oracle = InvariantOracle()
    oracle.after_step(books)
    books.stored[3] = books.stored[3]._replace(fact={"amount": 1})
    assert "facts_never_change" in {invariant_of(one) for one in oracle.at_end(books)}
    assert "facts_never_change" in _after_losing_facts(oracle)


def _after_losing_facts(oracle: InvariantOracle) -> set[str]:
    return {
        invariant_of(one) for one in oracle.at_end(without_facts(settled_books(), "order.paid"))
    }


def test_facts_that_a_restore_takes_away_are_no_violation() -> None:
    books = settled_books()
    oracle = InvariantOracle()
    oracle.after_step(books)
    books.stored[-2:], books.era = [], 1
    books.row("seller_transfers", BEN).update(status="reversal_pending", next_retry_at=NOW)
    books.row("seller_transfers", BEN).update(amount_reversed=0)
    assert list(oracle.after_step(books)) == []


@pytest.mark.parametrize(("era", "amount", "found"), [(1, 1, False), (0, 1, True), (1, 2, True)])
def test_refund_reported_again_after_a_restore_may_take_a_unit_more(
    era: int, amount: int, *, found: bool
) -> None:
    """`simulate-faults --seed 3581`: ben's part of 333 is 99.9, of which 99 were taken; after
    the restore another refund is before it, and its part is 100."""
    books = settled_books(333)
    books.era, held = era, books.transfer("ben")
    named = {**held.reversals[0].metadata, "reversal_id": "round 2"}
    rest = held.reversals[0]._replace(id="trr_rest", amount=amount, metadata=named)
    books.change("ben", reversals=[*held.reversals, rest], amount_reversed=99 + amount)
    assert ("one_reversal_per_cause" in judged(books)) is found


def test_true_waits_and_true_alarms_are_no_violation() -> None:
    """The platform has 4, and a transfer of 5 waits for funds."""
    books = settled_books()
    _waiting("failed", "funds", NOW + 60)(books)
    books.available = {"platform": {"eur": 4}}
    _alarm("awaiting_funds", "new")(books)
    assert judged(books) == set()
    books.available = {"platform": {"eur": 5}}
    assert judged(books) == {"waits_are_true"}


def test_refund_that_failed_after_its_success_demands_the_money_back() -> None:
    books = settled_books()
    oracle = InvariantOracle()
    assert list(oracle.after_step(books)) == []
    books.refunds[0] = books.refunds[0]._replace(status="failed")
    found = {invariant_of(one) for one in oracle.at_end(books)}
    assert found == {"each_seller_has_exactly_the_due_amount", "each_refund_is_known"}


def test_second_refund_of_all_takes_the_rest_exactly() -> None:
    books = settled_books(333)
    books.refunds.append(books.refunds[0]._replace(id="re_2", amount=667))
    books.add("refund re_2", "refund.opened", refund_id="re_2", psp_refund_id="re_2",
              order_id="o1", amount=667, currency="EUR", explicit=None, origin="psp")  # fmt: skip
    books.add("refund re_2", "refund.succeeded", source="hyperswitch:evt_2", allocation=[])
    books.rows("refunds").append({"stream_id": "refund re_2", "status": "succeeded"})
    oracle = InvariantOracle()
    oracle.after_step(books)
    reverse(books, "anna", 401, "re_2")
    reverse(books, "ben", 201, "re_2")
    assert list(oracle.at_end(books)) == []


@pytest.mark.parametrize(
    ("claims", "keeps"),
    [
        ([], {"a": 60, "b": 30}),
        ([Claim("r", 1)], {"a": 60, "b": 30}),
        ([Claim("r", 99)], {"a": 1, "b": 1}),
        ([Claim("r", 50), Claim("r", 50)], {"a": 0, "b": 0}),
        ([Claim("r", 10, {"a": 10})], {"a": 50, "b": 30}),
        ([Claim("r", 10, {"a": 10}), Claim("r", 45)], {"a": 25, "b": 15}),
        ([Claim("d", 100, dispute=True), Claim("r", 50)], {"a": 0, "b": 0}),
        ([Claim("d", 10, dispute=True), Claim("r", 95)], {"a": 0, "b": 0}),
    ],
)
def test_remaining_shares_follow_the_law(claims: list[Claim], keeps: dict[str, int]) -> None:
    """Floors are taken from the sellers; an explicit amount comes first; a dispute takes at most
    the rest."""
    assert remaining({"a": 60, "b": 30}, 100, claims) == keeps
