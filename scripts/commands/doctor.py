"""Command `doctor`: checks of settings, database, providers, inbox and alarms."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import psycopg
import typer

from application.missed_webhooks.poller import UNCHECKED
from domain.provider_call.outcome import LookUpFailed, NotExecuted, Rejected, Unknown
from infrastructure.bootstrap import running
from infrastructure.postgres.bound_account import binding
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.connections import Connection
from infrastructure.postgres.migration_files import MigrationError
from infrastructure.postgres.old_transactions import OLD, old_ones, open_transactions
from infrastructure.postgres.rights import MissingRight
from infrastructure.postgres.server_checks import NotNow, UnusableServer, is_read_only
from infrastructure.postgres.webhook_polls import PostgresWebhookPolls
from infrastructure.redaction import hide
from infrastructure.runtime import PROVIDERS, unasked
from infrastructure.service import Service
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_json, print_line
from scripts.commands.stripe_account import require_account_id, stripe_account
from scripts.error_sentences import code_of, sentence_of
from scripts.exit_codes import FOUND

TOLERATED_SKEW = 2.0
"""Tolerated difference in seconds between the clocks of this process and of the database.

Due times come from the database, so a larger difference is only a hint."""


HELD_LONG = 1.0
"""Seconds for which no append holds the lock of the appends."""
HOLDERS = """
    select l.pid, a.usename, to_char(coalesce(a.xact_start, a.backend_start), 'HH24:MI:SS TZ')
      from pg_locks l join pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock'
       and l.database = (select oid from pg_database where datname = current_database())
       and l.objsubid = 1 and (l.classid::bigint << 32) + l.objid::bigint = x'6c6564676572'::bigint
