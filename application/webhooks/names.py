"""Names in webhooks: bounded where they are read, so that none breaks a column, an index or a
request to Stripe later."""

from typing import Annotated

from pydantic import BeforeValidator, Field

LONGEST_NAME = 255

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id that becomes metadata of a reversal. Stripe takes 500 characters there; a longer one would
block all later reversals."""


def possible_name(value: object) -> object:
    """Return None for a text that cannot be an id of ours; the webhook then counts by its other
    names. Any other value stays as it is."""
    return None if isinstance(value, str) and not is_possible(value) else value


def is_possible(name: str) -> bool:
    """Return whether a text can be an id of an order or payment."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()


PossibleName = Annotated[str | None, BeforeValidator(possible_name)]
"""An id of ours in metadata, or None."""
