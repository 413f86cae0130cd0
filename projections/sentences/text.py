"""Formats of amounts, times and foreign texts in the sentences of the audit trail."""

from datetime import datetime

from domain.currency import in_major_units
from domain.identity import DISPUTE


def money(amount: int, currency: str | None) -> str:
    """Format an amount, such as `75.00 EUR`; in minor units if its currency is unknown."""
    if currency:
        return in_major_units(amount, currency)
    return f"{amount} {'minor unit' if abs(amount) == 1 else 'minor units'}"


def at(instant: datetime) -> str:
    """Format an instant in UTC, to the second."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def clause(text: str) -> str:
    """Fit a foreign text into a sentence: on one line, without its full stop."""
    return " ".join(text.split()).rstrip(".")


def aside(text: str | None) -> str:
    """Format a remark in brackets; an empty text without one."""
    return f" ({clause(text)})" if text else ""


def cause(cause_id: str | None) -> str:
    """Name the refund or dispute with this id in the middle of a sentence."""
    if not cause_id:
        return "a cause without a refund"
    dispute_id = cause_id.removeprefix(DISPUTE)
    return f"dispute {dispute_id!r}" if dispute_id != cause_id else f"refund {cause_id!r}"


def begin(text: str) -> str:
    """Begin a sentence with this text."""
    return text[:1].upper() + text[1:]
