"""The mutation testing itself: its mutants, its sample, and one short run."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.mutation.mutants import mutants
from tests.mutation.report import EQUIVALENT, report
from tests.mutation.run import ROOT, chosen

SOURCE = '''
LIMIT = 3


def pay(amount: int, fee: int = 0) -> int:
    """Return 1 less."""
    if amount < 1 and fee is not None:
        raise ValueError("too little")
    return min(amount - fee, LIMIT)
'''
RUN = {
    "domain/backoff.py:next_delay: retry_count < 0 => retry_count <= 0": "killed",
    "domain/backoff.py:next_delay: raise ValueError => pass": "killed",
    "domain/money.py:currency: upper not in CURRENCIES => upper in CURRENCIES": "untested",
}


def test_mutants_are_small_faults_with_names(tmp_path: Path) -> None:
    (tmp_path / "pay.py").write_text(SOURCE)
    assert [mutant.key.removeprefix("pay.py:") for mutant in mutants(tmp_path, "pay.py")] == [
        "module: 3 => 4",
        "module: 0 => 1",
        "pay: amount < 1 and fee is not None => amount < 1 or fee is not None",
        "pay: amount < 1 and fee is not None => fee is not None",
        "pay: amount < 1 and fee is not None => amount < 1",
        "pay: amount < 1 => amount <= 1",
        "pay: 1 => 2",
        "pay: fee is not None => fee is None",
        "pay: raise ValueError => pass",
        "pay: return min(amount - fee, LIMIT) => return",
        "pay: min(amount - fee, LIMIT) => max(amount - fee, LIMIT)",
        "pay: amount - fee => amount + fee",
    ]


def test_sample_has_each_module_and_the_whole_of_some() -> None:
    every = [*mutants(ROOT, "domain/allocation.py"), *mutants(ROOT, "domain/dispute.py")]
    size = Counter(mutant.path for mutant in every)
    sample = chosen(every, 0.25, 7, ("domain/allocation.py",))
    found = Counter(mutant.path for mutant in sample)
    assert found["domain/allocation.py"] == size["domain/allocation.py"]
    assert found["domain/dispute.py"] == -(-size["domain/dispute.py"] // 4)
    assert [m.key for m in chosen(every, 0.25, 7)] == [m.key for m in chosen(every, 0.25, 7)]
    assert len({mutant.key for mutant in every}) == len(every)


def test_run_catches_what_tests_see_and_reports_the_rest(tmp_path: Path) -> None:
    keys, out = tmp_path / "keys", tmp_path / "results.jsonl"
    keys.write_text("\n".join(RUN))
    command = [
        "-m",
        "tests.mutation",
        str(out),
        "--keys",
        str(keys),
        "tests/domain/test_backoff.py",
    ]
    subprocess.run(
        [sys.executable, *command], cwd=ROOT, check=True, capture_output=True, timeout=120
    )
    results = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["key"]: line["result"] for line in results} == RUN
    assert next(report(out)) == "all: 2 of 3 caught (66.7%)"


def test_equivalent_mutants_exist_and_have_a_reason() -> None:
    paths = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "domain").rglob("*.py"))
    every = {mutant.key for path in paths for mutant in mutants(ROOT, path)}
    listed = [line.split("\t") for line in EQUIVALENT.read_text().splitlines()]
    assert [key for key, _ in listed if key not in every] == []
    assert all(reason.endswith(".") for _, reason in listed)
