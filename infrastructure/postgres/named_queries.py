"""Named SQL queries, read from queries/*.sql; each query begins with a line `-- name: its purpose
in one sentence`."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

DIRECTORY = Path(__file__).with_name("queries")
HEADING = re.compile(r"^-- (\w+): .+$", re.MULTILINE)


@cache
def queries(topic: str) -> Mapping[str, bytes]:
    """Return the queries of queries/{topic}.sql by name; as bytes, since psycopg accepts only
    literals as str."""
    _, *parts = HEADING.split((DIRECTORY / f"{topic}.sql").read_text())
    return {
        name: text.strip().rstrip(";").encode()
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
