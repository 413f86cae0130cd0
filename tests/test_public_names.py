"""Names that users of the ledger rely on, compared with the list in public_names.json.

A name that is missing breaks a marketplace's code, a stored database or a dashboard. A new name is
added to the list: `DATABASE_URL=<a migrated database> python -m tests.test_public_names`.
"""

import json
import os
from pathlib import Path

import psycopg
import typer
from eventsourcing.utils import (
    _topic_cache as registered_topics,
)  # the library has no public list of them
from typer.core import TyperGroup

from domain.fact import Fact
from infrastructure.web import openapi
from infrastructure.web.routes import OPERATIONS
from scripts.cli import app

EXPECTED = Path(__file__).with_name("public_names.json")
ENVIRONMENT = Path(__file__).parent.parent / ".env.template"


def facts_by_topic() -> dict[str, list[str]]:
    """List every stored topic with the fields of its fact. Facts that tests make up are left
    out."""
    kinds = {
        topic: kind for topic, kind in registered_topics.items() if topic.startswith("ledger.")
    }
    facts = {
        topic: kind
        for topic, kind in sorted(kinds.items())
        if isinstance(kind, type)
        and issubclass(kind, Fact)
        and kind.__module__.startswith("domain.")
    }
    return {topic: sorted(vars(kind)["__dataclass_fields__"]) for topic, kind in facts.items()}


def commands() -> dict[str, list[str]]:
    """List every command of the command line with its parameters."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    found: dict[str, list[str]] = {}
    for name in group.list_commands(typer.Context(group)):
        command = group.get_command(typer.Context(group), name)
        inner = (
            {f"{name} {n}": c for n, c in command.commands.items()}
            if isinstance(command, TyperGroup)
            else {name: command}
        )
        for path, one in inner.items():
            assert one is not None
            found[path] = sorted(
                option for p in one.params for option in (p.opts + p.secondary_opts)
            )
    return found


def http_interface() -> dict[str, list[str]]:
    """List every call with its query parameters, and every schema with its members."""
    document = openapi.document(OPERATIONS)
    calls = {
        f"{method.upper()} {path}": sorted(p["name"] for p in call.get("parameters", []))
        for path, item in document["paths"].items()
        for method, call in item.items()
    }
    schemas = {
        f"schema {name}": sorted(schema.get("properties", {}))
        for name, schema in document["components"]["schemas"].items()
    }
    return calls | schemas


def settings_names() -> list[str]:
    """List every variable of `.env.template`."""
    lines = (line.lstrip("# ") for line in ENVIRONMENT.read_text().splitlines())
    return sorted(
        {
            line.partition("=")[0]
            for line in lines
            if "=" in line and line.partition("=")[0].isupper()
        }
    )


def tables(database_url: str) -> dict[str, list[str]]:
    """List every table with its columns, and every constraint with its table."""
    with psycopg.connect(database_url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = "
            "'public' ORDER BY 1, 2"
        ).fetchall()
        constraints = connection.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND contype = 'c' ORDER BY 1, 2"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for table, name in columns:
        found.setdefault(table, []).append(name)
    for table, name in constraints:
        found.setdefault(f"constraints of {table}", []).append(name)
    return found


def public_names(database_url: str) -> dict[str, object]:
    return {
        "facts": facts_by_topic(),
        "commands": commands(),
        "http": http_interface(),
        "environment": settings_names(),
        "database": tables(database_url),
    }


def test_public_names_match_the_recorded_list(database_url: str) -> None:
    assert public_names(database_url) == json.loads(EXPECTED.read_text())


if __name__ == "__main__":
    names = public_names(os.environ["DATABASE_URL"])
    EXPECTED.write_text(json.dumps(names, indent=1, ensure_ascii=False) + "\n")
