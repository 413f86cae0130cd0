"""The type of JSON objects in tests."""

from typing import Any

Json = dict[str, Any]
"""A JSON object. Tests compare its members with literals, so the types of the members stay open."""
