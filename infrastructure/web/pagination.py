"""Cursors of lists: the place of the last row shown, opaque to callers. Rows that are added later
do not shift a cursor."""

import base64
import binascii
import re
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from infrastructure.web.problems import Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLACE = struct.Struct(">q16s")
CURSOR_PATTERN = r"^A[A-Za-v][A-Za-z0-9_-]{30}$"
"""24 bytes in base64, of which the first 8 are microseconds since 1970, before the year 8820."""


def cursor_at(created_at: datetime, transfer_id: UUID) -> str:
    """Return the cursor that continues after this row."""
    return base64.urlsafe_b64encode(
        _PLACE.pack((created_at - _EPOCH) // _MICROSECOND, transfer_id.bytes)
    ).decode()


def place_of(cursor: str) -> tuple[datetime, UUID]:
    """Return the row after which the list continues. Raises Problem for a text that `cursor_at` did
    not make."""
    try:
        if re.fullmatch(CURSOR_PATTERN, cursor) is None:
            raise ValueError(cursor)
        microseconds, transfer_id = _PLACE.unpack(
            base64.b64decode(cursor, altchars=b"-_", validate=True)
        )
        return _EPOCH + microseconds * _MICROSECOND, UUID(bytes=transfer_id)
    except (ValueError, OverflowError, struct.error, binascii.Error):
        detail = (
            f"{cursor[:64]!r} is not a cursor of this ledger; send next_cursor as it was "
            "answered, or none for the first page."
        )
        raise Problem("bad_cursor", detail) from None
