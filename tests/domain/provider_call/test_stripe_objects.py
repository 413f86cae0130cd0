"""Transfers at Stripe: their maker, their names, and the amounts of their reversals."""

import pytest

from domain.provider_call.outcome import Rejected
from domain.provider_call.stripe_objects import (
    ChargeAtStripe,
    CompensationNames,
    ReversalAtStripe,
    TransferAtStripe,
)

REFUSAL = Rejected(200, None, "it has failed", stored=True)
TAKEN = ReversalAtStripe("trr_1", 30, None)
PENDING = ReversalAtStripe("trr_2", 20, None, status="pending")
FAILED = ReversalAtStripe("trr_3", 10, None, status="failed", refusal=REFUSAL)
SEEN = TransferAtStripe("tr_1", 100, 70, "EUR", "acct_ada", "ours", (TAKEN, PENDING, FAILED))


@pytest.mark.parametrize(
    ("theirs", "ours", "foreign"),
    [
        (None, None, False),
        (None, "a", False),
        ("a", None, False),
        ("a", "a", False),
        ("b", "a", True),
    ],
)
def test_transfer_is_foreign_only_if_both_ledgers_are_known(
    theirs: str | None, ours: str | None, foreign: bool
) -> None:
    assert SEEN._replace(ledger_id=theirs).is_foreign(ours) is foreign


def test_transfer_is_ours_by_its_name_or_as_compensation() -> None:
    names = CompensationNames("o1", "ada", compensates="ours", cause_id="r1")
    given_back = SEEN._replace(transfer_id="another", gives_back=names)
    assert SEEN.is_or_compensates("ours")
    assert given_back.is_or_compensates("ours")
    assert not SEEN.is_or_compensates("another")
    assert not SEEN._replace(transfer_id=None).is_or_compensates("ours")


def test_reversals_count_once_they_have_moved_money() -> None:
    assert (SEEN.reversible, SEEN.pending) == (30, 20)
    assert SEEN.counted() == SEEN._replace(amount_reversed=30)
    assert [one.taken for one in SEEN.reversals] == [True, False, False]
    assert [one.pending for one in SEEN.reversals] == [False, True, False]


def test_settled_amount_funds_transfers_once_it_is_known() -> None:
    charge = ChargeAtStripe("ch_1", 100, "EUR", "succeeded")
    assert charge.transferable == (100, "EUR")
    assert charge._replace(settled_amount=110).transferable == (100, "EUR")
    assert charge._replace(settled_currency="USD").transferable == (100, "EUR")
    settled = charge._replace(settled_amount=110, settled_currency="USD")
    assert settled.transferable == (110, "USD")
