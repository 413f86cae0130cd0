"""What every `Alarms` owes: one alarm per kind and subject, and an end to it."""

from tests.contracts.storage import Storage


async def raised(storage: Storage) -> list[tuple[str, str, str]]:
    return [(alarm.kind, alarm.subject, alarm.detail) for alarm in await storage.alarms.raised()]


async def test_an_alarm_is_one_however_often_it_is_raised_and_tells_the_latest(storage: Storage) -> None:
    await storage.alarms.raise_("drift", "t1", "2 cents")
    await storage.alarms.raise_("drift", "t1", "3 cents")
    await storage.alarms.raise_("drift", "t2", "1 cent")
    assert await raised(storage) == [("drift", "t1", "3 cents"), ("drift", "t2", "1 cent")]


async def test_an_alarm_is_cleared_once_and_can_be_raised_again(storage: Storage) -> None:
    assert not await storage.alarms.clear("outage", "stripe")
    await storage.alarms.raise_("outage", "stripe", "no answer")
    assert not await storage.alarms.clear("outage", "somebody else")
    assert await storage.alarms.clear("outage", "stripe")
    assert not await storage.alarms.clear("outage", "stripe")
    assert await raised(storage) == []
    await storage.alarms.raise_("outage", "stripe", "again")
    assert await raised(storage) == [("outage", "stripe", "again")]
