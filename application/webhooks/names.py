"""Names in webhooks: bounded where they are read, so that none breaks a column, an index or a
request to Stripe later."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from application.foreign_members import text_or_none

LONGEST_NAME = 255

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id that becomes metadata of a reversal. Stripe takes 500 characters there; a longer one would
block all later reversals."""


def possible_name(value: object) -> str | None:
    """Return a text that can be an id of ours, an integer as its digits, and None for any other
    value; the webhook then counts by its other names."""
    text = text_or_none(value)
    return text if text is not None and is_possible(text) else None


def is_possible(name: str) -> bool:
    """Return whether a text can be an id of an order or payment."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()


PossibleName = Annotated[str | None, BeforeValidator(possible_name)]
"""An id of ours in metadata, or None."""
