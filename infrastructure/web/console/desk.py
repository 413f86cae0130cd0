"""The first page, the lists behind its numbers, and the search."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from starlette.responses import Response

from infrastructure.postgres.read_side.machine_state import Machine, MachineState, StripeState
from infrastructure.postgres.read_side.overview import (
    AlarmGroup,
    MoneyBar,
    MoneySample,
    MoneyState,
    OpenAlarm,
    Overview,
    groups,
)
from infrastructure.postgres.read_side.search import Search, SearchHit, split
from infrastructure.web.console.ledger import path_of
from infrastructure.web.console.texts import ago, span
from infrastructure.web.console.visit import Visit

MOST_ITEMS = 200
MOST_OF_ONE, MOST_OF_ALL = 200, 25
"""Alarms of a cause on its own page, and on the page of all causes."""
TREND = timedelta(hours=24)
SAMPLE_SECONDS = 900
TREND_HEIGHT = 20
MOST_REASONS = 3
_PAGES = {
    "transfer": "transfers/{id}",
    "order": "orders/{id}",
    "refund": "refunds/{id}",
    "dispute": "disputes/{id}",
    "seller": "sellers/{id}",
    "webhook": "inbox/{id}",
    "finding": "findings/{id}",
}
CANNOT_WORK = (
    "If the database takes no writes: free its disk, or end the cause that its log names. Senders "
    "get the answer 503 and repeat their webhooks; no money moves. The rest goes on by itself."
)
KEY_REFUSED = (
    "If Stripe's sentence names an account, that seller has to connect it again; others are paid. "
    "Otherwise correct STRIPE_API_KEY, restart with --look-up-first, run transfer-ledger doctor, "
    "and end the pause that the ledger has set. No attempt is used up."
)
OUTAGE = "Nothing is sent, and nothing is lost: a call every 5 s finds the end of it by itself."
STATES = {
    MoneyState.MOVING: ("moving", "moves"),
    MoneyState.WAITING_FOR_FUNDS: ("waiting for funds", "waits"),
    MoneyState.HELD: ("held back", "waits"),
    MoneyState.IN_DISPUTE: ("in dispute", "waits"),
    MoneyState.STUCK: ("stuck", "bad"),
    MoneyState.UNKNOWN: ("unknown outcome", "bad"),
}
"""For each state of money its words and its tone."""


def page_of(kind: str | None, name: str) -> str:
    """Return the page of an object; the search for an object of another kind."""
    if kind == "pause":
        return "pauses"
    if kind in _PAGES:
        return path_of(_PAGES[kind], id=name)
    return path_of("search?q={id}", id=name)


_LEVERS = {
    "retry": ("transfer", "Retry now"),
    "resolve": ("transfer", "Resolve"),
    "read-charge": ("order", "Read the charge"),
    "replay": ("webhook", "Replay"),
    "discard": ("webhook", "Discard"),
}
"""For each lever of an alarm the kind of object that it acts on, and the words of its button."""


def levers_of(alarm: OpenAlarm, levers: Sequence[str]) -> list[tuple[str, str]]:
    """Return the buttons of an alarm: a page of the console, and the words."""
    page = page_of(alarm.subject_kind, alarm.subject_id)
    fitting = [
        (f"{page}/{lever}", _LEVERS[lever][1])
        for lever in levers
        if lever in _LEVERS and _LEVERS[lever][0] == alarm.subject_kind
    ]
    if "decide" in levers:
        named = alarm.subject_kind in ("refund", "dispute")
        fitting.append((f"{page}/decide", "Decide") if named else (page, "Open it to decide"))
    if "acknowledge" in levers:
        path = path_of("alarms/{kind}/{subject}", kind=alarm.kind, subject=alarm.subject)
        fitting.append((f"{path}/acknowledge", "Acknowledge"))
    if "resume" in levers:
        fitting.append(("pauses", "End the pause"))
    return fitting


class Chip(NamedTuple):
    """One sign of the machine's state."""

    tone: str
    words: str
    page: str = ""
    """The page with the details; empty for the table below the first page."""


class Halt(NamedTuple):
    """A trouble of the whole ledger: more urgent than any single case."""

    title: str
    lines: Sequence[str]


class Tile(NamedTuple):
    """One number of the money bar. `trend`: the points of its line over the last 24 h."""

    bar: MoneyBar
    words: str
    tone: str
    trend: str


