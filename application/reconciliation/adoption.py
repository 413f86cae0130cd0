"""Adoption of a finding: reads the transfer at Stripe once more, then records its content."""

from typing import Protocol
from uuid import UUID

from application.reconciliation.reader import ReconciliationReader
from domain.errors import LedgerError, NotAdoptable
from domain.finding import DecidedBy, Difference
from domain.provider_call.stripe_objects import TransferAtStripe

ADOPTED, IGNORED = "adopted", "ignored"
"""Outcomes of a decision that was carried out."""


class AdoptCommand(Protocol):
    """The command that records the content of a finding."""

    async def adopt(
        self, transfer_id: UUID, seen: TransferAtStripe, finding_id: str, by: DecidedBy
    ) -> None:
        """Record the content of a finding. Raises NotAdoptable, CallInFlight."""
        ...


async def adopt(
    reader: ReconciliationReader, command: AdoptCommand, difference: Difference, by: DecidedBy
) -> str:
    """Return `adopted`, or the reason why not. Raises StripeSilent.

    The transfer is read again, as the finding may be minutes old.
    """
    shown = await reader.transfer_at_stripe(difference.stripe_transfer_id)
    if shown is None or difference.transfer_id is None:
        return f"cannot be adopted: {difference.obstacle or 'it is not at Stripe any more'}"
    try:
        await command.adopt(difference.transfer_id, shown, difference.id, by)
    except NotAdoptable as refused:
        return f"cannot be adopted: {refused.why}"
    except LedgerError as refused:
        return f"cannot be adopted: {refused}"
    return ADOPTED
