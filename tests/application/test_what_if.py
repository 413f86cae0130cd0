"""Forecasts of refunds and disputes: for drawn orders, each is exactly the real outcome, and
changes nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.command_handler import CommandHandler
from application.commands import Commands, commands_on
from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundRequest
from application.ports import EventLog
from application.what_if import Forecast, WhatIf
from domain.dispute import DisputePolicy, DisputeStatus
from domain.errors import ExceedsOrder, Refused, UnknownId
from domain.fact import Opening
from domain.identity import transfer_stream
from domain.order.state import Share
from domain.provider_call.outcome import Succeeded
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Send
from domain.seller_transfer.stripe_call import begin
from infrastructure.postgres.ledger import FactCodec
from projections.unknown_fact import fact_name
from tests.support.effort import examples
from tests.support.outcomes import record_reversal_outcome, record_transfer_outcome
from tests.support.storage import Storage, in_memory

POLICY = Policy()
UNSENT, IN_FLIGHT, SENT = "unsent", "in flight", "sent"
STATES = (UNSENT, IN_FLIGHT, SENT)
Moved = list[tuple[UUID | None, str, int | None]]


class Ticking:
    """A clock that moves by a second with each look."""

    def __init__(self) -> None:
        self._at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._at += timedelta(seconds=1)
        return self._at

    def observe(self, asked: datetime, database: datetime) -> None: ...


@dataclass(frozen=True)
class Case:
    """An order with a past, and the planned refund or dispute."""

    amount: int
    shares: Mapping[str, int]
    foreign: str | None
    """The seller who is paid in another currency."""
    paid: bool
    states: Mapping[str, str]
    refunds: Sequence[tuple[int, bool]]
    """Earlier refunds: amount, and whether the first seller bears it alone."""
    disputed: int
    kind: str
    planned: int | None
    explicit: bool


@st.composite
def cases(draw: st.DrawFn) -> Case:
    sellers = [f"s{n}" for n in range(draw(st.integers(1, 4)))]
    amount = draw(st.integers(len(sellers), 10_000))
    cuts = sorted(
        draw(st.lists(st.integers(1, amount), min_size=len(sellers), max_size=len(sellers)))
    )
    shares = {
        seller: cut - before
        for seller, cut, before in zip(sellers, cuts, [0, *cuts], strict=False)
        if cut > before
    } or {sellers[0]: amount}
    left, refunds = amount, []
    for _ in range(draw(st.integers(0, 3))):
        if left > 1:
            refunds.append((draw(st.integers(1, left - 1)), draw(st.booleans())))
            left -= refunds[-1][0]
    return Case(
        amount,
        shares,
        draw(st.sampled_from([None, *list(shares)[1:]])),
        draw(st.booleans()) or draw(st.booleans()),
        {seller: draw(st.sampled_from(STATES)) for seller in shares},
        refunds,
        draw(st.sampled_from([0, 0, 1, amount // 2, amount])),
        draw(st.sampled_from(["refund", "refund", "dispute"])),
        draw(st.one_of(st.none(), st.integers(1, amount))),
        draw(st.booleans()),
    )


class World:
    """A ledger in memory."""

    def __init__(self, storage: Storage) -> None:
        self.log: EventLog = storage.ledger
        self.storage, self.clock = storage, Ticking()
        self.commands: Commands = commands_on(self.log, storage.directory, self.clock)
        self.what_if = WhatIf(CommandHandler(self.log, self.clock))

    async def tells(self, case: Case) -> None:
        """Record the order and its past."""
        shares = [
            Share(seller_id=seller, destination=f"acct_{seller}", amount=share)
            for seller, share in case.shares.items()
        ]
        for share in shares:
            if share["seller_id"] == case.foreign:
                share["currency"] = "USD"
        await self.commands.orders.register(
            order_id="o1", currency="EUR", amount=case.amount, shares=shares
        )
        if case.paid:
            await self.commands.orders.record_payment("o1", "pay_1", None, "api")
            for seller, state in case.states.items():
                if state != UNSENT:
                    await self.steps(transfer_stream("o1", seller), state)
        for number, (amount, alone) in enumerate(case.refunds):
            await self.refunds(f"r{number}", amount, first_alone(case, amount) if alone else None)
            for seller, state in case.states.items():
                if case.paid and state == SENT and number % 2:
                    await self.steps(transfer_stream("o1", seller), state)
        if case.disputed:
            await self.disputes("d0", case.disputed)

    async def steps(self, transfer_id: UUID, state: str) -> None:
        """Begin the transfer's next call, and let it succeed if its state is to be sent."""
        uow, now = await self.log.load([transfer_id]), self.clock.now()
        transfer = uow.transfer(transfer_id)
        if transfer.operation is None or transfer.in_flight is not None:
            return
        step = begin(transfer, now, POLICY)
        if state == SENT and isinstance(step, Send):
            done = Succeeded(f"tr_{now.timestamp()}", step.body["amount"])
            if step.what == "transfer":
                record_transfer_outcome(transfer, step.attempt, done, now, POLICY)
            else:
                record_reversal_outcome(transfer, step.what, step.attempt, done, None, now, POLICY)
        await self.log.append(uow)

    async def refunds(self, name: str, amount: int | None, explicit: dict[str, int] | None) -> int:
        request = RefundRequest(name, "o1", amount, explicit=explicit)
        try:
            return (await self.commands.refunds.settle(request)).refund.amount
        except Refused:
            if name.startswith("r"):
                return 0  # a past that the ledger refuses is not part of the case
            raise

    async def disputes(self, name: str, amount: int) -> None:
        took = (DisputeStatus.OPENED, DisputeStatus.WITHDRAWN)
        report = DisputeReport(name, "hyperswitch", "o1", amount, "EUR", took, "hyperswitch:e")
        await self.commands.disputes.record(report, DisputePolicy.WITHDRAWAL)

    async def targets(self) -> dict[str, int]:
        order = (await CommandHandler(self.log, self.clock).load_order("o1")).order("o1")
        return order.seller_targets

    async def moved_since(self, position: int) -> Moved:
        """Return the facts of transfers after a position; a new transfer has no id here."""
        codec = FactCodec()
        facts = [codec.fact(one) for one in (await self.storage.facts())[position:]]
        new = {fact.originator_id for fact in facts if isinstance(fact, Opening)}
        return [
            (
                None if fact.originator_id in new else fact.originator_id,
                fact_name(fact),
                getattr(fact, "by", getattr(fact, "amount", None)),
            )
            for fact in facts
            if str(vars(type(fact))["TOPIC"]).startswith("ledger.seller_transfer.")
        ]


