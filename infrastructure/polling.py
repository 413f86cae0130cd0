"""Builds the poller: who can be asked for what webhooks should have told, and why the others cannot."""

from collections.abc import Mapping

import structlog

from application.missed_webhooks.poller import Poller, Times
from application.missed_webhooks.ports import Provider
from application.missed_webhooks.psp import MissedPspEvents
from application.missed_webhooks.stripe_events import MissedStripeEvents
from infrastructure.postgres.circuit_breaker import CircuitBreaker
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.rate_limiter import RateLimiter
from infrastructure.postgres.webhook_polls import Polls
from infrastructure.service import Service
from infrastructure.settings import Settings

PROVIDERS = (MissedStripeEvents.name, MissedPspEvents.name)

log = structlog.get_logger()


def unasked(settings: Settings) -> Mapping[str, str]:
    """The providers that are not asked, each with the names that are not set. Who sends no webhooks here can miss none."""
    needed: Mapping[str, Mapping[str, object]] = {
        MissedStripeEvents.name: {"STRIPE_WEBHOOK_SECRETS": settings.stripe_webhook_secrets},
        MissedPspEvents.name: {
            "HYPERSWITCH_WEBHOOK_SECRETS": settings.hyperswitch_webhook_secrets,
            "HYPERSWITCH_BASE_URL": settings.hyperswitch_base_url,
        },
    }
    unset = {provider: [name for name, value in names.items() if not value] for provider, names in needed.items()}
    return {provider: f"{', '.join(names)} not set" for provider, names in unset.items() if names}


def poller_of(service: Service) -> Poller:
    """The poller of this service's settings; it may have nobody to ask."""
    settings = service.settings
    without = unasked(settings)
    for provider, why in without.items():
        log.info("lost webhooks are not looked for", provider=provider, why=why)
    providers = [_provider(name, service) for name in PROVIDERS if name not in without]
    times = Times(settings.missed_check_interval, settings.missed_grace)
    return Poller(Polls(service.pool), service.inbox, service.alarms, service.clock, providers, times)


def _provider(name: str, service: Service) -> Provider:
    rate_limiter = RateLimiter(service.pool, service.settings.stripe_max_rps)
    if name == MissedStripeEvents.name:
        return MissedStripeEvents(service.gateway, CircuitBreaker(service.pool), rate_limiter)
    assert service.psp is not None, "its URL is set, see `unasked`"
    return MissedPspEvents(service.psp, PostgresDirectory(service.pool), service.inbox, rate_limiter)
