"""Cursors of lists whose ids are texts: a number that orders the list, and the id of the last row
shown."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from infrastructure.postgres.texts import cleaned
from infrastructure.web.problems import Problem

CURSOR_PATTERN = r"^[0-9]{1,18}~[!-~]{1,512}$"
NUMBER_PATTERN = r"^[0-9]{1,18}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND


def cursor_of(number: int, name: str) -> str:
    """Return the cursor that continues after this row."""
    return f"{number}~{quote(name, safe='')}"


def cursor_at(at: datetime, name: str) -> str:
    """Return the cursor that continues after this row of a list in the order of time."""
    return cursor_of(max(0, (at - _EPOCH) // _MICROSECOND), name)


def number_and_name(cursor: str) -> tuple[int, str]:
    """Return the place of a cursor. Raises Problem for a text that is none."""
    if re.fullmatch(CURSOR_PATTERN, cursor) is None:
        raise not_a_cursor(cursor)
    number, _, name = cursor.partition("~")
    return int(number), cleaned(unquote(name))


def instant_and_name(cursor: str) -> tuple[datetime, str]:
    """Return the place of a cursor in the order of time. Raises Problem for a text that is none."""
    number, name = number_and_name(cursor)
    return _EPOCH + min(number, _MOST) * _MICROSECOND, name


def not_a_cursor(given: str) -> Problem:
    """Return the problem of a text that is no cursor."""
    return Problem(
        "bad_cursor",
        f"{given[:64]!r} is not a cursor of this ledger; send next_cursor as it was answered, or "
        "none for the first page.",
    )
