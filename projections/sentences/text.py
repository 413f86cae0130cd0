"""How amounts, ids, instants and other people's words are written in the sentences of the audit trail."""

from datetime import datetime


def money(amount: int, currency: str | None) -> str:
    """An amount in minor units, with its currency where that is known."""
    unit = "minor unit" if abs(amount) == 1 else "minor units"
    return f"{amount} {unit} of {currency}" if currency else f"{amount} {unit}"


def at(instant: datetime) -> str:
    """An instant in UTC, to the second."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def clause(text: str) -> str:
    """Somebody else's words as a part of our sentence: on one line, without their full stop."""
    return " ".join(text.split()).rstrip(".")


def aside(text: str | None) -> str:
    """A remark in brackets after what it belongs to; nothing without one."""
    return f" ({clause(text)})" if text else ""
