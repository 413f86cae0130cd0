"""The architecture page: each file and function that it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
STEPS = re.findall(r"`([a-z_/]+\.py):([\w.]+)`", PAGE)
FILES = re.findall(
    r"`((?:domain|application|projections|infrastructure|scripts|tests|docs)/[\w/]+\.(?:py|json|md))",
    PAGE,
)
FOLDERS = re.findall(
    r"`((?:domain|application|projections|infrastructure|scripts)/(?:[\w]+/)*)`", PAGE
)


def defined_in(path: str) -> set[str]:
    """The functions, classes and methods of a module, methods as `Class.method`."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{n.name}"
                for n in node.body
                if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


@pytest.mark.parametrize(("path", "name"), sorted(set(STEPS)))
def test_step_of_a_walk_exists(path: str, name: str) -> None:
    assert name in defined_in(path)


def test_named_files_and_folders_exist() -> None:
    missing = [path for path in {*FILES, *FOLDERS} if not (ROOT / path).exists()]
    assert missing == []


def test_page_has_five_walks() -> None:
    walks = PAGE.split("## Five walks")[1].split("\n## ")[0]
    assert walks.count("\n### ") == 5
    assert len(STEPS) > 40
