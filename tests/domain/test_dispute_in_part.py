"""Disputes of which only a part of the money came back: a person decides how much of the order such
a dispute takes."""

from datetime import timedelta

import pytest

from domain.dispute import Dispute, DisputePolicy, DisputeStatus, PartDecided
from domain.errors import Refused
from domain.identity import dispute_cause
from domain.order.disputes import count_dispute, reduce_dispute, revoke_dispute
from domain.order.facts import DisputeReduced
from tests.support.domain_story import START, FactStorage, Sale, StateOf

SECOND = timedelta(seconds=1)


def disputed(sale: Sale, amount: int, dispute_id: str = "dp_1") -> None:
    sale.now += SECOND
    assert count_dispute(sale.order, dispute_id, amount, "EUR", sale.now) is None
    sale.recover_shares(dispute_cause(dispute_id))


def reduced(sale: Sale, amount: int, dispute_id: str = "dp_1") -> bool:
    sale.now += SECOND
    news = reduce_dispute(sale.order, dispute_id, amount, sale.now)
    if news:
        sale.recover_shares(dispute_cause(dispute_id))
    return news


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("amount", [0, 1, 150, 399])
def test_reduced_dispute_returns_the_difference(sale: type[Sale], sent: bool, amount: int) -> None:
    story = sale(1_000, {"ada": 501, "bob": 399}).all_go_through()
    disputed(story, 400)
    if sent:
        story.all_go_through()
    assert reduced(story, amount)
    story.all_go_through()
    assert story.net("ada") == 501 - 501 * amount // 1_000
    assert story.net("bob") == 399 - 399 * amount // 1_000


def test_reduced_dispute_twice_compensates_once(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    disputed(story, 400)
    story.all_go_through()
    assert reduced(story, 100)
    assert not reduced(story, 100)
    story.all_go_through()
    assert (story.net("ada"), len(story.transfers)) == (450, 2)


def test_reduced_dispute_keeps_its_place_before_later_ones(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    disputed(story, 600, "dp_1")
    disputed(story, 600, "dp_2")
    reduced(story, 300, "dp_1")
    story.all_go_through()
    fact = story.order.pending_events[-1]
    assert list(story.order.disputes) == ["dp_1", "dp_2"]
    assert story.net("ada") == 500 - 450, "300 and 600 of 1000"
    assert isinstance(fact, DisputeReduced)
    assert (fact.before, fact.counted, fact.targets) == (600, 300, {"ada": 450})


def test_whole_reinstatement_after_a_decision_returns_the_rest(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    disputed(story, 400)
    reduced(story, 100)
    story.all_go_through()
    assert revoke_dispute(story.order, "dp_1", story.now)
    story.recover_shares(dispute_cause("dp_1"))
    story.all_go_through()
    assert story.net("ada") == 500


def test_dispute_cannot_be_raised_by_a_decision(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    disputed(story, 400)
    with pytest.raises(Refused, match="takes 400 EUR"):
        reduced(story, 401)


def test_dispute_set_aside_cannot_be_reduced(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500})
    count_dispute(story.order, "dp_1", 400, "USD", story.now)
    with pytest.raises(Refused, match="set aside"):
        reduced(story, 100)


def a_dispute() -> Dispute:
    dispute = Dispute.open(
        dispute_id="dp_1",
        provider="stripe",
        order_id="o1",
        amount=400,
        currency="EUR",
        reason=None,
        source="stripe:evt_1",
        now=START,
    )
    dispute.report(DisputeStatus.WITHDRAWN, "stripe:evt_2", START)
    return dispute


def test_part_asks_once_and_another_part_asks_again() -> None:
    dispute = a_dispute()
    assert dispute.report_part({"CAD": 16}, "stripe:evt_3", START)
    dispute.decide(100, "ops", "the bank keeps it", START)
    assert not dispute.report_part({"CAD": 16}, "stripe:evt_4", START)
    assert dispute.report_part({"CAD": 7}, "stripe:evt_5", START)
    assert [type(fact).__name__ for fact in dispute.pending_events][2:] == [
        "ReinstatedInPart",
        "PartDecided",
        "ReinstatedInPart",
    ]


def test_part_reported_after_the_whole_money_is_old() -> None:
    dispute = a_dispute()
    dispute.report(DisputeStatus.REINSTATED, "stripe:evt_3", START)
    assert not dispute.report_part({"CAD": 16}, "stripe:evt_4", START)
    with pytest.raises(Refused, match="takes nothing"):
        dispute.decide(100, "ops", "the bank keeps it", START)


@pytest.mark.parametrize("amount", [-1, 401])
def test_decision_beyond_the_dispute_is_refused(amount: int) -> None:
    with pytest.raises(Refused, match="from 0 to 400"):
        a_dispute().decide(amount, "ops", "the bank keeps it", START)


def test_decided_dispute_reads_back_unchanged(storage: FactStorage, state: StateOf) -> None:
    dispute = a_dispute()
    dispute.report_part({"CAD": 16}, "stripe:evt_3", START)
    dispute.decide(100, "ops", "the bank keeps it", START)
    assert state(storage.replayed(list(dispute.collect_events()))) == state(dispute)
    assert dispute.takes(DisputePolicy.WITHDRAWAL)


@pytest.mark.parametrize(("amount", "fits"), [(0, True), (400, True), (401, False), (-1, False)])
def test_dispute_takes_from_nothing_to_all_of_it_by_decision(amount: int, fits: bool) -> None:
    dispute = a_dispute()
    if not fits:
        with pytest.raises(Refused, match="give an amount from 0 to 400"):
            dispute.decide(amount, "mia", "the bank says so", START)
        return
    dispute.decide(amount, "mia", "the bank says so", START)
    fact = dispute.pending_events[-1]
    assert isinstance(fact, PartDecided)
    assert (fact.amount, fact.actor, fact.reason) == (amount, "mia", "the bank says so")
    assert fact.source == "operator:mia"
    assert (dispute.decided_amount, dispute.undecided) == (amount, False)
