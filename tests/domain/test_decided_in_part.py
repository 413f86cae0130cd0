"""A dispute that a person has divided, and of which a part of the money comes back later."""

from datetime import timedelta

import pytest

from domain.errors import Refused
from domain.identity import dispute_cause
from domain.order.disputes import allocate_dispute, reduce_dispute
from domain.order.state import SetAsideDecision
from tests.support.domain_story import Sale

SECOND = timedelta(seconds=1)


def decided(sale: type[Sale]) -> Sale:
    """Let a dispute of 400 take 300 from ada alone."""
    story = sale(1_000, {"ada": 501, "bob": 399}).all_go_through()
    story.now += SECOND
    allocate_dispute(story.order, "dp_1", SetAsideDecision(400, {"ada": 300}), story.now)
    story.recover_shares(dispute_cause("dp_1"))
    return story.all_go_through()


def test_divided_dispute_is_not_reduced_by_shares(sale: type[Sale]) -> None:
    story = decided(sale)
    assert (story.net("ada"), story.net("bob")) == (201, 399)
    with pytest.raises(Refused, match=r"decide it with an amount per seller"):
        reduce_dispute(story.order, "dp_1", 100, story.now)
    assert (story.net("ada"), story.net("bob")) == (201, 399)


def test_divided_dispute_can_be_ended(sale: type[Sale]) -> None:
    story = decided(sale)
    assert reduce_dispute(story.order, "dp_1", 0, story.now)
    story.recover_shares(dispute_cause("dp_1"))
    story.all_go_through()
    assert (story.net("ada"), story.net("bob")) == (501, 399)
