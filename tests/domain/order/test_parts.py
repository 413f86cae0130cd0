"""Parts of a refund as callers read them: per transfer, and per seller without one."""

from domain.order.recovery import parts_of
from domain.refund.state import Part
from tests.support.domain_story import Sale


def test_parts_are_those_of_this_refund_that_stand(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90})
    story.is_refunded("r0", 10)
    story.all_go_through()
    story.is_refunded("r1", 50)
    story.is_refunded("r2", 20)
    story.is_revoked("r1")
    ada = story.of("ada")
    (name,) = (one.reversal_id for one in ada.reversals.values() if one.refund_id == "r2")
    assert parts_of(story.order, story.transfers, "r0") == [
        Part(seller_id="ada", amount=9, transfer_id=str(ada.id), reversal_id=None)
    ]
    assert parts_of(story.order, story.transfers, "r1") == [], "it was withdrawn"
    assert parts_of(story.order, story.transfers, "r2") == [
        Part(seller_id="ada", amount=18, transfer_id=str(ada.id), reversal_id=name)
    ]


def test_parts_of_sellers_without_a_transfer_are_above_zero(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90, "bob": 2, "cyd": 1}, paid=False)
    story.is_refunded("r1", 50)
    assert [(part["seller_id"], part["amount"]) for part in parts_of(story.order, [], "r1")] == [
        ("ada", 45),
        ("bob", 1),
    ]
    assert parts_of(story.order, [], "unknown") == []
    story.is_paid()
    some = [story.of("ada")]
    assert [
        (part["seller_id"], part["transfer_id"]) for part in parts_of(story.order, some, "r1")
    ] == [
        ("ada", str(some[0].id)),
        ("bob", None),
    ]
