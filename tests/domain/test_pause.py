"""Pauses: their actors, their end, and repetitions that change nothing."""

from datetime import UTC, datetime, timedelta

from domain.pause import EVERYTHING, LOOK_UP_FIRST, Pause
from tests.support.domain_story import FactStorage

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def told(switch: Pause) -> list[str]:
    return [type(fact).__name__ for fact in switch.pending_events]


def test_pause_begins_and_ends_once() -> None:
    switch = Pause.install(EVERYTHING, NOW)
    assert [switch.pause("mia", "audit", NOW), switch.pause("tom", "too", NOW)] == [True, False]
    assert [switch.resume("mia", "done", NOW), switch.resume("mia", "done", NOW)] == [True, False]
    assert told(switch) == ["Installed", "Paused", "Resumed"]


def test_second_restore_is_recorded_although_looks_come_first() -> None:
    switch = Pause.install(LOOK_UP_FIRST, NOW)
    assert switch.pause("serve", "restored", NOW, lost_since=NOW)
    assert switch.pause(
        "serve", "restored again", NOW + timedelta(hours=1), lost_since=NOW + timedelta(hours=1)
    )
    assert switch.lost_since == NOW, "what was lost since the first restore may still be missing"


def test_stored_pause_reads_back_unchanged(storage: FactStorage) -> None:
    switch = Pause.install("seller:ada", NOW)
    switch.pause("mia", "fraud?", NOW)
    read = storage.replayed(list(switch.collect_events()))
    assert isinstance(read, Pause)
    assert (read.scope, read.paused, read.version) == ("seller:ada", True, 2)


def test_stripe_pause_is_taken_over_only_by_a_person() -> None:
    switch = Pause.install("seller:ada", NOW)
    assert switch.pause("stripe:evt_1", "account acct_1: its transfers are inactive", NOW)
    by_stripe = [switch.paused_by_stripe]
    assert switch.pause("mia", "fraud?", NOW)
    by_stripe.append(switch.paused_by_stripe)
    assert by_stripe == [True, False]
    assert not switch.pause("stripe:evt_2", "account acct_1: its transfers are inactive", NOW)
    assert switch.actor == "mia"
