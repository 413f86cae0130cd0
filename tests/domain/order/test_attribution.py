"""Attribution of recovered amounts: the cause that has not taken its part yet, and amounts that a
restore has to explain."""

import pytest

from domain.fact import Fact, opened
from domain.identity import compensation, dispute_cause
from domain.order.aggregate import Order
from domain.order.attribution import causes_of, explained, withdraw_revoked
from domain.order.disputes import count_dispute
from domain.order.recovery import net_taken, of_seller, recover_shares, withdraw_unsent
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal import Reversal, ReversalStatus
from domain.seller_transfer.state import NOT_RECORDED
from tests.support.domain_story import START, Sale, Story, imported

R = ReversalStatus
DP = dispute_cause("dp")


@pytest.fixture
def order() -> Order:
    """Return an order of which r1 takes 100 of ada's 500, r2 takes 150, and a dispute takes 50."""
    order = Order.register(
        START,
        order_id="o1",
        currency="EUR",
        amount=1_000,
        shares=[{"seller_id": "ada", "destination": "acct_ada", "amount": 500}],
    )
    order.allocate_refund("r1", 200, "EUR", None, START)
    order.allocate_refund("r2", 300, "EUR", None, START)
    count_dispute(order, "dp", 100, "EUR", START)
    assert order.parts_by_cause() == {"r1": {"ada": 100}, "r2": {"ada": 150}, DP: {"ada": 50}}
    return order


def holding(*held: Reversal, reductions: dict[str, int] | None = None) -> SellerTransfer:
    transfer = Story().paid().transfer
    transfer.reversals = {one.reversal_id: one for one in held}
    transfer.reductions = dict(reductions or {})
    return transfer


def reversal(cause_id: str, amount: int, state: ReversalStatus = R.QUEUED) -> Reversal:
    return Reversal(f"rev-{cause_id}", cause_id, amount, "refund", state, settled=amount)


@pytest.mark.parametrize(
    ("taken", "due", "expected"),
    [
        (100, 170, [("r2", 150), (DP, 20)]),
        (100, 150, [("r2", 150)]),
        (100, 149, [("r2", 149)]),
        (40, 170, [("r1", 60), ("r2", 110)]),
        (0, 400, [("r1", 100), ("r2", 150), (DP, 150)]),
        (130, 300, [("r2", 150), (DP, 150)]),
        (100, 0, []),
        (100, -5, []),
    ],
)
def test_due_amount_goes_to_causes_that_have_not_taken_their_part(
    order: Order, taken: int, due: int, expected: list[tuple[str, int]]
) -> None:
    transfers = [holding(reversal("r1", taken, R.REVERSED))]
    assert list(causes_of(order, transfers, due, "r0")) == expected


def test_due_amount_without_causes_is_taken_for_the_revoked_one(order: Order) -> None:
    for refund_id in ("r1", "r2"):
        order.revoke_refund(refund_id, START)
    order.disputes.clear()
    assert list(causes_of(order, [holding()], 7, "r1")) == [("r1", 7)]
    assert list(causes_of(order, [holding()], 0, "r1")) == []


@pytest.mark.parametrize(
    ("restored", "due", "left", "explained_by"),
    [
        (False, 10, 10, {"r1": 30}),
        (False, -10, -10, {"r1": 30}),
        (True, 10, 10, {"r1": 30}),
        (True, -10, 0, {"r1": 20}),
        (True, -30, 0, {}),
        (True, -35, -5, {}),
    ],
)
def test_unexplained_reduction_is_not_given_back_during_a_restore(
    order: Order, restored: bool, due: int, left: int, explained_by: dict[str, int]
) -> None:
    order.unverified = restored
    transfers = [holding(reductions={NOT_RECORDED: 30, "r9": 5}), holding()]
    assert explained(order, transfers, due, "r1", START) == left
    found = {name: by for name, by in transfers[0].reductions.items() if name == "r1"}
    assert found == explained_by
    assert transfers[0].reductions[NOT_RECORDED] == 30 - sum(explained_by.values())
    assert transfers[1].reductions == {}


def test_reductions_of_several_transfers_are_explained_in_turn(order: Order) -> None:
    order.unverified = True
    transfers = [holding(reductions={NOT_RECORDED: 30}), holding(reductions={NOT_RECORDED: 20})]
    assert explained(order, transfers, -15, "r1", START) == 0
    assert [one.reductions.get("r1", 0) for one in transfers] == [30, 5]


