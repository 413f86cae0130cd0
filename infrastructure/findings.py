"""Decisions about findings of the last reconciliation, for the web: adopt, ignore."""

from application.rate_limited_stripe import RateLimitedStripe
from application.reconciliation.reader import transfer_at_stripe
from domain.errors import NotAdoptable, UnknownId
from domain.finding import DecidedBy, Difference
from infrastructure.postgres.found_differences import difference_named
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.service import Service


async def adopt_finding(service: Service, finding_id: str, by: DecidedBy) -> None:
    """Record the content of a finding, after reading the transfer at Stripe once more.

    Raises UnknownId, NotAdoptable, CallInFlight, StripeSilent.
    """
    found = await _known(service, finding_id)
    if found.transfer_id is None or found.obstacle is not None:
        raise NotAdoptable(finding_id, found.obstacle or "no transfer of the ledger belongs to it")
    limiter = PostgresRateLimiter(service.pool, service.settings.stripe_max_rps)
    stripe = RateLimitedStripe(service.gateway, limiter)
    shown = await transfer_at_stripe(stripe, found.stripe_transfer_id)
    if shown is None:
        raise NotAdoptable(finding_id, "it is not at Stripe any more")
    await service.commands.reconciliation.adopt(found.transfer_id, shown, finding_id, by)


async def ignore_finding(service: Service, finding_id: str, by: DecidedBy) -> bool:
    """Accept a finding until its amounts change; return whether that is news. Raises UnknownId."""
    return await service.commands.reconciliation.ignore(await _known(service, finding_id), by)


async def _known(service: Service, finding_id: str) -> Difference:
    found = await difference_named(service.pool, finding_id)
    if found is None:
        raise UnknownId("finding", finding_id)
    return found
