"""`scripts/dev.py`, which has to work before anything is installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("dev", ROOT / "scripts" / "dev.py")
assert spec is not None
assert spec.loader is not None
dev = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dev)


def test_it_needs_nothing_but_the_standard_library() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "scripts" / "dev.py"), "--help"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "python3 scripts/dev.py test" in ended.stdout


def test_an_unknown_command_ends_with_2() -> None:
    ended = subprocess.run([sys.executable, str(ROOT / "scripts" / "dev.py"), "frobnicate"], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_our_own_pins_name_no_place() -> None:
    assert dev.pin_problems((ROOT / "constraints.txt").read_text(), dev.tracked_files()) == []


@pytest.mark.parametrize(
    "line",
    ["stripe @ https://files.example/stripe.whl", "--index-url x", "--extra-index-url x", "--find-links wheels"],
)
def test_a_pin_that_names_a_place_is_found(line: str) -> None:
    assert len(dev.pin_problems(f"stripe==16.1.0\n{line}\n", [])) == 1


def test_a_committed_lock_file_is_found() -> None:
    assert len(dev.pin_problems("", ["uv.lock"])) == 1


def test_every_direct_dependency_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    names = {requirement.split("[")[0].split(">")[0].split("=")[0] for requirement in wanted}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names <= pinned


def test_a_changed_pin_asks_for_a_new_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "constraints.txt").write_text("stripe==16.1.0")
    before = dev.fingerprint()
    assert dev.fingerprint() == before
    (tmp_path / "constraints.txt").write_text("stripe==16.1.1")
    assert dev.fingerprint() != before


def test_the_caller_may_choose_the_number_of_test_processes() -> None:
    assert dev.workers(["-n", "0"]) == []
    assert dev.workers(["-k", "life"])[0] == "-n"
