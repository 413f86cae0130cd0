"""Facts that raise and clear alarms; the quick first check hides none of them."""

import ast
import inspect
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from domain.fact import Stamp
from domain.order.payment_facts import ChargeNotFound
from domain.seller_transfer import facts as transfer_facts
from projections import alarms
from projections.alarms import HINDERED_TOO_LONG, AlarmRow
from projections.registry import rows_of

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def stamp(version: int) -> Stamp:
    return {
        "originator_id": UUID(int=7),
        "originator_version": version,
        "timestamp": NOW + version * timedelta(minutes=1),
    }


CREATED = transfer_facts.Created(
    **stamp(1), originator_topic="ledger.seller_transfer", order_id="o1", seller_id="ada",
    destination="acct_1", amount=900,
    currency="EUR", transfer_group="o1", next_retry_at=NOW,
)  # fmt: skip
DEFERRED = transfer_facts.AttemptDeferred(
    **stamp(2),
    what="transfer",
    why="awaiting_funds",
    detail="too little",
    retry_count=0,
    next_retry_at=NOW,
    epoch=1,
    open=False,
)
EVIDENCE = transfer_facts.EvidenceHeld(
    **stamp(3), what="transfer", stripe_id="tr_2", amount=900, detail="another one"
)
COMPLETED = transfer_facts.Completed(**stamp(4), stripe_transfer_id="tr_1", amount=900)


def test_every_alarm_fact_reaches_the_check() -> None:
    asked = set()
    for question in (alarms._raises, alarms._ends):
        cases = [
            node.cls
            for node in ast.walk(ast.parse(inspect.getsource(question)))
            if isinstance(node, ast.MatchClass)
        ]
        for each in cases:
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
                asked.add(getattr(getattr(alarms, each.value.id), each.attr))
    assert asked == alarms._CONCERNED


def test_passing_alarm_ends_with_its_operation() -> None:
    told = rows_of([CREATED, DEFERRED, EVIDENCE, COMPLETED])["alarms"]
    assert {
        (row.kind, row.detail, row.cleared_at) for row in told if isinstance(row, AlarmRow)
    } == {
        ("awaiting_funds", "too little", COMPLETED.timestamp),
        ("evidence_held", "another one", None),
    }


def test_withdrawn_reversal_that_was_running_ends_its_alarm() -> None:
    """Found by `simulate-faults --seed 1213`: the refund had failed, and no money is awaited."""
    withdrawn = transfer_facts.ReversalWithdrawn(
        **stamp(5),
        reversal_id="r1",
        refund_id="re_1",
        amount=100,
        amount_reversed=0,
        in_flight=True,
        cause_id="re_1",
    )
    (row,) = alarms.latest_alarms([replace(DEFERRED, what="r1"), withdrawn])
    assert (row.kind, row.cleared_at) == ("awaiting_funds", withdrawn.timestamp)
    waiting = replace(withdrawn, in_flight=False)
    assert list(alarms.alarms([waiting], troubled=True)) == []


def test_clear_without_an_open_alarm_changes_nothing() -> None:
    assert list(alarms.alarms([CREATED, COMPLETED], troubled=False)) == []


def test_hour_of_hindrance_raises_an_alarm() -> None:
    hindered = replace(
        DEFERRED, why="rate_limited", hindered_since=DEFERRED.timestamp - HINDERED_TOO_LONG
    )
    assert [row.kind for row in alarms.alarms([hindered], troubled=False)] == ["hindered"]
    shortly = replace(hindered, hindered_since=hindered.timestamp - timedelta(minutes=59))
    assert list(alarms.alarms([shortly], troubled=False)) == []


def test_debt_of_forty_days_shows_its_age() -> None:
    later = [
        replace(DEFERRED, originator_version=9 + day, timestamp=DEFERRED.timestamp + timedelta(day))
        for day in range(1, 41)
    ]
    (row,) = rows_of([CREATED, DEFERRED, *later])["alarms"]
    assert isinstance(row, AlarmRow)
    assert (row.raised_at, row.times) == (DEFERRED.timestamp, 41)
    assert row.last_seen_at == DEFERRED.timestamp + timedelta(days=40)


def test_reversal_that_is_pending_for_45_days_raises_an_alarm() -> None:
    since = DEFERRED.timestamp - timedelta(days=45)
    pending = replace(
        DEFERRED,
        what="r1",
        why="pending",
        detail="trr_1 is pending at Stripe",
        awaiting_since=since,
    )
    assert list(alarms.alarms([replace(pending, awaiting_since=NOW)], troubled=False)) == []
    (row,) = alarms.alarms([pending], troubled=False)
    assert (row.kind, row.detail[:26]) == ("reversal_undecided", "trr_1 is pending at Stripe")


def test_unreadable_charge_names_the_whole_command_for_the_next_step() -> None:
    lost = ChargeNotFound(
        **stamp(1),
        order_id="o1",
        connector_payment="pi_1",
        why="not_readable",
        detail="No such payment_intent: 'pi_1'",
        unfunded=1,
        amount=900,
        currency="EUR",
    )
    told = {row.kind: row for row in alarms.alarms([lost], troubled=False)}
    raised = told["charge_not_readable"]
    assert isinstance(raised, AlarmRow)
    assert raised.detail.endswith(
        "No such payment_intent: 'pi_1'. Check the account and the permissions of the key, then "
        "run `transfer-ledger read-charge o1 --actor NAME --reason TEXT`."
    )
