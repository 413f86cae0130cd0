"""An operator's levers: retry, resolve, pause and resume, and the alarms that call for them."""

from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from domain.pause import EVERYTHING, KINDS, LOOK_UP_FIRST, scope_of_seller, scope_of_work
from infrastructure.bootstrap import running, stored
from infrastructure.settings import Settings
from projections.audit_trail.payload import instant
from scripts.commands.transfers import print_json
from scripts.exit_codes import fail


async def retry_transfer(settings: Settings, transfer_id: UUID, actor: str, reason: str) -> None:
    """Raises UnknownId, CallInFlight, NothingToRetry."""
    require_said(actor=actor, reason=reason)
    async with stored(settings) as storage:
        await storage.commands.operator.retry(transfer_id, actor, reason)
    typer.echo(f"Transfer {transfer_id} is due now; a running worker takes it up.")


async def resolve_transfer(settings: Settings, transfer_id: UUID, actor: str, reason: str, evidence: str) -> None:
    """Raises UnknownId, CallInFlight, NothingToResolve, EvidenceDiffers, StripeSilent."""
    require_said(actor=actor, reason=reason, evidence=evidence)
    async with running(settings, loops=False) as service:
        await service.commands.operator.resolve(service.gateway, transfer_id, actor, reason, evidence)
    typer.echo(f"Transfer {transfer_id} is resolved.")


async def pause(settings: Settings, scope: str, actor: str, reason: str) -> None:
    """Calls that have begun are finished and recorded; nothing of the scope begins after that."""
    require_said(actor=actor, reason=reason)
    async with stored(settings) as storage:
        news = await storage.commands.operator.pause(scope, actor, reason)
    typer.echo(f"{scope} is paused; `transfer-ledger resume` ends it." if news else f"{scope} was paused already.")


async def resume(settings: Settings, scope: str, actor: str, reason: str) -> None:
    """What is due goes on."""
    require_said(actor=actor, reason=reason)
    async with stored(settings) as storage:
        news = await storage.commands.operator.resume(scope, actor, reason)
    typer.echo(f"{scope} goes on." if news else f"{scope} was not paused.")


def scope_of(seller: str | None, work: str | None, look_up_first: bool = False) -> str:
    """The scope that the options name; everything without any."""
    if sum((seller is not None, work is not None, look_up_first)) > 1:
        fail("Several scopes are named; expected one of --seller, --work and --look-up-first, or none for everything.")
    if work is not None and work not in KINDS:
        fail(f"--work is {work!r}; expected one of {', '.join(KINDS)}.")
    if seller is not None and not (0 < len(seller) <= 128 and seller.isascii() and seller.isprintable() and " " not in seller):
        fail(f"--seller is {seller!r}; expected 1 to 128 printable ASCII characters without spaces.")
    if seller is not None:
        return scope_of_seller(seller)
    if work is not None:
        return scope_of_work(work)
    return LOOK_UP_FIRST if look_up_first else EVERYTHING


async def list_alarms(settings: Settings, cleared: bool, limit: int, as_json: bool) -> None:
    """Those that are open, oldest first; or the latest, cleared ones included."""
    async with stored(settings) as storage:
        alarms = await (storage.alarms.latest(limit) if cleared else storage.alarms.raised(limit))
    if as_json:
        print_json([alarm._asdict() for alarm in alarms])
        return
    table = Table("kind", "subject", "raised", "cleared", "what")
    for alarm in alarms:
        ended = instant(alarm.cleared_at)[:19] if alarm.cleared_at else ""
        table.add_row(alarm.kind, alarm.subject, instant(alarm.raised_at)[:19], ended, alarm.detail)
    Console(width=None if Console().is_terminal else 240).print(table)


def require_said(**options: str) -> None:
    """Who and why, or exit 2."""
    empty = [f"--{name}" for name, value in options.items() if not value.strip()]
    if empty:
        fail(f"{' and '.join(empty)} must not be empty: it stays in the audit trail.")
    if options["actor"].lower().startswith("stripe:"):
        fail(f"--actor is {options['actor']!r}; stripe: is kept for Stripe's own evidence, name a person or a program.")
