"""Circuit breaker monitor: failures of one transfer are its own, failures of several transfers in a
row stop the fleet."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from application.ports import FleetState
from application.process_managers.circuit_breaker import (
    NOT_FOUND,
    PROBED_AT,
    REFUSED_KEY,
    SILENT,
    BreakerMonitor,
)
from domain.pause import EVERYTHING, LEDGER
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.request_body import TransferBody
from domain.provider_call.steps import LookUp, Send

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
BODY = TransferBody(
    amount=900, currency="eur", destination="acct_anna", transfer_group="o1", metadata={}
)


class FakeFleet:
    """The monitor's collaborators, which record its calls."""

    def __init__(self) -> None:
        self.open, self.told, self.forgiven, self.stopped = (
            False,
            list[str](),
            list[UUID](),
            list[tuple[str, str]](),
        )
        self.answering = True
        self.open_after_probe: bool | None = None
        """State of the breaker after the next probe, if another process changes it."""
        self.closed_before_the_alarm = False
        self.watch = BreakerMonitor(self, self, self, forgive=self.forgive, stop=self.stop)  # type: ignore[arg-type]

    async def state(self) -> FleetState:
        return FleetState(outage=self.open)

    async def open_breaker(self) -> bool:
        self.open, was = True, self.open
        return not was

    async def take_probe(self) -> bool:
        return self.open

    async def until_probe(self) -> float | None:
        return 0.0 if self.open else None

    async def answers(self) -> bool:
        if self.open_after_probe is not None:
            self.open = self.open_after_probe
        return self.answering

    async def close_breaker(self) -> bool:
        self.told.append("closes")
        self.open, was = False, self.open
        self.watch.stop()
        return was

    async def clear(self, kind: str, subject: str) -> bool:
        self.told.append(f"{kind} is over")
        return True

    async def raise_alarm(self, kind: str, subject: str, detail: str) -> None:
        self.told.append(kind)
        self.open = self.open and not self.closed_before_the_alarm

    async def forgive(self, transfer_id: UUID, what: str, attempt: int) -> None:
        self.forgiven.append(transfer_id)

    async def stop(self, scope: str, actor: str, reason: str) -> None:
        self.stopped.append((scope, actor))

    async def hears(
        self,
        signal: ProviderSignal,
        transfers: Sequence[int],
        *,
        look: bool = False,
        account: str | None = None,
        attempt: int = 1,
    ) -> None:
        for number in transfers:
            step = LookUp("transfer", NOW) if look else Send("transfer", attempt, "key", BODY)
            about = account or f"acct_{number}"
            await self.watch.observe(UUID(int=number), step, signal, about)


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet()


async def test_one_unanswered_transfer_is_no_outage(fleet: FakeFleet) -> None:
    await fleet.hears(ProviderSignal.SILENCE, [7] * (10 * SILENT))
    assert not fleet.open


async def test_alarm_of_an_outage_that_is_over_is_cleared(fleet: FakeFleet) -> None:
    """A process froze before it raised the alarm (`simulate-faults --seed 5016`)."""
    fleet.closed_before_the_alarm = True
    await fleet.hears(ProviderSignal.SILENCE, range(SILENT))
    await fleet.watch.turn()
    await fleet.watch.turn()
    assert fleet.told == ["stripe_outage", "stripe_outage is over"]


async def test_repeated_alarm_of_an_outage_that_is_over_is_cleared(fleet: FakeFleet) -> None:
    """A process froze between its look at the breaker and the alarm (`simulate-faults --seed
    93`)."""
    fleet.open, fleet.answering, fleet.closed_before_the_alarm = True, False, True
    await fleet.watch.turn()
    await fleet.watch.turn()
    assert fleet.told == ["stripe_outage", "stripe_outage is over"]


async def test_new_process_clears_the_alarm_of_an_outage_that_is_over(fleet: FakeFleet) -> None:
    """The process that raised it has died."""
    await fleet.watch.turn()
    await fleet.watch.turn()
    assert fleet.told == ["stripe_outage is over"]


@pytest.mark.parametrize(
    ("attempt", "answering", "opens"),
    [(PROBED_AT - 1, False, False), (PROBED_AT, False, True), (PROBED_AT, True, False)],
)
async def test_silent_probe_opens_the_breaker_of_a_quiet_ledger(
    fleet: FakeFleet, attempt: int, answering: bool, opens: bool
) -> None:
    """With fewer transfers than the breaker needs, an outage would exhaust their attempts."""
    fleet.answering = answering
    await fleet.hears(ProviderSignal.SILENCE, [7], attempt=attempt)
    assert fleet.open is opens
    assert fleet.forgiven == ([UUID(int=7)] if opens else [])


