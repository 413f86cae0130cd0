"""`transfer-ledger doctor`: is everything as it should be? One line per check."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
import typer

from application.missed_webhooks.poller import UNCHECKED
from domain.provider_call.outcome import LookUpFailed, NotExecuted, Rejected, Unknown
from infrastructure.bootstrap import running
from infrastructure.postgres.account_binding import binding
from infrastructure.postgres.circuit_breaker import CircuitBreaker
from infrastructure.postgres.webhook_polls import Polls
from infrastructure.runtime import PROVIDERS, unasked
from infrastructure.service import Service
from infrastructure.settings import Settings
from scripts.exit_codes import FOUND

TOLERATED_SKEW = 2.0
"""Seconds between this clock and the database's; due times come from the database, so this is only a hint."""


class Finding(NamedTuple):
    """One check: what was looked at, whether it is well, and what was found."""

    check: str
    well: bool
    detail: str


Check = Callable[[Service], Awaitable[Finding]]


async def examine(settings: Settings, as_json: bool) -> int:
    """Run all checks; 1 when one is not well. What makes a start impossible is raised instead, and ends with 2."""
    async with running(settings, loops=False) as service:
        findings = [await check(service) for check in CHECKS]
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{'ok   ' if finding.well else 'WRONG'} {finding.check}: {finding.detail}")
    return 0 if all(finding.well for finding in findings) else FOUND


async def _stripe(service: Service) -> Finding:
    try:
        account = await service.gateway.account()
    except LookUpFailed as unread:
        return Finding("stripe", False, str(unread))
    named = account or "an account that Stripe does not name"
    return Finding("stripe", True, f"{service.settings.mode} mode, {named}, at {service.stripe_url}")


async def _psp(service: Service) -> Finding:
    """Whether the PSP knows our key: it is asked for a list that is empty, which moves nothing."""
    mode = service.settings.psp_mode
    if service.psp is None:
        return Finding("psp", True, "none: refunds and payments are made elsewhere, and told with settled: true and /paid")
    now = datetime.now(UTC)
    answer = await service.psp.refunds(now - timedelta(minutes=1), now)
    if isinstance(answer, Rejected | NotExecuted | Unknown):
        return Finding("psp", False, f"{mode} mode, at {service.psp_url}: {answer.message}")
    return Finding("psp", True, f"{mode} mode, at {service.psp_url}")


async def _binding(service: Service) -> Finding:
    bound = await binding(service.pool)
    assert bound is not None
    return Finding("binding", True, f"this database belongs to {bound.mode} mode, account {bound.account or 'not known'}")


async def _durability(service: Service) -> Finding:
    async with service.pool.connection() as connection:
        rows = await (
            await connection.execute(
                "select name, setting from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')"
            )
        ).fetchall()
    off = sorted(name for name, setting in rows if setting == "off")
    detail = f"{', '.join(off)} off: a crash can lose what was acknowledged" if off else "commits survive a crash"
    return Finding("durability", not off, detail)


async def _clock(service: Service) -> Finding:
    async with service.pool.connection() as connection:
        row = await (await connection.execute("select clock_timestamp()")).fetchone()
    assert row is not None
    skew = (datetime.now(UTC) - row[0]).total_seconds()
    return Finding("clock", abs(skew) <= TOLERATED_SKEW, f"{skew:+.3f} s against the database")


async def _inbox(service: Service) -> Finding:
    counts = await service.inbox.counts()
    return Finding("inbox", not counts["dead"], ", ".join(f"{n} {status}" for status, n in sorted(counts.items())))


async def _alarms(service: Service) -> Finding:
    raised = await service.alarms.raised()
    first = f"; the oldest: {raised[0].kind} {raised[0].subject}: {raised[0].detail}" if raised else ""
    return Finding("alarms", not raised, f"{len(raised)} open{first}")


async def _breaker(service: Service) -> Finding:
    state = await CircuitBreaker(service.pool).state()
    said = ["Stripe answers nobody"] if state.outage else []
    said += [f"paused: {', '.join(sorted(state.paused))}"] if state.paused else []
    said += [f"looks come first since {state.look_first.begun_at:%Y-%m-%dT%H:%MZ}"] if state.look_first else []
    return Finding("traffic", not said, "; ".join(said) or "nothing is held back")


async def _missed(service: Service) -> Finding:
    """Not only whether something was missed: whether anybody has looked."""
    polls, missed, without = await Polls(service.pool).state(), await service.inbox.missed(), unasked(service.settings)
    said, well = [], True
    for provider in PROVIDERS:
        found, replayed = missed.get(provider, (0, 0))
        poll = polls.get(provider)
        since = f"all that was made before {poll.seen_until:%Y-%m-%dT%H:%MZ}" if poll else "nothing yet"
        asked = f"not asked ({without[provider]})" if provider in without else f"asked for {since}"
        said.append(f"{provider} {asked}: missed {found}, replayed {replayed}")
        well = well and (provider in without or poll is None or poll.now - (poll.checked_at or poll.begun_at) < UNCHECKED)
    return Finding("missed webhooks", well, "; ".join(said))


async def _database(service: Service) -> Finding:
    try:
        async with asyncio.timeout(5), service.pool.connection() as connection:
            row = await (await connection.execute("show server_version")).fetchone()
    except (psycopg.Error, TimeoutError) as error:
        return Finding("database", False, str(error))
    return Finding("database", True, f"PostgreSQL {row[0] if row else '?'}, head at position {await service.store.head()}")


CHECKS: tuple[Check, ...] = (_database, _binding, _durability, _clock, _stripe, _psp, _breaker, _inbox, _missed, _alarms)
