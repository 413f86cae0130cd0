"""Plain English: the words without a referent, and the first lines of docstrings, are counted."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("domain", "application", "projections", "infrastructure", "scripts")
VAGUE = re.compile(r"\b(what|whatever|who|whoever|whose|whom|nobody|somebody)\b", re.IGNORECASE)
WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
VAGUE_START = re.compile(r"(what|how|whether|whoever|who|nobody|somebody|those)\b", re.IGNORECASE)
DOCSTRINGS_AT_MOST, DOCS_AT_MOST = 0.4, 0.5
"""Vague words per 100 words."""


def vague_per_100(texts: list[str]) -> float:
    words = sum(len(WORD.findall(text)) for text in texts)
    return 100 * sum(len(VAGUE.findall(text)) for text in texts) / max(words, 1)


def docstrings(tree: ast.AST) -> Iterator[str]:
    """The docstrings of modules, classes and functions, and the strings that describe an
    attribute."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield text


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_docstrings_have_few_vague_words() -> None:
    texts = [text for path in sources() for text in docstrings(ast.parse(path.read_text()))]
    assert vague_per_100(texts) <= DOCSTRINGS_AT_MOST


def test_docs_have_few_vague_words() -> None:
    texts = [re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL) for path in pages()]
    assert vague_per_100(texts) <= DOCS_AT_MOST


def test_no_docstring_begins_vaguely() -> None:
    begun = [
        f"{path.relative_to(ROOT)}: {text.strip().splitlines()[0]}"
        for path in sources()
        for text in docstrings(ast.parse(path.read_text()))
        if VAGUE_START.match(text.strip())
    ]
    assert begun == []


def test_vague_words_are_counted() -> None:
    assert vague_per_100(["What somebody else took."]) == 50.0