def test_only_unsent_reversals_of_the_revoked_cause_are_withdrawn() -> None:
    transfer = holding(
        reversal("r1", 10),
        reversal("r2", 20),
        reversal("r1", 30, R.REVERSED)._replace(reversal_id="done"),
        reversal("r1", 40)._replace(reversal_id="imported", reason="imported"),
        reversal("r1", 50, R.FAILED)._replace(reversal_id="failed"),
    )
    before = len(transfer.pending_events)
    withdraw_revoked([transfer], "r1", START)
    told = [fact for fact in transfer.pending_events[before:] if isinstance(fact, Fact)]
    withdrawn = [one for one in told if isinstance(one, facts.ReversalWithdrawn)]
    assert [(one.reversal_id, one.amount, one.cause_id) for one in withdrawn] == [
        ("rev-r1", 10, "r1")
    ]


def test_reversal_that_may_be_at_stripe_is_not_withdrawn() -> None:
    transfer = holding(reversal("r1", 10))
    transfer.unverified = True
    withdraw_revoked([transfer], "r1", START)
    assert transfer.reversals["rev-r1"].state is R.QUEUED
    assert not transfer.reversals["rev-r1"].contested


def test_transfer_without_a_reduction_explains_nothing(order: Order) -> None:
    transfers = [holding(), holding(reductions={NOT_RECORDED: 30})]
    assert explained(order, transfers, 0, "r1", START) == 0
    assert [one.reductions.get("r1") for one in transfers] == [None, 30]


def test_least_amount_that_was_not_sent_is_explained(order: Order) -> None:
    transfers = [holding(reductions={NOT_RECORDED: 1})]
    assert explained(order, transfers, 0, "r1", START) == 0
    assert transfers[0].reductions == {NOT_RECORDED: 0, "r1": 1}


def test_nothing_is_withdrawn_without_an_excess() -> None:
    transfer = holding(reversal("r1", 10))
    version = transfer.version
    for excess in (0, -5):
        assert withdraw_unsent([transfer], excess, "r1", START, only_own=True) == excess
    assert transfer.version == version
    assert withdraw_unsent([transfer], 12, "r1", START, only_own=True) == 2


def test_newest_unsent_reversals_are_withdrawn_first() -> None:
    transfer = holding(reversal("r1", 10), reversal("r2", 20))
    assert withdraw_unsent([transfer], 25, "r9", START, only_own=False) == 0
    assert [(one.amount, one.state) for one in transfer.reversals.values()] == [
        (5, R.REQUESTED),
        (20, R.WITHDRAWN),
    ]


def test_newest_transfer_of_a_seller_comes_first() -> None:
    sold = holding()
    given_back = SellerTransfer.create(
        now=sold.created_on,
        order_id="order-1",
        seller_id="ada",
        destination="acct_ada",
        amount=5,
        currency="EUR",
        cause="a compensation",
    )
    assert of_seller([sold, given_back], "ada") == [given_back, sold]
    assert of_seller([given_back, sold], "ada") == [given_back, sold]
    assert of_seller([given_back, sold], "bob") == []


def test_compensation_counts_unless_its_cause_is_not_recorded() -> None:
    sold = holding(reversal("r1", 45, R.REVERSED), reversal("r2", 20, R.REVERSED))
    given_back = [
        SellerTransfer.create(
            now=START,
            order_id="order-1",
            seller_id="ada",
            destination="acct_ada",
            amount=amount,
            currency="EUR",
            cause=compensation(sold.id, cause_id),
        )
        for cause_id, amount in (("r1", 40), ("r2", 5))
    ]
    assert net_taken([sold]) == 65
    assert net_taken([sold, *given_back]) == 20
    sold.reversals["rev-r1"] = sold.reversals["rev-r1"]._replace(missing=True)
    assert net_taken([sold, *given_back]) == 15


def test_seller_without_a_transfer_is_passed_over(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 40}).all_go_through()
    story.order.allocate_refund("r1", 50, "EUR", None, story.now)
    assert recover_shares(story.order, [story.of("bob")], "r1", story.now) == []
    assert (story.of("ada").taken, story.of("bob").taken) == (0, 20)


def test_refund_reversed_before_the_import_is_covered_beside_a_compensation(order: Order) -> None:
    fact = imported(
        "partially_reversed",
        START,
        amount=500,
        amount_reversed=100,
        stripe_transfer_id="tr_1",
        refund_id="r1",
    )
    sold = opened(SellerTransfer, fact)
    given_back = SellerTransfer.create(
        now=START,
        order_id="order-1",
        seller_id="ada",
        destination="acct_ada",
        amount=5,
        currency="EUR",
        cause=compensation(sold.id, "r0"),
    )
    assert recover_shares(order, [sold, given_back], "r2", START) == []
    assert sold.taken + given_back.taken - given_back.original == 200, "r1 was taken before"
