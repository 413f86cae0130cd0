"""The torture of the event store in a small size, and its verdict on planted damage.

The documented run: `transfer-ledger torture --appends 1000000 --restarts 20`.
"""

from array import array
from pathlib import Path

import pytest

from scripts.torture.answers import Answer, Result
from scripts.torture.run import Plan, Server, torture
from scripts.torture.verdict import StoredLog, Verdict, judge

PLAN = Plan(appends=5_000, seed=12, processes=2, appends_per_termination=200)


async def test_tortured_store_loses_and_reorders_nothing(database_url: str, tmp_path: Path) -> None:
    report = await torture(PLAN, Server(database_url), tmp_path)
    assert report["violations"] == 0, report
    acknowledged, terminations = report["acknowledged"], report["terminations"]
    assert isinstance(acknowledged, int)
    assert acknowledged >= PLAN.appends
    assert isinstance(terminations, int)
    assert terminations > 0


STORED, UNKNOWN, ABSENT = (
    Answer(10, 2, Result.STORED, 2, sent=1, answered=2),
    Answer(20, 2, Result.UNKNOWN, 0, sent=3, answered=4),
    Answer(30, 1, Result.ABSENT, 0, sent=5, answered=6),
)
LATER = Answer(40, 1, Result.STORED, 5, sent=7, answered=8)


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ([10, 11, 20, 21, 40], Verdict()),
        ([10, 11, 12, 20, 40], Verdict(never_sent=1, torn=1)),
        ([11, 10, 20, 21, 40], Verdict(lost=1)),
        ([20, 21, 30, 10, 11], Verdict(lost=2, refused_but_stored=1)),
        ([10, 11, 21, 20, 40], Verdict(torn=1)),
        ([10, 11, 20, 21, 40, 40], Verdict(doubled=1)),
    ],
)
def test_verdict_finds_planted_damage(tokens: list[int], found: Verdict) -> None:
    log = StoredLog(array("q", tokens))
    assert judge(log, [STORED, UNKNOWN, ABSENT, LATER]) == found


def test_verdict_finds_an_append_before_an_earlier_one() -> None:
    swapped = [STORED._replace(position=3), LATER._replace(position=1)]
    assert judge(StoredLog(array("q", [40, 10, 11])), swapped) == Verdict(reordered=1)
    at_once = [STORED._replace(position=3), LATER._replace(position=1, sent=0)]
    assert judge(StoredLog(array("q", [40, 10, 11])), at_once) == Verdict()


def test_verdict_finds_a_conflict_with_oneself() -> None:
    own = Answer(50, 1, Result.SELF_CONFLICT, 0, sent=1, answered=2)
    assert judge(StoredLog(), [own]) == Verdict(self_conflicts=1)
