"""Pauses: their actors, their end, and repetitions that change nothing."""

from datetime import UTC, datetime, timedelta

from domain.pause import (
    EVERYTHING,
    LOOK_UP_FIRST,
    CapabilitiesTold,
    Pause,
    scope_of_seller,
    scope_of_work,
    scopes_within,
)
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


def test_capabilities_are_kept_once_per_account() -> None:
    switch = Pause.install("transferring:ada", NOW)
    switch.tell("acct_1", {"transfers": "inactive"}, "stripe:evt_1", NOW)
    switch.tell("acct_1", {"transfers": "inactive"}, "stripe:evt_2", NOW)
    switch.tell("acct_2", {"transfers": "inactive"}, "stripe:evt_3", NOW)
    switch.tell("acct_1", {"transfers": "active"}, "stripe:evt_4", NOW)
    facts = [fact for fact in switch.pending_events if isinstance(fact, CapabilitiesTold)]
    assert [(fact.account, fact.source) for fact in facts] == [
        ("acct_1", "stripe:evt_1"),
        ("acct_2", "stripe:evt_3"),
        ("acct_1", "stripe:evt_4"),
    ]
    assert {fact.scope for fact in facts} == {"transferring:ada"}
    assert switch.capabilities == {
        "acct_1": {"transfers": "active"},
        "acct_2": {"transfers": "inactive"},
    }


def test_scope_of_a_seller_ends_with_its_kinds_of_work() -> None:
    assert scope_of_work("funding") == "work:funding"
    assert (scope_of_seller("ada"), scope_of_seller("ada", "reversing")) == (
        "seller:ada",
        "reversing:ada",
    )
    assert scopes_within("seller:ada") == ["seller:ada", "transferring:ada", "reversing:ada"]
    assert scopes_within("work:funding") == ["work:funding"]


def test_pause_names_its_actor_until_the_next() -> None:
    switch = Pause.install("seller:ada", NOW)
    switch.pause("mia", "fraud?", NOW)
    assert (switch.actor, switch.reason, switch.lost_since) == ("mia", "fraud?", None)
    switch.resume("tom", "no fraud", NOW)
    assert (switch.paused, switch.paused_by_stripe) == (False, False)
    assert switch.pause("serve", "restored", NOW, lost_since=NOW)
    assert switch.lost_since == NOW
    switch.resume("tom", "looked up", NOW)
    later = NOW + timedelta(days=1)
    assert switch.pause("serve", "restored", later, lost_since=later)
    assert switch.lost_since == later, "the first restore is over"


def test_stripe_pauses_again_only_with_another_reason() -> None:
    switch = Pause.install("seller:ada", NOW)
    assert switch.pause("stripe:evt_1", "inactive", NOW)
    assert not switch.pause("stripe:evt_2", "inactive", NOW)
    assert switch.pause("stripe:evt_3", "disconnected", NOW)
    assert (switch.actor, switch.reason) == ("stripe:evt_3", "disconnected")
    switch.resume("stripe:evt_4", "active", NOW)
    assert not switch.paused_by_stripe


def test_person_takes_a_pause_over_with_the_same_reason() -> None:
    switch = Pause.install("seller:ada", NOW)
    switch.pause("stripe:evt_1", "inactive", NOW)
    assert switch.pause("mia", "inactive", NOW)
    assert not switch.paused_by_stripe
