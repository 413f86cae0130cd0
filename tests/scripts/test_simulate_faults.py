"""Command `simulate-faults`: its report, its story and its exit codes."""

import json
import os
import subprocess
import sys

import pytest

from infrastructure.simulation.faults.coverage import required
from infrastructure.simulation.in_memory.inbox import MemoryInbox
from scripts.commands.simulate_faults import simulate_faults
from scripts.exit_codes import FOUND


def story(seed: int, hash_seed: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "scripts", "simulate-faults", "--seed", str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ended.stderr == ""
    return ended.stdout


@pytest.fixture
def broken_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: MemoryInbox, *arguments: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(MemoryInbox, "claim", fail)


def test_same_seed_tells_the_same_story_in_every_process() -> None:
    told = story(4, "1")
    assert story(4, "2") == told
    assert len(told.splitlines()) > 20
    assert "HEALING begins" in told


def test_report_names_schedules_violations_speed_and_coverage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert simulate_faults(seed=3, schedules=2, json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["schedules"], shown["violations"]) == (2, [])
    assert shown["schedules_per_s"] > 0
    assert shown["coverage"].keys() >= set(required())
    assert shown["rare"] == {n: 0 for n in required() if not shown["coverage"][n]}


def test_nightly_run_fails_if_a_state_is_never_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate_faults(seed=3, require_coverage=1) == FOUND
    assert " 0 times: " in capsys.readouterr().out


@pytest.mark.usefixtures("broken_inbox")
def test_violation_is_told_and_exit_code_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate_faults(seed=3) == FOUND
    assert "violation: no_error_of_the_program: KeyError" in capsys.readouterr().out
    assert simulate_faults(seed=3, json=True) == FOUND
    (found,) = json.loads(capsys.readouterr().out)["violations"]
    assert found["seed"] == 3
    assert found["replay"] == "transfer-ledger simulate-faults --seed 3"
    assert "planted" in found["violations"][0]
