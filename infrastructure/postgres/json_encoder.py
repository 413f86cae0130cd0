"""JSON for PostgreSQL: each caller encodes its part once; a group only joins the parts."""

from collections.abc import Iterable, Mapping

import orjson
from psycopg.types.json import Json


def encode(value: object) -> bytes:
    """Encode a value; NamedTuples become objects, and uuids, enums and datetimes (RFC 3339) are
    supported.

    Raises TypeError (orjson.JSONEncodeError) for anything else, such as a lone surrogate or an
    integer above 64 bits.
    """
    return orjson.dumps(value, default=_named_tuple)


def members(values: Iterable[object]) -> bytes:
    """Encode values as members of a JSON array, without its brackets; `array` joins several such
    parts."""
    return b",".join(map(encode, values))


def array(parts: Iterable[bytes]) -> bytes:
    """Join encoded parts to a JSON array; empty parts have no members."""
    return b"[" + b",".join(filter(None, parts)) + b"]"


def record(arrays: Mapping[str, bytes]) -> bytes:
    """Join encoded values to a JSON object."""
    return (
        b"{"
        + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in arrays.items())
        + b"}"
    )


def parameter(encoded: bytes) -> Json:
    """Make a query parameter of type json."""
    return Json(encoded, dumps=_as_it_is)


def _as_it_is(encoded: bytes) -> bytes:
    return encoded


def _named_tuple(value: object) -> object:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    raise TypeError(
        f"A row cannot have a {type(value).__name__}; expected a NamedTuple or plain JSON values."
    )
