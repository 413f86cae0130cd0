"""Choice of Stripe and the PSP by the settings: real ones, simulators at a URL, or the built-in
simulators."""

import asyncio
import hashlib
import secrets
from contextlib import AsyncExitStack
from typing import NamedTuple

import structlog

from infrastructure.settings import PSP_SIMULATOR_KEY, SIMULATOR_KEY, STRIPE, Settings
from infrastructure.simulators.builtin import BuiltinSimulators, Urls
from infrastructure.simulators.hyperswitch import HyperswitchControl

log = structlog.get_logger()


class Providers(NamedTuple):
    """Keys and base URLs. `psp_url` None: no PSP. `psp_builtin`: the PSP is the built-in simulator,
    which takes a webhook URL."""

    stripe_key: str
    stripe_url: str
    psp_key: str = PSP_SIMULATOR_KEY
    psp_url: str | None = None
    psp_builtin: bool = False


async def providers(settings: Settings, stack: AsyncExitStack) -> Providers:
    """Return the providers. Without keys and URLs: the built-in simulators, one process per
    database. Raises SimulatorNotStarted."""
    if settings.is_builtin:
        urls = await _builtin(settings, stack)
        psp_url = settings.hyperswitch_base_url
        return Providers(
            SIMULATOR_KEY,
            urls.stripe,
            _psp_key(settings),
            psp_url or urls.psp,
            psp_builtin=psp_url is None,
        )
    stripe_key = settings.stripe_api_key or SIMULATOR_KEY
    return Providers(
        stripe_key,
        settings.stripe_api_base or STRIPE,
        _psp_key(settings),
        settings.hyperswitch_base_url,
    )


def _psp_key(settings: Settings) -> str:
    return settings.hyperswitch_api_key or PSP_SIMULATOR_KEY


async def _builtin(settings: Settings, stack: AsyncExitStack) -> Urls:
    suffix = (
        f"-{hashlib.sha256(settings.database_url.encode()).hexdigest()[:12]}"
        if settings.database_url
        else ""
    )
    simulators = BuiltinSimulators(settings.data_dir / f"simulator{suffix}")
    stack.callback(simulators.release)
    return await asyncio.to_thread(simulators.acquire)


def made_secret() -> tuple[str, ...]:
    """Create a secret for the webhooks of the built-in PSP, when none is set. The secret lasts as
    long as this process."""
    return (secrets.token_hex(32),)


async def deliver_webhooks(psp_url: str, url: str, secret: str) -> None:
    """Set the webhook URL and secret of the built-in PSP."""
    async with HyperswitchControl(psp_url) as control:
        await control.webhook(url=url, secret=secret)
    log.info("the simulated payment provider delivers its webhooks here", psp=psp_url, to=url)