async def show_overview(visit: Visit) -> Response:
    """Show the money that is not settled, the cases for a person, and the machine's state."""
    service = visit.backend.service
    overview = Overview(service.pool)
    bars, samples, causes, machine = await asyncio.gather(
        overview.money(),
        overview.trend(visit.now - TREND),
        overview.alarm_groups(visit.now, service.settings.funds_deadline),
        Machine(service.pool, service.settings).state(await service.ready()),
    )
    return visit.page(
        "overview.html",
        currencies=_by_currency(bars, samples, visit.now),
        groups=causes,
        number=sum(cause.number for cause in causes),
        chips=chips(machine, visit.now),
        halts=halts(machine, visit.now),
        loops=machine.loops,
        rates=machine.rates,
        missed=machine.missed,
        page_of=page_of,
        name_of=name_of,
        levers_of=levers_of,
    )


def _by_currency(
    bars: Sequence[MoneyBar], samples: Sequence[MoneySample], now: datetime
) -> list[tuple[str, list[Tile]]]:
    return [
        (currency, [_tile(bar, samples, now) for bar in same])
        for currency, same in groupby(bars, key=lambda bar: bar.currency)
    ]


def _tile(bar: MoneyBar, samples: Sequence[MoneySample], now: datetime) -> Tile:
    words, tone = STATES[bar.state]
    own = [one for one in samples if (one.currency, one.state) == (bar.currency, bar.state)]
    return Tile(bar, words, tone if bar.number else "none", trend(own, bar.amount, now))


