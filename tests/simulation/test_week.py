"""A small simulated week: books equal to the cent, no person but for true losses, and the same
report for the same seed."""

from functools import cache

import pytest

from infrastructure.simulation.week.plan import POOR_SELLER, planned
from infrastructure.simulation.week.report import Day, PersonAction, WeekReport
from infrastructure.simulation.week.run import simulate_week

ORDERS, SEED = 60, 3


@cache
def week() -> WeekReport:
    return simulate_week(ORDERS, SEED)


@pytest.mark.timeout(600)
def test_week_needs_a_person_for_true_losses_only() -> None:
    report = week()
    assert list(report.differences) == []
    assert {action.kind for action in report.actions} == {"awaiting_funds"}
    assert all(action.true_loss for action in report.actions)
    assert sum(day.orders_paid for day in report.days) == ORDERS
    last = report.days[-1]
    assert (last.stuck, last.waiting) == (0, len(report.actions))
    assert report.passed


@pytest.mark.timeout(600)
def test_same_seed_gives_the_same_report() -> None:
    again = simulate_week(ORDERS, SEED)
    assert again.json() == week().json()
    assert again.text() == week().text()


def test_plan_has_the_shares_of_a_real_week() -> None:
    plan = planned(10_000, 1)
    refunded = sum(bool(order.refunds) for order in plan)
    disputed = sum(order.dispute is not None for order in plan)
    assert 750 < refunded < 850
    assert 30 < disputed < 70
    assert len({order.order_id for order in plan}) == 10_000
    assert all(
        sum(amount for _, amount in order.shares) == order.amount * 9 // 10 for order in plan
    )
    poor = [order for order in plan if order.shares[0][0] == POOR_SELLER]
    assert poor
    assert all(order.refunds for order in poor)


@pytest.mark.parametrize(
    ("differences", "true_loss", "passed"),
    [([], True, True), ([], False, False), (["order o1: …"], True, False)],
)
def test_report_passes_only_without_differences_and_needless_actions(
    differences: list[str], true_loss: bool, passed: bool
) -> None:
    action = PersonAction(5, "awaiting_funds", "a transfer", "no money", true_loss)
    day = Day(1, "2026-01-01", 1, 900, 0, 0, 0, 0, 0, 0, 1)
    report = WeekReport(10, 1, [day], [action], differences)
    assert report.passed is passed
    assert ("NO LOSS" in report.text()) is not true_loss
    assert ("the books are equal to the cent" in report.text()) is not bool(differences)


def test_week_of_few_orders_is_refused() -> None:
    with pytest.raises(ValueError, match="choose 20 or more"):
        simulate_week(3, 1)
