"""Text from outside as it is shown to a person: visible, on one line, and without effect on the
program that shows it."""

import re
from collections.abc import Iterable, Mapping

_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: a terminal obeys them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they change the direction of the text
    "\u200b-\u200d\u2060\ufeff"  # they have no width
    "\u2028\u2029"  # they begin a new line
    "\ud800-\udfff]"  # no characters at all
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters with which a spreadsheet takes a cell of a CSV file for a formula."""


def visible(text: object) -> str:
    """Return the text with each control, direction, or invisible character written as an escape,
    such as `\\x1b`."""
    return _INVISIBLE.sub(lambda found: _escape(ord(found.group())), str(text))


def _escape(point: int) -> str:
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"


def csv_cells(row: Mapping[str, object], texts: Iterable[str]) -> dict[str, object]:
    """Return a row of a CSV file whose columns `texts` cannot be formulas: an apostrophe makes a
    spreadsheet read a cell as text (OWASP, "CSV Injection")."""
    return {**row, **{name: _cell(row[name]) for name in texts if row.get(name) is not None}}


def _cell(value: object) -> str:
    text = str(value)
    return f"'{visible(text)}" if text.startswith(_FORMULA) else visible(text)