def first_alone(case: Case, amount: int) -> dict[str, int]:
    first = next(iter(case.shares))
    return {first: min(amount, case.shares[first])}


async def foreseen(world: World, case: Case) -> Forecast | Refused:
    try:
        if case.kind == "dispute":
            return await world.what_if.dispute("o1", case.planned)
        explicit = first_alone(case, case.planned or 1) if case.explicit else None
        return await world.what_if.refund("o1", case.planned, explicit)
    except Refused as refused:
        return refused


async def happens(world: World, case: Case) -> int:
    """Record the planned refund or dispute; return its amount."""
    if case.kind == "dispute":
        amount = case.amount if case.planned is None else case.planned
        await world.disputes("planned", amount)
        return amount
    explicit = first_alone(case, case.planned or 1) if case.explicit else None
    return await world.refunds("planned", case.planned, explicit)


async def is_as_foreseen(case: Case) -> str:
    async with in_memory() as storage:
        world = World(storage)
        await world.tells(case)
        position, before = len(await storage.facts()), await world.targets()
        forecast = await foreseen(world, case)
        assert len(await storage.facts()) == position, "a forecast appends nothing"
        assert await world.targets() == before
        if isinstance(forecast, Refused):
            with pytest.raises(type(forecast)):
                await happens(world, case)
            return "refused"
        assert await happens(world, case) == forecast.amount
        after = await world.targets()
        assert {one.seller_id: one.before for one in forecast.sellers} == before
        assert {one.seller_id: one.before + one.amount for one in forecast.sellers} == after
        assert all(0 <= one.before + one.amount <= one.share for one in forecast.sellers)
        assert [
            (step.transfer_id, fact_name(step.fact), step.amount) for step in forecast.steps
        ] == await world.moved_since(position)
        return case.kind


@given(cases())
@examples(80)
def test_forecast_is_exactly_the_real_outcome_and_changes_nothing(case: Case) -> None:
    asyncio.run(is_as_foreseen(case))


def a_case(**changes: object) -> Case:
    usual: dict[str, object] = {
        "amount": 100,
        "shares": {"anna": 33, "ben": 33},
        "foreign": None,
        "paid": True,
        "states": {"anna": SENT, "ben": UNSENT},
        "refunds": [],
        "disputed": 0,
        "kind": "refund",
        "planned": 10,
        "explicit": False,
    }
    return Case(**{**usual, **changes})  # type: ignore[arg-type]


async def test_residue_is_what_the_sellers_do_not_give() -> None:
    async with in_memory() as storage:
        world = World(storage)
        await world.tells(a_case())
        ten = await world.what_if.refund("o1", 10)
        assert [(one.seller_id, one.amount) for one in ten.sellers] == [("anna", 3), ("ben", 3)]
        assert (ten.residue, ten.amount, ten.refundable) == (4, 10, 100)
        assert [(fact_name(step.fact), step.amount) for step in ten.steps] == [
            ("ReversalRequested", 3),
            ("AmountReduced", 3),
        ]
        whole = await world.what_if.refund("o1", None)
        assert (whole.amount, whole.residue) == (100, 34)
        anna = await world.what_if.refund("o1", 40, {"anna": 33})
        assert ([one.amount for one in anna.sellers], anna.residue) == ([33, 0], 7)
        dispute = await world.what_if.dispute("o1", None)
        assert (dispute.amount, dispute.residue) == (100, 34)
        for wrong, amount in ((ExceedsOrder, 101), (UnknownId, 1)):
            with pytest.raises(wrong):
                await world.what_if.refund("o1" if amount > 1 else "o2", amount)


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (a_case(paid=False), "refund"),
        (a_case(foreign="ben"), "refund"),
        (a_case(states={"anna": IN_FLIGHT, "ben": IN_FLIGHT}), "refund"),
        (a_case(disputed=100), "refund"),
        (a_case(kind="dispute", refunds=[(50, True)]), "dispute"),
        (a_case(refunds=[(99, False)], planned=2), "refused"),
    ],
)
async def test_named_case_is_as_foreseen(case: Case, kind: str) -> None:
    assert await is_as_foreseen(case) == kind