def trend(samples: Iterable[MoneySample], amount: int, now: datetime) -> str:
    """Return the points of a line over the last 24 h, in a frame of 96 × 20; empty without
    samples. A quarter of an hour without a sample had no such money."""
    known = {int((now - one.at).total_seconds() // SAMPLE_SECONDS): one.amount for one in samples}
    if not known:
        return ""
    slots = int(TREND.total_seconds() // SAMPLE_SECONDS)
    amounts = [known.get(slots - slot, 0) for slot in range(slots)] + [amount]
    most = max(*amounts, 1)
    heights = (TREND_HEIGHT - 1 - (TREND_HEIGHT - 2) * one / most for one in amounts)
    return " ".join(f"{slot},{height:.1f}" for slot, height in enumerate(heights))


def chips(machine: MachineState, now: datetime) -> list[Chip]:
    """Describe the machine's state in a few words each, the troubles first."""
    told = [_writes(machine), _stripe(machine, now), _inbox(machine), _workers(machine)]
    told += [_missed(machine), *_checks(machine, now)]
    return sorted(told, key=lambda chip: ("bad", "waits", "good", "none").index(chip.tone))


def halts(machine: MachineState, now: datetime) -> list[Halt]:
    """Describe the troubles that stop the whole ledger, each with its remedy."""
    told = []
    if not machine.can_write:
        # loops stop because of the database, so the database comes first
        reasons = sorted(machine.reasons, key=lambda reason: reason.startswith("the loop "))
        told.append(Halt("The ledger cannot work", [*reasons[:MOST_REASONS], CANNOT_WORK]))
    since = _since(machine, now)
    if machine.stripe is StripeState.KEY_REFUSED:
        lines = [*([machine.stripe_detail] if machine.stripe_detail else []), KEY_REFUSED]
        told.append(Halt(f"Stripe refuses the key{since}", lines))
    if machine.stripe is StripeState.OUTAGE:
        told.append(Halt(f"Stripe does not answer{since}", [OUTAGE]))
    return told


def _since(machine: MachineState, now: datetime) -> str:
    if machine.stripe_since is None:
        return ""
    return f" for {span((now - machine.stripe_since).total_seconds())}"


def _writes(machine: MachineState) -> Chip:
    if machine.can_write:
        return Chip("good", "Database takes writes")
    return Chip("bad", "The ledger cannot work")


def _stripe(machine: MachineState, now: datetime) -> Chip:
    since = _since(machine, now)
    match machine.stripe:
        case StripeState.OUTAGE:
            return Chip("bad", f"Stripe does not answer{since}; nothing is sent")
        case StripeState.KEY_REFUSED:
            return Chip("bad", f"Stripe refuses the key{since}")
    return Chip("good", "Stripe answers")


def _inbox(machine: MachineState) -> Chip:
    lag, dead = machine.inbox_lag_seconds, machine.inbox.get("dead", 0)
    parked = machine.inbox.get("parked", 0)
    waiting = f"{parked} parked" if parked else "none parked"
    words = f"Webhooks {span(lag)} behind, {waiting}"
    if dead:
        return Chip("bad", f"{words}, {dead} dead", "inbox?status=dead")
    page = "inbox?status=parked" if parked else "inbox"
    return Chip("waits" if parked or lag > 60 else "good", words, page)


def _workers(machine: MachineState) -> Chip:
    alive = [loop for loop in machine.loops if loop.alive]
    troubled = [loop for loop in alive if loop.trouble]
    processes = len({loop.process for loop in alive})
    words = f"{processes} process{'es' if processes != 1 else ''} at work"
    if troubled:
        return Chip("bad", f"{words}; {troubled[0].loop}: {troubled[0].trouble}")
    return Chip("good" if alive else "bad", words)


def _missed(machine: MachineState) -> Chip:
    open_ = sum(one.missed - one.replayed for one in machine.missed)
    if open_:
        return Chip("waits", f"{open_} missed webhooks wait")
    return Chip("good", "No missed webhook waits")


def _checks(machine: MachineState, now: datetime) -> list[Chip]:
    told = []
    for kind in ("verify", "reconcile", "seal"):
        run = machine.checks.get(kind)
        if run is None:
            told.append(Chip("none", f"{kind}: never run"))
            continue
        found = f", {run.findings} finding{'s' * (run.findings > 1)}" if run.findings else ""
        words = f"{kind}: {ago(run.finished_at, now)}{found}"
        page = "findings" if kind == "reconcile" else ""
        told.append(Chip("waits" if run.findings else "good", words, page))
    return told


def name_of(alarm: OpenAlarm | SearchHit) -> str:
    """Name the object of an alarm or of a hit as people do."""
    kind = alarm.subject_kind if isinstance(alarm, OpenAlarm) else alarm.kind
    name = alarm.subject_id if isinstance(alarm, OpenAlarm) else alarm.id
    if kind == "transfer" and alarm.seller_id:
        return f"Seller {alarm.seller_id}, order {alarm.order_id}"
    return f"{(kind or 'case').title()} {name}"


async def list_alarms(visit: Visit) -> Response:
    """List the open alarms of one cause, or the oldest of all causes."""
    service, kind = visit.backend.service, visit.given("kind") or None
    alarms = await Overview(service.pool).alarms(kind)
    grouped = groups(alarms, visit.now, service.settings.funds_deadline)
    return visit.page(
        "alarms.html",
        groups=_with_members(grouped, alarms, MOST_OF_ALL if kind is None else MOST_OF_ONE),
        page_of=page_of,
        name_of=name_of,
        levers_of=levers_of,
    )


def _with_members(
    grouped: Iterable[AlarmGroup], alarms: Sequence[OpenAlarm], most: int
) -> list[tuple[AlarmGroup, list[OpenAlarm]]]:
    return [(group, [one for one in alarms if one.kind == group.kind][:most]) for group in grouped]


async def list_money(visit: Visit) -> Response:
    """List the amounts behind one number of the money bar."""
    state, currency = visit.given("state"), visit.given("currency")
    known = MoneyState(state) if state in set(MoneyState) else None
    overview = Overview(visit.backend.service.pool)
    items = await overview.items(known, currency or None, MOST_ITEMS)
    words = STATES[known][0] if known else "not settled"
    return visit.page("money.html", items=items, words=words, currency=currency, most=MOST_ITEMS)


async def search(visit: Visit) -> Response:
    """Find an object by any of its names, or a table of many."""
    texts = split(visit.given("q"))
    found = await Search(visit.backend.service.pool).find(texts) if texts else []
    # an object may carry the text under two of its names
    results = [one._replace(hits=_distinct(one.hits)) for one in found]
    hits = [hit for result in results for hit in result.hits]
    if len(results) == 1 and len(hits) == 1 and hits[0].kind in _PAGES:
        return visit.redirect(page_of(hits[0].kind, hits[0].id))
    return visit.page(
        "search.html",
        query=visit.given("q"),
        results=results,
        single=len(results) == 1,
        page_of=page_of,
        name_of=name_of,
    )


def _distinct(hits: Iterable[SearchHit]) -> list[SearchHit]:
    return list({(hit.kind, hit.id): hit for hit in hits}.values())
