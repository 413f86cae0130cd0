"""Contract of `Alarms`: one alarm per kind and subject, and an end to it."""

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
