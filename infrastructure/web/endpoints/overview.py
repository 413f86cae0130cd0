"""Endpoints of the overview and the search."""

import asyncio
from datetime import timedelta

from infrastructure.postgres.read_side.machine_state import Machine, MachineState
from infrastructure.postgres.read_side.overview import (
    AlarmGroup,
    MoneyBar,
    OpenAlarm,
    Overview,
    groups,
)
from infrastructure.postgres.read_side.search import MOST_TEXTS, Search, split
from infrastructure.postgres.texts import cleaned
from infrastructure.web.endpoints.lists import shown
from infrastructure.web.list_cursors import cursor_at, instant_and_name
from infrastructure.web.list_requests import MoneyQuery, SearchQuery
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.overview_responses import (
    AlarmCase,
    AlarmCauseShown,
    Amount,
    Check,
    EndpointUse,
    Hit,
    InboxCounts,
    LoopProgress,
    MachineShown,
    MissedEvents,
    MoneyAt,
    MoneyEntry,
    MoneyPage,
    OpenMoney,
    OverviewShown,
    SearchAnswer,
    SearchAnswers,
)
from infrastructure.web.problems import Problem
from infrastructure.web.requests import Parameters

TREND = timedelta(hours=24)
CHECKS = ("verify", "reconcile", "seal")


async def show_overview(call: ApiCall[None, Parameters]) -> Reply:
    service, overview = call.service, Overview(call.service.pool)
    machine, money, alarms, samples = await asyncio.gather(
        Machine(service.pool, service.settings).state(await service.ready()),
        overview.money(),
        overview.alarms(),
        overview.trend(service.clock.now() - TREND),
    )
    now = machine.at
    causes = groups(alarms, now, service.settings.funds_deadline)
    return Reply(
        200,
        OverviewShown(
            at=now,
            mode=machine.mode,
            account=machine.account,
            money=[_money(bar, machine) for bar in money],
            trend=[MoneyAt(*sample) for sample in samples],
            alarms=[_group(group, machine) for group in causes],
            machine=_machine(machine),
        ),
    )


async def list_money(call: ApiCall[None, MoneyQuery]) -> Reply:
    query = call.query
    after = instant_and_name(query.cursor) if query.cursor is not None else None
    found = await Overview(call.service.pool).items(
        query.state, query.currency, query.limit + 1, after
    )
    page = found[: query.limit]
    following = cursor_at(page[-1].since, page[-1].subject) if len(found) > len(page) else None
    return Reply(200, MoneyPage(shown(MoneyEntry, page), following))


async def search(call: ApiCall[None, SearchQuery]) -> Reply:
    texts = list(dict.fromkeys(split(cleaned(call.query.q))))
    if len(texts) > MOST_TEXTS:
        detail = (
            f"q has {len(texts)} ids; expected at most {MOST_TEXTS}: search for the others then."
        )
        raise Problem("invalid_request", detail)
    results = await Search(call.service.pool).find(texts) if texts else []
    return Reply(
        200,
        SearchAnswers(
            [SearchAnswer(one.query, one.prefix, shown(Hit, one.hits)) for one in results]
        ),
    )


def _money(bar: MoneyBar, machine: MachineState) -> OpenMoney:
    age = (machine.at - bar.oldest_at).total_seconds() if bar.oldest_at is not None else None
    return OpenMoney(
        bar.currency,
        bar.state,
        bar.amount,
        bar.number,
        bar.oldest_at,
        age,
        bar.to_sellers,
        bar.from_sellers,
    )


def _group(group: AlarmGroup, machine: MachineState) -> AlarmCauseShown:
    return AlarmCauseShown(
        group.kind,
        group.cause.sentence,
        group.cause.runbook,
        group.cause.levers,
        group.number,
        [Amount(currency, amount) for currency, amount in sorted(group.at_risk.items())],
        group.raised_at,
        (machine.at - group.raised_at).total_seconds(),
        group.deadline,
        [_case(alarm) for alarm in group.examples],
    )


def _case(alarm: OpenAlarm) -> AlarmCase:
    return AlarmCase(
        alarm.kind,
        alarm.subject,
        alarm.subject_kind,
        alarm.subject_id,
        alarm.order_id,
        alarm.seller_id,
        alarm.currency,
        alarm.at_risk,
        alarm.detail,
        alarm.raised_at,
        alarm.last_seen_at,
        alarm.times,
        alarm.deadline,
    )


def _machine(state: MachineState) -> MachineShown:
    return MachineShown(
        can_write=state.can_write,
        reasons=state.reasons,
        stripe=state.stripe,
        stripe_since=state.stripe_since,
        stripe_detail=state.stripe_detail,
        probe_at=state.probe_at,
        rates=[
            EndpointUse(one.endpoint, one.limit, one.used, one.reserved_seconds, one.slowed_at)
            for one in state.rates
        ],
        inbox_lag_seconds=state.inbox_lag_seconds,
        inbox=InboxCounts(**state.inbox),
        loops=shown(LoopProgress, state.loops),
        missed=shown(MissedEvents, state.missed),
        checks=[_check(name, state) for name in CHECKS],
        open_alarms=state.open_alarms,
    )


def _check(name: str, state: MachineState) -> Check:
    run = state.checks.get(name)
    if run is None:
        return Check(name, None, None, None, None)
    return Check(name, run.finished_at, run.findings, run.position, run.detail)