async def test_several_unanswered_transfers_open_the_breaker_once(fleet: FakeFleet) -> None:
    await fleet.hears(ProviderSignal.SILENCE, range(SILENT - 1))
    assert (fleet.open, fleet.forgiven) == (False, [])
    await fleet.hears(ProviderSignal.SILENCE, [99])
    assert (fleet.open, fleet.told) == (True, ["stripe_outage"])
    assert sorted(fleet.forgiven) == sorted(
        [*(UUID(int=n) for n in range(SILENT - 1)), UUID(int=99)]
    )
    await fleet.hears(ProviderSignal.SILENCE, [100])
    assert fleet.forgiven[-1] == UUID(int=100), "what was in flight is given back as well"
    assert len(fleet.forgiven) == SILENT + 1


@pytest.mark.parametrize(
    "answer",
    [
        ProviderSignal.ANSWER,
        ProviderSignal.KEY_REFUSED,
        ProviderSignal.FORBIDDEN,
        ProviderSignal.NOT_FOUND,
        ProviderSignal.TOO_FAST,
    ],
)
async def test_answer_below_500_restarts_the_count(
    fleet: FakeFleet, answer: ProviderSignal
) -> None:
    for _ in range(3):
        await fleet.hears(ProviderSignal.SILENCE, range(SILENT - 1))
        await fleet.hears(answer, [500])
    assert not fleet.open


@pytest.mark.parametrize(("is_open", "told"), [(True, ["stripe_outage"]), (False, [])])
async def test_silent_probe_repeats_the_alarm_of_an_open_breaker(
    fleet: FakeFleet, is_open: bool, told: list[str]
) -> None:
    """The process that opened the breaker may have died before it raised the alarm. If another
    probe has closed the breaker meanwhile, the alarm would stay for ever."""
    fleet.open, fleet.answering, fleet.open_after_probe = True, False, is_open
    await fleet.watch.turn()
    assert fleet.told == told


async def test_alarm_ends_before_the_breaker_closes(fleet: FakeFleet) -> None:
    """In the other order, a crash in between would leave the alarm open, and a new outage would
    raise none."""
    await fleet.hears(ProviderSignal.SILENCE, range(SILENT))
    await fleet.watch.run()
    assert fleet.told == ["stripe_outage", "stripe_outage is over", "closes"]
    assert not fleet.watch.state.outage


async def test_unanswered_look_ups_count_and_cost_nothing(fleet: FakeFleet) -> None:
    await fleet.hears(ProviderSignal.SILENCE, range(SILENT), look=True)
    assert (fleet.open, fleet.forgiven) == (True, [])


async def test_calls_not_sent_to_stripe_do_not_count(fleet: FakeFleet) -> None:
    await fleet.hears(ProviderSignal.SILENCE, range(SILENT - 1))
    await fleet.hears(ProviderSignal.NOTHING, range(100, 200))
    assert not fleet.open
    await fleet.hears(ProviderSignal.SILENCE, [99])
    assert fleet.open


@pytest.mark.parametrize(
    ("signal", "several"),
    [
        (ProviderSignal.KEY_REFUSED, REFUSED_KEY),
        (ProviderSignal.FORBIDDEN, REFUSED_KEY),
        (ProviderSignal.NOT_FOUND, NOT_FOUND),
    ],
)
async def test_wrong_key_stops_all_unlike_one_transfers_trouble(
    fleet: FakeFleet, signal: ProviderSignal, several: int
) -> None:
    await fleet.hears(signal, [7] * 100)
    assert fleet.stopped == []
    await fleet.hears(signal, range(100, 100 + several - 1))
    assert fleet.stopped == [(EVERYTHING, LEDGER)]


@pytest.mark.parametrize("signal", [ProviderSignal.FORBIDDEN, ProviderSignal.NOT_FOUND])
async def test_refusals_about_two_destinations_stop_nobody_else(
    fleet: FakeFleet, signal: ProviderSignal
) -> None:
    for account in ("acct_anna", "acct_bert"):
        await fleet.hears(signal, range(100), account=account)
    assert fleet.stopped == []
    await fleet.hears(signal, [100], account="acct_carl")
    assert fleet.stopped == [(EVERYTHING, LEDGER)]


async def test_refused_key_stops_all_for_a_single_destination(fleet: FakeFleet) -> None:
    """401 is about the key alone, also for a marketplace with one seller."""
    await fleet.hears(ProviderSignal.KEY_REFUSED, range(REFUSED_KEY), account="acct_anna")
    assert fleet.stopped == [(EVERYTHING, LEDGER)]


async def test_key_that_works_in_between_is_not_wrong(fleet: FakeFleet) -> None:
    for _ in range(3):
        await fleet.hears(ProviderSignal.KEY_REFUSED, range(REFUSED_KEY - 1))
        await fleet.hears(ProviderSignal.FORBIDDEN, range(REFUSED_KEY - 1))
        await fleet.hears(ProviderSignal.NOT_FOUND, range(NOT_FOUND - 1))
        await fleet.hears(ProviderSignal.ANSWER, [500])
    assert fleet.stopped == []
