"""Options that several commands share, the environment's settings, and checks of option values."""

import os
import re
from datetime import UTC, date, datetime, time
from typing import Annotated

import typer

from infrastructure.redaction import protect
from infrastructure.settings import Settings, settings_from
from scripts.exit_codes import fail

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
TransferName = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Id of the transfer, here or at Stripe; or of its order or refund, if only one "
        "transfer can be meant.",
    ),
]
Actor = Annotated[
    str, typer.Option(help="Person or program that decides; stays in the audit trail.")
]
Reason = Annotated[str, typer.Option(help="Reason of the decision; stays in the audit trail.")]


def read_settings() -> Settings:
    """Read and check the settings of the environment, and keep their secrets out of all messages.
    Raises BadSetting."""
    settings = settings_from(os.environ)
    protect(settings.secrets)
    return settings


def instant_of(option: str, text: str) -> datetime:
    """Parse an instant with its time zone, or a date, which means its midnight in UTC; or exit
    with 2."""
    try:
        if DATE.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} is {text!r}; expected an instant such as 2026-11-20T12:00:00Z, or a date.")
    if instant.tzinfo is None:
        fail(f"{option} is {text!r}, without a time zone; add Z for UTC.")
    return instant


def require_text(**options: str) -> None:
    """Exit with 2 when an option of the audit trail is empty, or when `actor` names Stripe."""
    empty = [f"--{name}" for name, value in options.items() if not value.strip()]
    if empty:
        fail(f"{' and '.join(empty)} must not be empty: it stays in the audit trail.")
    if options["actor"].lower().startswith("stripe:"):
        fail(
            f"--actor is {options['actor']!r}; stripe: is reserved for evidence from Stripe, "
            "name a person or a program."
        )


def require_one_of(option: str, value: str | None, choices: tuple[str, ...]) -> None:
    """Exit with 2 when a given value is not among the choices."""
    if value is not None and value not in choices:
        fail(f"{option} is {value!r}; expected one of {', '.join(choices)}.")
