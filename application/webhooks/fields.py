"""Amounts as events carry them: integers in minor units that the ledger can hold. Anything else makes an event unreadable."""

from typing import Annotated

from pydantic import Field

from domain.money import LARGEST

Amount = Annotated[int, Field(ge=1, le=LARGEST)]
AnyAmount = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
"""Also nothing, and below it."""
