"""Script `scripts/dev.py`, which has to work before any package is installed."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def script_of(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", root / "scripts" / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


dev = script_of(ROOT)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Create the files that dev.py needs, and a program that prints its process id and
    arguments."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/dev.py", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "scripts" / "__main__.py").write_text(
        "import os, sys\nprint(os.getpid(), *sys.argv[1:])\nsys.exit(7)\n"
    )
    return tmp_path


def complete_set_up(clone: Path) -> None:
    venv.create(clone / ".venv", symlinks=True)
    script_of(clone).write_stamp("embedded,test")


def run(
    clone: Path, *arguments: str, **environment: str
) -> tuple[int, subprocess.CompletedProcess[str]]:
    command = [sys.executable, str(clone / "scripts" / "dev.py"), *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        out, err = process.communicate(timeout=60)
    return process.pid, subprocess.CompletedProcess(command, process.returncode, out, err)


def test_complete_setup_is_not_repeated(clone: Path) -> None:
    complete_set_up(clone)
    pid, ended = run(clone, "serve", "--look-up-first")
    assert (ended.stderr, ended.stdout, ended.returncode) == (
        "",
        f"{pid} serve --look-up-first\n",
        7,
    )


@pytest.mark.parametrize("moved", [False, True])
def test_failed_or_moved_setup_never_looks_complete(clone: Path, moved: bool) -> None:
    complete_set_up(clone)
    if moved:
        clone = clone.rename(clone.with_name("elsewhere"))
    else:
        (clone / "constraints.txt").write_text("stripe==0")
    for _ in range(2):
        _, ended = run(
            clone, "serve", PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX="1", PIP_FIND_LINKS=""
        )
        assert ended.returncode == 2
        assert "pip could not install what is needed" in ended.stderr


def test_old_pythons_can_parse_the_version_check() -> None:
    ast.parse((ROOT / "scripts" / "dev.py").read_text(), feature_version=(3, 8))


def test_script_needs_only_the_standard_library() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "scripts" / "dev.py"), "--help"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "python3 scripts/dev.py test" in ended.stdout


def test_unknown_command_exits_with_2() -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "dev.py"), "frobnicate"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_pins_name_no_place() -> None:
    assert dev.pin_problems((ROOT / "constraints.txt").read_text(), dev.tracked_files()) == []


@pytest.mark.parametrize(
    "line",
    [
        "stripe @ https://files.example/stripe.whl",
        "--" + "index-url x",
        "--" + "extra-index-url x",
        "--" + "find-links wheels",
    ],
)
def test_pin_that_names_a_place_is_found(line: str) -> None:
    assert len(dev.pin_problems(f"stripe==16.1.0\n{line}\n", [])) == 1


def test_committed_lock_file_is_found() -> None:
    assert len(dev.pin_problems("", ["uv.lock"])) == 1


def test_every_direct_dependency_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        name for extra in project["optional-dependencies"].values() for name in extra
    ]
    names = {requirement.split("[")[0].split(">")[0].split("=")[0] for requirement in wanted}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names <= pinned


def test_changed_pin_triggers_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "constraints.txt").write_text("stripe==16.1.0")
    before = dev.fingerprint()
    assert dev.fingerprint() == before
    (tmp_path / "constraints.txt").write_text("stripe==16.1.1")
    assert dev.fingerprint() != before


def test_caller_may_choose_the_number_of_processes() -> None:
    assert dev.workers(["-n", "0"]) == []
    assert dev.workers(["-k", "life"])[0] == "-n"


def test_fast_tests_exist_and_replace_the_option() -> None:
    paths = [argument for argument in dev.FAST if argument.startswith("tests/")]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert dev.pytest_arguments(["-n0", "--fast", "-x"]) == ["-n0", *dev.FAST, "-x"]
