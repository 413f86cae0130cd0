"""Formats of amounts, times and foreign texts in the sentences of the audit trail."""

from datetime import datetime


def money(amount: int, currency: str | None) -> str:
    """Format an amount in minor units, with its currency if that is known."""
    unit = "minor unit" if abs(amount) == 1 else "minor units"
    return f"{amount} {unit} of {currency}" if currency else f"{amount} {unit}"


def at(instant: datetime) -> str:
    """Format an instant in UTC, to the second."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def clause(text: str) -> str:
    """Fit a foreign text into a sentence: on one line, without its full stop."""
    return " ".join(text.split()).rstrip(".")


def aside(text: str | None) -> str:
    """Format a remark in brackets; an empty text without one."""
    return f" ({clause(text)})" if text else ""
