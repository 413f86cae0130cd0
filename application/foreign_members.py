"""Lenient reading of members that belong to others: metadata and references in a provider's
objects.

Shops write metadata in many shapes, and Stripe's specification lets references be null. Such a
member must never make an object unreadable: a text counts, an integer counts as its digits, and any
other value counts as absent.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator


def text_or_none(value: object) -> str | None:
    """Return a text as it is, an integer as its digits, and None for any other value and for an
    empty text."""
    if isinstance(value, bool):  # in Python True is an int
        return None
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and value else None


def texts(value: object) -> dict[str, str]:
    """Return the members of a metadata object that are texts or integers; empty for any other
    value."""
    if not isinstance(value, Mapping):
        return {}
    read = ((name, text_or_none(member)) for name, member in value.items())
    return {str(name): text for name, text in read if text is not None}


def _whole_or_none(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _members(value: object) -> dict[str, object] | None:
    return value if isinstance(value, dict) else None


Text = Annotated[str | None, BeforeValidator(text_or_none)]
"""A text of others; None if it is absent or has another shape."""
Metadata = Annotated[dict[str, str], BeforeValidator(texts)]
"""Metadata of others, without the members that are no texts."""
Whole = Annotated[int | None, BeforeValidator(_whole_or_none)]
"""An integer that is only shown; None for any other value."""
AS_ITEMS = BeforeValidator(_items)
"""Reads any value but a list as an empty list."""
AS_MEMBERS = BeforeValidator(_members)
"""Reads any value but an object as absent."""
