"""Amounts, times and foreign texts as the pages show them."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote

import orjson
from markupsafe import Markup, escape

from domain.currency import HUNDREDTHS, LEDGER
from infrastructure.visible_text import visible

_AMOUNT = re.compile(r"\b(\d{1,16})(?: minor units? of ([A-Z]{3})\b| ([A-Z]{3}) \(minor units\))")
"""Amounts in minor units, as the sentences of the audit trail and of alarms write them."""
_DECIMAL = re.compile(r"(\d{1,15})(?:\.(\d{1,3}))?", re.ASCII)
_UNITS = ((86_400, "day"), (3_600, "h"), (60, "min"))


def money(amount: int, currency: str | None) -> str:
    """Format an amount in minor units, such as `1,234.50 EUR`."""
    if not currency:
        return f"{amount:,} minor units"
    decimals = LEDGER.get(currency, HUNDREDTHS).decimals
    return f"{Decimal(amount).scaleb(-decimals):,.{decimals}f} {currency}"


def plain(amount: int, currency: str) -> str:
    """Format an amount in minor units as `minor_units` parses it, such as `1234.50`."""
    decimals = LEDGER.get(currency, HUNDREDTHS).decimals
    return f"{Decimal(amount).scaleb(-decimals):.{decimals}f}"


def minor_units(text: str, currency: str) -> int:
    """Parse an amount such as `12.50`. Raises ValueError.

    A comma is refused: it would be a decimal sign to one reader, and divide thousands to another.
    """
    decimals = LEDGER.get(currency, HUNDREDTHS).decimals
    found = _DECIMAL.fullmatch(text.strip())
    if found is None or len(found[2] or "") > decimals:
        example = "12" if decimals == 0 else f"12.{'50'.ljust(decimals, '0')}"
        raise ValueError(
            f"{text[:40]!r} is no amount in {currency}; expected one such as {example}, without "
            "commas."
        )
    return int(found[1] + (found[2] or "").ljust(decimals, "0"))


def moment(value: str | datetime) -> datetime:
    """Return an instant that the API wrote."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def utc(value: str | datetime) -> str:
    """Format an instant in UTC, to the second."""
    return f"{moment(value).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def iso(value: str | datetime) -> str:
    """Format an instant for programs."""
    return moment(value).astimezone(UTC).isoformat()


def ago(value: str | datetime, now: datetime) -> str:
    """Format the distance of an instant, such as `3 min ago` or `in 2 days`."""
    seconds = (now - moment(value)).total_seconds()
    told = span(abs(seconds))
    return f"{told} ago" if seconds >= 0 else f"in {told}"


def span(seconds: float) -> str:
    """Format a time span by its largest unit."""
    for size, unit in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{int(seconds)} s"


def shown(text: object) -> Markup:
    """Show a text from outside: control and direction characters become visible, and its direction
    stays its own."""
    return Markup("<bdi>") + escape(visible(text)) + Markup("</bdi>")


def told(sentence: object) -> Markup:
    """Show a sentence of the audit trail, with its amounts in decimals."""
    return shown(
        _AMOUNT.sub(lambda found: money(int(found[1]), found[2] or found[3]), str(sentence))
    )


def pretty(value: object) -> str:
    """Format JSON over several lines; a text that is no JSON stays as it is."""
    try:
        parsed = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        return _lines(str(value))
    return _lines(orjson.dumps(parsed, option=orjson.OPT_INDENT_2).decode())


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.splitlines())


def path_part(text: object) -> str:
    """Quote an id as one part of a path."""
    return quote(str(text), safe="")
