"""Type of JSON objects that a test indexes into without checking their members."""

from typing import Any

Json = dict[str, Any]
