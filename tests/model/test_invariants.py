"""Invariants of the formal model (docs/model.md), explored exhaustively by its own script. They need
node; only the comparison with Quint's parser needs Quint, which is never downloaded here."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest

MODEL = Path(__file__).parents[2] / "model"
NODE = shutil.which("node")
QUINT = MODEL / "node_modules" / "@informalsystems" / "quint"
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def explore(*arguments: str) -> CompletedProcess[str]:
    assert NODE is not None
    return subprocess.run(
        [NODE, "explore.mjs", *arguments], cwd=MODEL, capture_output=True, text=True, check=False
    )


@needs_node
def test_each_rule_of_the_model_holds_and_is_needed() -> None:
    """With all rules, every state is safe and every run ends; without one of them, the shortest run
    that loses money is found."""
    explored = explore("--quick", "--json")
    assert explored.stderr == ""
    cases = json.loads(explored.stdout)
    wrong = [case["name"] for case in cases if not case["expected"]]
    assert not wrong, f"run `node explore.mjs {wrong[0]}` in model/"
    assert any(case["safe"] for case in cases)
    assert any(case["counterexample"] for case in cases)


def test_parsed_model_belongs_to_its_text() -> None:
    sources = json.loads((MODEL / "parsed.json").read_text())["sources"]
    assert sources == {
        file: hashlib.sha256((MODEL / file).read_bytes()).hexdigest() for file in sources
    }, "run `node explore.mjs --parse` in model/"


@needs_node
@pytest.mark.skipif(not QUINT.exists(), reason="Quint is not installed: `npm ci` in model/")
def test_parsed_model_is_quints_parse_tree() -> None:
    assert explore("--check").stderr == ""
