"""SQL lives in queries/*.sql; each query there starts with a line `-- name: what it is for, in one sentence`."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

DIRECTORY = Path(__file__).with_name("queries")
HEADING = re.compile(r"^-- (\w+): .+$", re.MULTILINE)


@cache
def queries(topic: str) -> Mapping[str, bytes]:
    """The queries of queries/{topic}.sql by name, as bytes: what psycopg accepts from outside the program's text."""
    _, *parts = HEADING.split((DIRECTORY / f"{topic}.sql").read_text())
    return {name: text.strip().rstrip(";").encode() for name, text in zip(parts[::2], parts[1::2], strict=True)}
