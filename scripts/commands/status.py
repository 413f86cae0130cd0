"""Command `status`: the money that is not settled, the alarms, and the machine."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import typer

from infrastructure.bootstrap import stored
from infrastructure.postgres.read_side.machine_state import (
    LoopReport,
    Machine,
    MachineState,
    StripeState,
)
from infrastructure.postgres.read_side.overview import AlarmGroup, MoneyBar, Overview
from projections.audit_trail.payload import instant
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import age, money, print_line
from scripts.exit_codes import FOUND

MOST_GROUPS = 6
"""Groups of alarms in the text; the JSON has all of them."""
CHECKS = ("verify", "reconcile", "seal")

app = new_app()


class Seen(NamedTuple):
    """The three parts of the overview at one instant."""

    bars: Sequence[MoneyBar]
    groups: Sequence[AlarmGroup]
    machine: MachineState


@command(app, "transfer-ledger status")
async def status(as_json: AsJson = False) -> int:
    """Show the open money, the alarms and the machine on one screen; exit 1 when a person is
    needed."""
    settings = read_settings()
    async with stored(settings) as storage:
        overview, now = Overview(storage.pool), storage.clock.now()
        seen = Seen(
            await overview.money(),
            await overview.alarm_groups(now, settings.funds_deadline),
            await Machine(storage.pool, settings).state(),
        )
    if as_json:
        typer.echo(json.dumps(_json(seen), indent=2, default=_plain))
    else:
        for line in (*_money(seen), *_alarms(seen), *_machine(seen.machine)):
            print_line(line)
    return FOUND if seen.groups or not seen.machine.can_write else 0


def _money(seen: Seen) -> Iterator[str]:
    machine = seen.machine
    account = f", account {machine.account}" if machine.account else ""
    yield f"Transfer ledger, {machine.mode} mode{account}, {instant(machine.at)[:19]}Z"
    yield ""
    yield "MONEY THAT IS NOT SETTLED"
    by_currency: dict[str, list[MoneyBar]] = {}
    for bar in seen.bars:
        by_currency.setdefault(bar.currency, []).append(bar)
    for bars in by_currency.values():
        parts = [_part(bar, machine.at) for bar in bars if bar.number]
        yield f"  {bars[0].currency}  {'; '.join(parts) or 'none'}"
    if not by_currency:
        yield "  none"


def _part(bar: MoneyBar, now: datetime) -> str:
    oldest = f", oldest {age(now - bar.oldest_at)}" if bar.oldest_at is not None else ""
    amount = money(bar.amount, bar.currency)
    return f"{bar.state.replace('_', ' ')} {amount} ({bar.number}{oldest})"


def _alarms(seen: Seen) -> Iterator[str]:
    yield ""
    total = sum(group.number for group in seen.groups)
    if not total:
        yield "NEEDS A PERSON: nothing"
        return
    yield f"NEEDS A PERSON: {total} alarms of {len(seen.groups)} kinds"
    for group in seen.groups[:MOST_GROUPS]:
        amounts = [money(amount, currency) for currency, amount in group.at_risk.items()]
        ends = f", given up {group.deadline:%Y-%m-%d}" if group.deadline is not None else ""
        known = f", {' + '.join(amounts)}" if amounts else ""
        since = age(seen.machine.at - group.raised_at)
        yield f"  {group.kind}: {group.number}{known}, since {since}{ends}"
        yield f"      {group.cause.sentence}"
    if rest := seen.groups[MOST_GROUPS:]:
        yield f"  and {', '.join(group.kind for group in rest)}: see `transfer-ledger alarms`"


def _machine(machine: MachineState) -> Iterator[str]:
    yield ""
    yield "MACHINE"
    yield f"  database   {'takes writes' if machine.can_write else '; '.join(machine.reasons)}"
    yield f"  Stripe     {_stripe(machine)}"
    used = [f"{rate.endpoint} {rate.used:.1f} of {rate.limit:g}/s" for rate in machine.rates]
    yield f"  rate       {', '.join(used) or 'no calls yet'}"
    inbox = ", ".join(f"{number} {name}" for name, number in machine.inbox.items())
    yield f"  webhooks   {inbox}; oldest due waits {machine.inbox_lag_seconds:.0f} s"
    missed = [f"{one.missed} of {one.provider}" for one in machine.missed if one.missed]
    yield f"  missed     {', '.join(missed) or 'none'}"
    yield f"  processes  {_processes(machine.loops)}"
    yield f"  checks     {', '.join(_check(machine, kind) for kind in CHECKS)}"


def _stripe(machine: MachineState) -> str:
    if machine.stripe is StripeState.ANSWERING:
        return "answering"
    since = f" since {age(machine.at - machine.stripe_since)}" if machine.stripe_since else ""
    return f"{machine.stripe.replace('_', ' ')}{since}: {machine.stripe_detail or ''}"


def _processes(loops: Sequence[LoopReport]) -> str:
    alive = {(loop.host, loop.pid) for loop in loops if loop.alive}
    troubles = [f"{one.loop} of {one.host}: {one.trouble}" for one in loops if one.trouble]
    if not alive:
        return "none reports: start `transfer-ledger serve`"
    named = ", ".join(f"{host}/{pid}" for host, pid in sorted(alive))
    return f"{len(alive)} at work ({named})" + "".join(f"; {trouble}" for trouble in troubles)


def _check(machine: MachineState, kind: str) -> str:
    run = machine.checks.get(kind)
    if run is None:
        return f"{kind} never"
    found = f", {run.findings} findings" if run.findings else ""
    return f"{kind} {age(machine.at - run.finished_at)} ago{found}"


def _json(seen: Seen) -> dict[str, object]:
    groups = [
        {
            **group._asdict(),
            "cause": {"sentence": group.cause.sentence, "runbook": group.cause.runbook},
            "examples": [one._asdict() for one in group.examples],
        }
        for group in seen.groups
    ]
    machine = {
        **seen.machine._asdict(),
        "rates": [rate._asdict() for rate in seen.machine.rates],
        "loops": [loop._asdict() | {"alive": loop.alive} for loop in seen.machine.loops],
        "missed": [one._asdict() for one in seen.machine.missed],
        "checks": {kind: run._asdict() for kind, run in seen.machine.checks.items()},
    }
    bars = [bar._asdict() for bar in seen.bars]
    return {"money": bars, "needs_a_person": groups, "machine": machine}


def _plain(value: object) -> str:
    return instant(value) if isinstance(value, datetime) else str(value)
