"""Amounts in webhooks: integers in minor units that the ledger can store. Any other value makes a
webhook unreadable."""

from typing import Annotated

from pydantic import Field

from domain.money import LARGEST

Amount = Annotated[int, Field(ge=1, le=LARGEST)]
AnyAmount = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
"""Zero and negative amounts included."""
