"""Contract of `Alarms`: one alarm per kind and subject, and an end to it."""

from datetime import timedelta

from tests.support.storage import Storage


async def raised(storage: Storage) -> list[tuple[str, str, str]]:
    return [(alarm.kind, alarm.subject, alarm.detail) for alarm in await storage.alarms.raised()]


async def test_repeated_alarm_is_one_with_the_latest_text(storage: Storage) -> None:
    await storage.alarms.raise_alarm("drift", "t1", "2 cents")
    await storage.alarms.raise_alarm("drift", "t1", "3 cents")
    await storage.alarms.raise_alarm("drift", "t2", "1 cent")
    assert await raised(storage) == [("drift", "t1", "3 cents"), ("drift", "t2", "1 cent")]


async def test_alarms_of_one_subject_end_together(storage: Storage) -> None:
    for kind, subject in (
        ("refund_disagrees", "e1"),
        ("webhook_parked_too_long", "e1"),
        ("refund_disagrees", "e2"),
    ):
        await storage.alarms.raise_alarm(kind, subject, "why")
    await storage.alarms.clear_all("e1")
    assert await raised(storage) == [("refund_disagrees", "e2", "why")]


async def test_alarm_is_cleared_once_and_can_be_raised_again(storage: Storage) -> None:
    assert not await storage.alarms.clear("outage", "stripe")
    await storage.alarms.raise_alarm("outage", "stripe", "no answer")
    assert not await storage.alarms.clear("outage", "somebody else")
    assert await storage.alarms.clear("outage", "stripe")
    assert not await storage.alarms.clear("outage", "stripe")
    assert await raised(storage) == []
    await storage.alarms.raise_alarm("outage", "stripe", "again")
    assert await raised(storage) == [("outage", "stripe", "again")]


async def test_no_alarm_is_raised_about_a_closed_webhook(storage: Storage) -> None:
    """`simulate-faults --seed 3267`: a process was frozen before it raised the alarm, and died
    before it looked again."""
    for name in ("evt:1", "evt:2"):
        await storage.inbox.put("stripe", name, "transfer.created", b"{}", await storage.now())
    first, second = (await storage.inbox.claim("w", 2, timedelta(seconds=9))).events
    await storage.inbox.ignore({first.inbox_id: "it agrees now"})
    await storage.inbox.bury(second.inbox_id, "unreadable")
    for name in ("evt:1", "evt:2", "evt:3"):
        await storage.alarms.raise_alarm("webhook_dead", f"stripe:{name}", "why")
    assert [alarm.subject for alarm in await storage.alarms.raised()] == [
        "stripe:evt:2",
        "stripe:evt:3",
    ]
