"""Reading at Stripe what a person offers as evidence, before it may resolve anything."""

from uuid import UUID

from application.commands.orders import TransferLedger
from application.gateways import TransferGateway
from domain.errors import EvidenceDiffers, StripeSilent
from domain.provider_call.outcome import LookUpFailed, NotAtStripe
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer

TRANSFER, REVERSAL = "tr_", "trr_"


async def resolve(
    ledger: TransferLedger, gateway: TransferGateway, transfer_id: UUID, actor: str, reason: str, evidence: str
) -> None:
    """End what is stuck. `evidence` is a Stripe object (`tr_…`, `trr_…`), which is read first, or where it is written.

    Raises UnknownId, CallInFlight, NothingToResolve, EvidenceDiffers, StripeSilent.
    """
    transfer = await ledger.transfer(transfer_id)
    named = _named(transfer.stripe_transfer_id, evidence)
    seen = await _read(gateway, named, evidence) if named is not None else None
    if seen is not None and transfer.stripe_transfer_id is None:
        seen = await _fit_to_pay(ledger, transfer, seen)
    await ledger.resolve(transfer_id, actor, reason, evidence, seen)


def _named(known: str | None, evidence: str) -> str | None:
    """The transfer at Stripe that has to be read for this evidence."""
    if evidence.startswith(REVERSAL) and known is None:
        raise EvidenceDiffers(evidence, "cannot be read, since the transfer's own Stripe id is missing: backfill that first")
    return known if evidence.startswith(REVERSAL) else evidence if evidence.startswith(TRANSFER) else None


async def _fit_to_pay(ledger: TransferLedger, transfer: SellerTransfer, seen: TransferAtStripe) -> TransferAtStripe:
    """One object pays one transfer. What an older system made may bear a name of that system, which says nothing here."""
    if seen.transfer_id == str(transfer.id):
        return seen
    if await ledger.is_claimed(seen):
        raise EvidenceDiffers(seen.stripe_transfer_id, "belongs to another transfer of this ledger")
    return seen._replace(transfer_id=None) if transfer.imported else seen


async def _read(gateway: TransferGateway, stripe_transfer_id: str, evidence: str) -> TransferAtStripe:
    try:
        return await gateway.get_transfer(stripe_transfer_id)
    except NotAtStripe as absent:
        raise EvidenceDiffers(evidence, f"is not at Stripe under this key ({absent})") from None
    except LookUpFailed as unread:
        raise StripeSilent(evidence, str(unread)) from None