"""


class CheckResult(NamedTuple):
    """Result of one check."""

    check: str
    well: bool
    detail: str


OfStripe = Annotated[
    bool,
    typer.Option(
        "--stripe",
        help="Also check what the Stripe account lacks: the key, Connect, webhook endpoints and "
        "their events, the balance. Only reads.",
    ),
]
Seller = Annotated[
    str | None,
    typer.Option(
        "--seller-account",
        help="Also check that this account (acct_…) can receive transfers; implies --stripe.",
    ),
]
app = new_app()
Check = Callable[[Service], Awaitable[CheckResult]]


@command(app, "transfer-ledger doctor")
async def doctor(as_json: AsJson = False, stripe: OfStripe = False, seller: Seller = None) -> int:
    """Check settings, database, Stripe and the PSP; exit 1 when a check fails, 2 or 75 when the
    ledger cannot start at all."""
    require_account_id(seller)
    settings, code = read_settings(), 0
    try:
        async with running(settings, loops=False) as service:
            results = [await _checked(check, service) for check in CHECKS]
            if stripe or seller is not None:
                found = await stripe_account(service, seller)
                results += [CheckResult(*part) for part in found]
    except (NotNow, UnusableServer, MissingRight, MigrationError, psycopg.Error) as error:
        results, code = [_unusable(error)], code_of(error)
    if as_json:
        print_json(result._asdict() for result in results)
    else:
        for result in results:
            print_line(f"{'ok   ' if result.well else 'WRONG'} {result.check}: {result.detail}")
    return code or (0 if all(result.well for result in results) else FOUND)


async def _checked(check: Check, service: Service) -> CheckResult:
    """Run one check; a database that fails it is the result of the check, not of the program."""
    try:
        return await check(service)
    except psycopg.Error as error:
        return _unusable(error, check.__name__.strip("_").replace("_", " "))


def _unusable(error: Exception, check: str = "database") -> CheckResult:
    return CheckResult(check, False, hide(sentence_of(error) or " ".join(str(error).split())))


async def _stripe(service: Service) -> CheckResult:
    try:
        account = await service.gateway.account()
    except LookUpFailed as unread:
        return CheckResult("stripe", False, str(unread))
    named = account or "an account without an id"
    return CheckResult(
        "stripe", True, f"{service.settings.mode} mode, {named}, at {service.stripe_url}"
    )


async def _psp(service: Service) -> CheckResult:
    """Check the key at the PSP by reading a list of refunds, which moves nothing."""
    mode = service.settings.psp_mode
    if service.psp is None:
        return CheckResult(
            "psp",
            True,
            "none: refunds and payments are made elsewhere, and reported with settled: true and "
            "/paid",
        )
    now = datetime.now(UTC)
    answer = await service.psp.refunds(now - timedelta(minutes=1), now)
    if isinstance(answer, Rejected | NotExecuted | Unknown):
        return CheckResult("psp", False, f"{mode} mode, at {service.psp_url}: {answer.message}")
    return CheckResult("psp", True, f"{mode} mode, at {service.psp_url}")


async def _binding(service: Service) -> CheckResult:
    bound = await binding(service.pool)
    if bound is None:
        mode = service.settings.mode
        return CheckResult("binding", True, f"none: the first `serve` binds it to {mode} mode")
    return CheckResult(
        "binding",
        True,
        f"this database belongs to {bound.mode} mode, account {bound.account or 'unknown'}",
    )


async def _durability(service: Service) -> CheckResult:
    async with service.pool.connection() as connection:
        rows = await (
            await connection.execute(
                "select name, setting from pg_settings where name in ('fsync', "
                "'full_page_writes', 'synchronous_commit')"
            )
        ).fetchall()
    off = sorted(name for name, setting in rows if setting == "off")
    detail = (
        f"{', '.join(off)} off: a crash can lose acknowledged commits"
        if off
        else "commits survive a crash"
    )
    return CheckResult("durability", not off, detail)


async def _transactions(service: Service) -> CheckResult:
    """Name old transactions, as far as PostgreSQL shows their age to this role; the alarm
    `old_transaction` names the others as well."""
    old = old_ones(await open_transactions(service.pool), {}, OLD)
    detail = f"open for long: {', '.join(old)}" if old else "no old transaction keeps dead rows"
    return CheckResult("transactions", not old, detail)


async def _clock(service: Service) -> CheckResult:
    async with service.pool.connection() as connection:
        row = await (await connection.execute("select clock_timestamp()")).fetchone()
    assert row is not None
    skew = (datetime.now(UTC) - row[0]).total_seconds()
    return CheckResult("clock", abs(skew) <= TOLERATED_SKEW, f"{skew:+.3f} s against the database")


async def _inbox(service: Service) -> CheckResult:
    counts = await service.inbox.counts()
    return CheckResult(
        "inbox",
        not counts["dead"],
        ", ".join(f"{n} {status}" for status, n in sorted(counts.items())),
    )


async def _alarms(service: Service) -> CheckResult:
    raised = await service.alarms.raised()
    first = (
        f"; the oldest: {raised[0].kind} {raised[0].subject}: {raised[0].detail}" if raised else ""
    )
    return CheckResult("alarms", not raised, f"{len(raised)} open{first}")


async def _breaker(service: Service) -> CheckResult:
    state = await PostgresCircuitBreaker(service.pool).state()
    effects = ["Stripe does not answer, all sending is stopped"] if state.outage else []
    effects += [f"paused: {', '.join(sorted(state.paused))}"] if state.paused else []
    effects += (
        [
            "transfers are looked up at Stripe before sending since "
            f"{state.look_first.begun_at:%Y-%m-%dT%H:%MZ}"
        ]
        if state.look_first
        else []
    )
    return CheckResult("traffic", not effects, "; ".join(effects) or "nothing is stopped")


async def _missed_webhooks(service: Service) -> CheckResult:
    """Count missed webhooks; fail when the providers were not asked for them in time."""
    polls, missed, without = (
        await PostgresWebhookPolls(service.pool).state(),
        await service.inbox.missed(),
        unasked(service.settings),
    )
    details, well = [], True
    for provider in PROVIDERS:
        found, replayed = missed.get(provider, (0, 0))
        poll = polls.get(provider)
        since = f"all events before {poll.seen_until:%Y-%m-%dT%H:%MZ}" if poll else "nothing yet"
        asked = f"not asked ({without[provider]})" if provider in without else f"asked for {since}"
        details.append(f"{provider} {asked}: missed {found}, replayed {replayed}")
        well = well and (
            provider in without
            or poll is None
            or poll.now - (poll.checked_at or poll.begun_at) < UNCHECKED
        )
    return CheckResult("missed webhooks", well, "; ".join(details))


async def _database(service: Service) -> CheckResult:
    try:
        async with asyncio.timeout(5), service.pool.connection() as connection:
            row = await (await connection.execute("show server_version")).fetchone()
            read_only = await is_read_only(connection)
            before = await _holders(connection)
            await asyncio.sleep(HELD_LONG if before else 0)
            held = before & await _holders(connection)
    except TimeoutError:
        return CheckResult("database", False, "no answer within 5 s")
    if read_only:
        return CheckResult("database", False, "read only: use the address of the primary")
    if held:
        return CheckResult("database", False, f"appends are blocked by {', '.join(sorted(held))}")
    return CheckResult(
        "database",
        True,
        f"PostgreSQL {row[0] if row else '?'}, head at position {await service.store.head()}",
    )


async def _holders(connection: Connection) -> set[str]:
    """List the sessions that hold the lock of the appends, which an append holds for
    milliseconds."""
    rows = await (await connection.execute(HOLDERS)).fetchall()
    return {f"session {pid} of role {role}, since {since}" for pid, role, since in rows}


CHECKS: tuple[Check, ...] = (
    _database,
    _binding,
    _durability,
    _transactions,
    _clock,
    _stripe,
    _psp,
    _breaker,
    _inbox,
    _missed_webhooks,
    _alarms,
)
