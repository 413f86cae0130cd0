"""Refund under all its names, and the reports of the PSP that may change it."""

from datetime import timedelta
from itertools import product
from typing import TypedDict

import pytest

from domain.errors import ContentDiffers
from domain.refund.aggregate import Refund
from domain.refund.facts import Failed
from domain.refund.state import REFUND_TRANSITIONS, RefundStatus
from tests.support.domain_story import Story

R = RefundStatus


class Members(TypedDict, total=False):
    """The members that a repetition is compared by."""

    order_id: str
    amount: int | None
    psp_refund_id: str | None
    reason: str | None
    explicit: dict[str, int] | None


# x: news, -: old news. Rows are from, columns are to, in the order of the rows.
TABLE = """
    requested  - x x x x
    submitted  - - x x x
    succeeded  - - - x -
    failed     - - x - -
    review     - - x x -
"""


def opened(
    story: Story, origin: str = "psp", refund_id: str = "psp-1", psp: str | None = "psp-1"
) -> Refund:
    return Refund.open(
        refund_id=refund_id,
        order_id="o",
        amount=40,
        currency="EUR",
        origin=origin,
        psp_refund_id=psp,
        now=story.now,
    )


def last_failure(refund: Refund) -> Failed:
    fact = refund.pending_events[-1]
    assert isinstance(fact, Failed)
    return fact


def test_report_is_recorded_where_the_table_says_so(story: Story) -> None:
    rows = [line.split() for line in TABLE.strip().splitlines()]
    wanted = {
        (f, t): mark == "x"
        for f, *marks in rows
        for t, mark in zip([r[0] for r in rows], marks, strict=True)
    }
    refund = opened(story)
    found = {}
    for before, after in product(R, R):
        refund.status = before  # the table is asked, not the history
        found[before.value, after.value] = refund.may_become(after)
    assert found == wanted
    assert set(REFUND_TRANSITIONS) == set(R)


@pytest.mark.parametrize(
    ("origin", "status"), [("api", R.REQUESTED), ("settled", R.SUBMITTED), ("psp", R.SUBMITTED)]
)
def test_refund_begins_in_its_origins_status(story: Story, origin: str, status: R) -> None:
    assert opened(story, origin).status is status


def test_failure_records_whether_it_followed_success(story: Story) -> None:
    refund = opened(story)
    refund.fail("psp", "bank refused", story.now)
    assert not last_failure(refund).after_success
    refund.succeed("psp", [], story.now)
    refund.fail("psp", None, story.now)
    assert last_failure(refund).after_success


def test_callers_name_is_adopted_once_and_the_key_kept(story: Story) -> None:
    refund = opened(story)
    refund.name("refund-1", "psp-1", story.now)
    refund.name("refund-1", "psp-1", story.now)
    assert (refund.refund_id, refund.key, refund.psp_refund_id) == ("refund-1", "psp-1", "psp-1")
    assert len(refund.pending_events) == 2
    with pytest.raises(ContentDiffers):
        refund.name("refund-2", None, story.now)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"order_id": "x"}, "order_id"),
        ({"amount": 41}, "amount"),
        ({"psp_refund_id": "psp-2"}, "psp_refund_id"),
        ({"explicit": {"ada": 1}}, "allocation"),
    ],
)
def test_repetition_with_other_content_names_the_difference(
    story: Story, other: Members, named: str
) -> None:
    refund = opened(story)
    same: Members = {
        "order_id": "o",
        "amount": 40,
        "psp_refund_id": "psp-1",
        "reason": None,
        "explicit": None,
    }
    changed: Members = {**same, **other}
    refund.agree(**same)
    with pytest.raises(ContentDiffers, match=named):
        refund.agree(**changed)


def test_instants_of_a_stream_never_go_back(story: Story) -> None:
    refund = opened(story)
    refund.succeed("psp", [], story.now - timedelta(hours=1))
    assert refund.modified_on == story.now
