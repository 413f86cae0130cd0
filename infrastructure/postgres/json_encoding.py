"""JSON as it goes to PostgreSQL: encoded once, by whoever submits it, and only joined afterwards."""

from collections.abc import Iterable, Mapping

import orjson
from psycopg.types.json import Json


def encode(value: object) -> bytes:
    """NamedTuples become objects; uuids, enums and datetimes (RFC 3339) are understood.

    Raises TypeError (orjson.JSONEncodeError) for anything else, such as a lone surrogate or an integer above 64 bits.
    """
    return orjson.dumps(value, default=_named_tuple)


def members(values: Iterable[object]) -> bytes:
    """The members of a JSON array without its brackets, to be joined with others."""
    return b",".join(map(encode, values))


def array(parts: Iterable[bytes]) -> bytes:
    """A JSON array of parts that were encoded before; empty parts have no members."""
    return b"[" + b",".join(filter(None, parts)) + b"]"


def record(arrays: Mapping[str, bytes]) -> bytes:
    """A JSON object of values that were encoded before."""
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in arrays.items()) + b"}"


def parameter(encoded: bytes) -> Json:
    """A query parameter of type json."""
    return Json(encoded, dumps=_as_it_is)


def _as_it_is(encoded: bytes) -> bytes:
    return encoded


def _named_tuple(value: object) -> object:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    raise TypeError(f"{type(value).__name__} has no place in a row; expected a NamedTuple or plain JSON values")
