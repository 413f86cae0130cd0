"""Generated parts of the documentation: docs/http-api.md, the diagram in docs/lifecycle.md,
deploy/rights.sql and llms.txt. `dev.py docs` writes them, and a test compares them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from domain.lifecycle import ALLOWED_TRANSITIONS, OPERATOR_TRANSITIONS
from infrastructure.web.openapi import document
from infrastructure.web.routes import OPERATIONS
from scripts.http_reference import reference

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- life cycle: written by `dev.py docs` -->", "<!-- end of the life cycle -->"
RIGHTS = re.compile(r"^```sql\n(-- owner, .*?)^```", re.DOTALL | re.MULTILINE)
ROW = re.compile(
    r"^\| \[(?P<title>[^\]]+)\]\((?P<path>[^)]+)\) \| (?P<content>[^|]+) \|", re.MULTILINE
)


def generated() -> Mapping[str, str]:
    """Return the content of each generated file by its path, made from the present sources."""
    guide = (ROOT / "docs" / "deployment.md").read_text()
    (rights,) = RIGHTS.findall(guide)
    lifecycle = (ROOT / "docs" / "lifecycle.md").read_text()
    before, rest = lifecycle.split(BEGIN)
    after = rest.split(END)[1]
    return {
        "docs/http-api.md": reference(document(OPERATIONS)),
        "docs/lifecycle.md": f"{before}{BEGIN}\n{state_diagram()}{END}{after}",
        "deploy/rights.sql": rights,
        "llms.txt": index_for_machines(),
    }


def state_diagram() -> str:
    """Draw the life cycle of a transfer as a Mermaid diagram."""
    lines = ["    [*] --> pending"]
    for table, label in ((ALLOWED_TRANSITIONS, ""), (OPERATOR_TRANSITIONS, " : retry by a person")):
        lines += [
            f"    {status} --> {after}{label}"
            for status, following in table.items()
            for after in sorted(following)
        ]
    lines += [f"    {status} --> [*]" for status in _ends()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def _ends() -> Iterator[str]:
    for status, after in ALLOWED_TRANSITIONS.items():
        if not after and status not in OPERATOR_TRANSITIONS:
            yield status


def index_for_machines() -> str:
    """List the pages of the documentation in the form of llmstxt.org."""
    readme = (ROOT / "README.md").read_text()
    index = (ROOT / "docs" / "README.md").read_text()
    summary = " ".join(readme.split("\n\n")[1].split())
    pages = [
        f"- [{row['title']}]({_from_root(row['path'])}): {row['content'].strip()}"
        for row in ROW.finditer(index)
    ]
    return "\n".join(
        [
            "# transfer-ledger",
            "",
            f"> {summary}",
            "",
            "Start with the README, then the architecture. Amounts are integers in minor units. "
            "The running service describes its HTTP interface at `/openapi.json`.",
            "",
            "## Docs",
            "",
            "- [README](README.md): how to run and use the ledger",
            *pages,
            "- [Settings](.env.template): each setting with its meaning and default",
            "",
        ]
    )


def _from_root(path: str) -> str:
    return path.removeprefix("../") if path.startswith("../") else f"docs/{path}"


def outdated() -> Sequence[str]:
    """Return the paths of generated files that differ from their sources."""
    return [
        path
        for path, content in generated().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text() != content
    ]


if __name__ == "__main__":
    for path in outdated():
        (ROOT / path).write_text(generated()[path])
        print(f"written: {path}")
