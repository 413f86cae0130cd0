"""Generated documentation is up to date, and links within the repository lead to files and headings."""

import json
import re
from pathlib import Path

import pytest

from scripts.documentation import outdated
from scripts.http_reference import reference

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_generated_parts_are_up_to_date() -> None:
    assert outdated() == [], "run `python3 scripts/dev.py docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(page.read_text()):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            dead.append(target)
    assert dead == []


def test_facts_of_the_sequence_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    (drawn,) = re.findall(r"^sequenceDiagram\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    facts = json.loads((ROOT / "tests" / "public_names.json").read_text())["facts"]
    known = {name.rsplit(".", 1)[1].replace("_", "") for name in facts}
    notes = re.findall(r"Note over DB: (.*)", drawn)
    named = {
        word for note in notes for word in re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", note)
    }
    assert [word for word in named if word.lower() not in known] == []
    assert {"ReversalRequested", "CallStarted", "Reversed"} <= named


def test_reference_describes_parameters_models_and_problems() -> None:
    problem = {"description": "`not_found`: Not found; `unauthorized`: A token is needed"}
    seen = {
        "summary": "Show a thing.",
        "tags": ["things"],
        "parameters": [
            {"name": "as_of", "in": "query", "description": "a | b",
             "schema": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}},
        ],
        "responses": {
            "200": {"description": "Success.", "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
            "404": problem,
        },
    }  # fmt: skip
    other = {"summary": "List.", "responses": {"401": {"description": "`unauthorized`: A token"}}}
    thing = {
        "properties": {"kind": {"enum": ["a", "b"], "description": "Its kind."}},
        "required": ["kind"],
    }
    page = reference({
        "paths": {"/v1/things": {"get": other}, "/v1/things/{id}": {"get": seen}},
        "components": {"schemas": {"Thing": thing}},
    })  # fmt: skip
    assert "| `as_of` | query | time or null | a \\| b |" in page
    assert "- 200: [Thing](#thing)" in page
    assert "- 404: `not_found`\n" in page
    assert "| `kind` | `a`, `b` | Its kind. |" in page
