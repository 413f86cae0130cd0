"""Payouts: reports in any order lead to the same end."""

from datetime import UTC, datetime
from itertools import permutations

from domain.payout import Payout, PayoutStatus
from tests.support.domain_story import FactStorage, StateOf

S = PayoutStatus
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def a_payout(*told: PayoutStatus) -> Payout:
    payout = Payout.announce(
        payout_id="po_1",
        account="acct_ada",
        seller_ids=["ada"],
        amount=500,
        currency="EUR",
        arrival_date=NOW,
        source="stripe:evt_1",
        now=NOW,
    )
    for status in told:
        payout.report(status, "account closed", "stripe:evt_2", NOW)
    return payout


def test_payout_ends_the_same_in_any_report_order() -> None:
    for told in permutations([S.PENDING, S.IN_TRANSIT, S.PAID, S.FAILED]):
        assert a_payout(*told).status is S.FAILED
    for told in permutations([S.PENDING, S.CANCELED]):
        assert a_payout(*told).status is S.CANCELED


def test_stored_payout_reads_back_unchanged(storage: FactStorage, state: StateOf) -> None:
    payout = a_payout(*S)
    assert [type(fact).__name__ for fact in payout.pending_events] == [
        "Announced",
        "Sent",
        "Arrived",
        "Canceled",
        "Failed",
    ]
    assert state(storage.replayed(list(payout.collect_events()))) == state(payout)


def test_report_of_a_payout_is_news_once() -> None:
    payout = a_payout()
    assert payout.report(S.PAID, None, "stripe:evt_2", NOW)
    assert not payout.report(S.PAID, None, "stripe:evt_3", NOW)
    assert not payout.report(S.IN_TRANSIT, None, "stripe:evt_4", NOW)
