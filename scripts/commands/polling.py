"""`transfer-ledger inbox poll`: one round over all providers, now, whoever's turn it is."""

import typer

from infrastructure.bootstrap import running
from infrastructure.runtime import poller_of, unasked
from infrastructure.settings import Settings
from projections.audit_trail.payload import instant
from scripts.commands.transfers import print_json
from scripts.exit_codes import FOUND


async def poll_now(settings: Settings, as_json: bool) -> int:
    """The exit code: 1 when a provider could not be asked to the end."""
    async with running(settings, loops=False) as service:
        poller = poller_of(service)
        rounds = [found for provider in poller.providers if (found := await poller.check(provider, anyway=True)) is not None]
    if as_json:
        print_json([
            {
                "provider": found.provider,
                "missed": found.missed,
                "replayed": found.replayed,
                "seen_until": instant(found.seen_until),
                "failure": found.failure,
            }
            for found in rounds
        ])  # fmt: skip
    else:
        for provider, why in unasked(settings).items():
            typer.echo(f"{provider}: not asked ({why})")
        for found in rounds:
            typer.echo(f"{found.provider}: {found.sentence}, of all that was made before {instant(found.seen_until)[:19]}Z")
            if found.failure:
                typer.echo(f"  then: {found.failure}")
    return FOUND if any(found.failure for found in rounds) else 0
