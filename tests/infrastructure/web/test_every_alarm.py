"""Every kind of alarm, from its cause to its end: the row, the metric, the sentence, the runbook.

Each entry of `STORIES` is a generator: it causes the alarm, yields, and ends it as the runbook
says.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import orjson
import pytest

from application.command_handler import CommandHandler
from application.commands.decisions import Decision
from application.commands.split_money import SplitMoneyCommands
from application.missed_webhooks.poller import Poller, Times
from application.missed_webhooks.ports import PolledEvent, Span
from application.overdue_work import DueWork, OverdueWork
from application.webhooks.handler import (
    StoredEvent,
    WebhookAlarm,
    WebhookHandler,
    WebhookResult,
)
from application.webhooks.hyperswitch.split_money import SplitMoney
from application.webhooks.inbox_worker import MAX_ATTEMPTS, InboxLoop
from domain.errors import NewerRelease
from domain.identity import order_stream, transfer_stream
from domain.order import charge
from domain.pause import EVERYTHING
from domain.provider_call.outcome import (
    Hindrance,
    LookUpFailed,
    NotExecuted,
    Pending,
    ProviderSignal,
    ReversalOutcome,
    Succeeded,
    Unknown,
)
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.steps import Send
from domain.refund import psp_outcome
from infrastructure.postgres.bound_account import bind
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.event_store import StoredFact
from infrastructure.postgres.ledger import LEDGER, NEWER_RELEASE
from infrastructure.postgres.old_transactions import OldTransactionWatch
from infrastructure.postgres.webhook_polls import PostgresWebhookPolls
from infrastructure.runtime import breaker_monitor
from infrastructure.service import Service
from projections.alarm_causes import CAUSES
from projections.alarms import AlarmKind
from tests.application.commands.test_unexplained_amounts import RestoredLedger
from tests.application.process_managers.test_circuit_breaker import BODY
from tests.domain.order import test_charge
from tests.domain.order.test_resolutions import written_off
from tests.domain.refund import test_psp_outcome
from tests.domain.refund.test_psp_outcome import RefundStory
from tests.domain.test_legacy_import import taken_over
from tests.support.alarm_world import MIA, AlarmWorld
from tests.support.domain_story import POLICY, Answers, Sale, Story
from tests.support.storage import on_postgres

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RUNBOOK = (Path(__file__).parents[3] / "docs" / "runbook.md").read_text()
BUSY = NotExecuted(Hindrance.LOCK_TIMEOUT, "Another call holds the object.")
NO_KEY = NotExecuted(Hindrance.UNAUTHORIZED, "Invalid API key.")
ODD = Unknown("disagrees", "Stripe answered with another amount.")

Steps = AsyncIterator[None]
STORIES: dict[str, Callable[[AlarmWorld], Steps]] = {}


def story_of(kind: str) -> Callable[[Callable[[AlarmWorld], Steps]], Callable[[AlarmWorld], Steps]]:
    def kept(steps: Callable[[AlarmWorld], Steps]) -> Callable[[AlarmWorld], Steps]:
        assert kind not in STORIES, kind
        STORIES[kind] = steps
        return steps

    return kept


@pytest.fixture
async def world(service: Service, database_url: str) -> AsyncIterator[AlarmWorld]:
    async with on_postgres(database_url) as storage:
        yield AlarmWorld(service, storage)


def test_every_kind_has_a_story_and_the_code_raises_no_other() -> None:
    assert STORIES.keys() == CAUSES.keys()
    assert {*AlarmKind, *WebhookAlarm} <= CAUSES.keys()


@pytest.mark.parametrize("kind", sorted(CAUSES))
async def test_alarm_fires_with_its_cause_is_told_and_clears(
    kind: str, world: AlarmWorld, client: httpx.AsyncClient
) -> None:
    steps = STORIES[kind](world)
    await anext(steps)
    (alarm,) = await world.open(kind)
    assert alarm.detail
    assert f'ledger_alarms_open{{kind="{kind}"}} 1.0' in (await client.get("/metrics")).text
    groups = (await client.get("/v1/overview")).json()["alarms"]
    (group,) = [one for one in groups if one["kind"] == kind]
    assert group["sentence"].endswith("."), "it says what a person does"
    page, anchor = group["runbook"].split("#")
    assert page == "runbook.md"
    assert f'<a id="{anchor}"></a>`{kind}`' in RUNBOOK
    with suppress(StopAsyncIteration):
        await anext(steps)
    assert await world.open(kind) == [], "it clears"
    assert f'ledger_alarms_open{{kind="{kind}"}} 1.0' not in (await client.get("/metrics")).text


# --- calls of a transfer --------------------------------------------------------------------------


def passing(kind: str, *causes: ReversalOutcome, pause: timedelta = HOUR) -> None:
    """Tell an alarm about a call that ends when the seller is paid."""

    @story_of(kind)
    async def steps(world: AlarmWorld) -> Steps:
        story = Story()
        for outcome in causes:
            story.passes(pause).call(outcome)
        await world.keep_story(story)
        yield
        story.transfer.retry(*MIA, story.now)
        story.call(Succeeded("tr_1", 10_000))
        await world.keep_story(story)


passing("awaiting_funds", Answers.too_little)
passing("stripe_refuses_the_key", NO_KEY)
passing("on_hold", Answers.on_hold)
passing("hindered", BUSY, BUSY)


@story_of("stripe_answer_not_understood")
async def not_understood(world: AlarmWorld) -> Steps:
    story = Story()
    story.call(ODD)
    await world.keep_story(story)
    yield
    story.call(Succeeded("tr_1", 10_000))
    await world.keep_story(story)


@story_of("permanently_failed")
async def permanently_failed(world: AlarmWorld) -> Steps:
    story = Story()
    story.policy = replace(story.policy, max_retries=0)
    story.call(Answers.refused)
    await world.keep_story(story)
    yield
    await world.commands.operator.retry(story.transfer.id, *MIA)


@story_of("reversal_undecided")
async def reversal_undecided(world: AlarmWorld) -> Steps:
    story = Story().reversing()
    story.call(Pending("trr_1", 4_000))
    story.passes(45 * DAY).see(story.books(story.ours()._replace(status="pending")))
    await world.keep_story(story)
    yield
    story.see(story.books(story.ours()))
    await world.keep_story(story)


@story_of("evidence_held")
async def evidence_held(world: AlarmWorld) -> Steps:
    story = Story().reversing()
    older, newer = story.send(), story.send()
    story.answer(newer, Succeeded("trr_1", 4_000))
    story.answer(older, Succeeded("trr_2", 4_000))
    await world.keep_story(story)
    yield
    await world.acknowledge("evidence_held")


@story_of("drift")
async def drift(world: AlarmWorld) -> Steps:
    story = Story().reversing(amount=4_000)
    story.call(Answers.already, seen=story.books(story.theirs(10_000)))
    await world.keep_story(story)
    yield
    await world.acknowledge("drift")


@story_of("imported_unclear")
async def imported_unclear(world: AlarmWorld) -> Steps:
    story = taken_over(Story(), "pending")
    await world.keep_story(story)
    yield
    await world.commands.operator.retry(story.transfer.id, *MIA)


@story_of("refund_missing")
async def refund_missing(world: AlarmWorld) -> Steps:
    restored = RestoredLedger(world.storage)
    await restored.restored()
    await restored.seen()
    await restored.fails()
    await restored.resumed()
    yield
    await restored.fails()


@story_of("resolution_lapsed")
async def resolution_lapsed(world: AlarmWorld) -> Steps:
    story = written_off(Sale, Answers)
    story.is_revoked("r1")
    await world.keep(story.order, *story.transfers)
    yield
    await world.commands.operator.resolve(
        world.service.gateway, story.of("ada").id, *MIA, "paid back by bank"
    )


# --- the order and its payment --------------------------------------------------------------------


@story_of("held_back")
async def held_back(world: AlarmWorld) -> Steps:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("payment_failed", **PAYMENT, status="failed")
    yield
    await world.commands.operator.retry(transfer_stream("o1", "anna"), *MIA)


@story_of("payment_failed_after_paid")
async def payment_failed_after_paid(world: AlarmWorld) -> Steps:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("payment_failed", **PAYMENT, status="failed")
    yield
    await world.acknowledge("payment_failed_after_paid")


@story_of("charge_not_readable")
async def charge_not_readable(world: AlarmWorld) -> Steps:
    sale = test_charge.Sale()
    charge.lose(sale.order, sale.transfers, "not_readable", "No such charge", sale.now)
    await world.keep(sale.order, *sale.transfers)
    yield
    await world.commands.orders.read_charge("o1", *MIA)


@story_of("charge_unread")
async def charge_unread(world: AlarmWorld) -> Steps:
    sale = test_charge.Sale()
    for at in (sale.now, sale.now + HOUR):
        charge.defer(sale.order, DeferralReason.LOOK_UP_FAILED, "No answer.", at, POLICY)
    await world.keep(sale.order, *sale.transfers)
    yield
    uow = await world.storage.ledger.load([sale.order.id, *(one.id for one in sale.transfers)])
    charge.find(uow.order("o1"), uow.transfers(), test_charge.SEEN, sale.now + 2 * HOUR)
    await world.storage.ledger.append(uow)


# --- refunds --------------------------------------------------------------------------------------


def of_refund(kind: str, *causes: Unknown | NotExecuted) -> None:
    """Tell an alarm about a refund that ends when it succeeds."""

    @story_of(kind)
    async def steps(world: AlarmWorld) -> Steps:
        story = RefundStory()
        for outcome in causes:
            assert isinstance(story.is_due(), Send)
            story.hears(outcome)
            story.now += HOUR
        await world.keep(story.refund)
        yield
        uow = await world.storage.ledger.load([story.refund.id])
        refund = uow.refund()
        assert refund is not None
        refund.succeed("psp:evt_1", [], story.now)
        await world.storage.ledger.append(uow)


of_refund("psp_refuses_the_key", NotExecuted(Hindrance.FORBIDDEN, "API key has expired."))
of_refund("refund_not_understood", Unknown("disagrees", "The PSP answered for another payment."))
of_refund("refund_hindered", BUSY, BUSY)

PAYMENT = {"payment_id": "pay_1", "amount": 1_000, "currency": "EUR"}
REFUND = {"refund_id": "ref_1", "payment_id": "pay_1", "amount": 400, "currency": "EUR"}
DISPUTE = {
    "dispute_id": "dp_1", "payment_id": "pay_1", "amount": "400", "currency": "EUR",
    "dispute_status": "dispute_lost",
}  # fmt: skip
SUCCEEDED = {**REFUND, "status": "succeeded"}
NAMED = {"metadata": {"order_id": "o1"}}


@story_of("refund_undecided")
async def refund_undecided(world: AlarmWorld) -> Steps:
    story = RefundStory()
    story.begins()
    story.refund.submit("r1", story.now + HOUR, story.now)
    after, why = story.now + DAY, DeferralReason.LOOK_UP_FAILED
    psp_outcome.put_off(
        story.refund, why, "no answer", after + HOUR, after, test_psp_outcome.POLICY
    )
    await world.keep(story.refund)
    yield
    await fails(world, story)


async def fails(world: AlarmWorld, story: RefundStory) -> None:
    uow = await world.storage.ledger.load([story.refund.id])
    refund = uow.refund()
    assert refund is not None
    refund.fail("psp:evt_1", "The buyer's bank refused.", story.now + 2 * DAY)
    await world.storage.ledger.append(uow)


@story_of("refund_failed_after_success")
async def refund_failed_after_success(world: AlarmWorld) -> Steps:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("refund_succeeded", **SUCCEEDED)
    await world.psp_tells("refund_failed", **REFUND, status="failed")
    yield
    await world.acknowledge("refund_failed_after_success")


@story_of("refund_set_aside")
async def refund_set_aside(world: AlarmWorld) -> Steps:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("refund_succeeded", **{**SUCCEEDED, "currency": "USD"})
    yield
    await world.commands.decisions.refund("ref_1", Decision(None, *MIA, None))


# --- disputes -------------------------------------------------------------------------------------


@story_of("dispute_open")
async def dispute_open(world: AlarmWorld) -> Steps:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("dispute_opened", **DISPUTE)
    yield
    await world.psp_tells("dispute_won", **DISPUTE)


@story_of("dispute_set_aside")
async def dispute_set_aside(world: AlarmWorld) -> Steps:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("dispute_lost", **{**DISPUTE, "currency": "USD"})
    yield
    await world.commands.decisions.dispute("dp_1", Decision(None, *MIA, None))


# --- webhooks -------------------------------------------------------------------------------------


def of_webhook(kind: str, cause: Callable[[AlarmWorld], Awaitable[None]]) -> None:
    """Tell an alarm about a webhook, which a person then discards."""

    @story_of(kind)
    async def steps(world: AlarmWorld) -> Steps:
        await cause(world)
        yield
        await world.discard()


async def unreadable(world: AlarmWorld) -> None:
    await world.told.hears_bytes("hyperswitch", "evt", "refund_succeeded", b"no JSON")


async def parked_too_long(world: AlarmWorld) -> None:
    await world.psp_tells("refund_succeeded", **SUCCEEDED)
    await world.later(8 * DAY)


async def dead(world: AlarmWorld) -> None:
    async def fails(event: StoredEvent) -> WebhookResult:
        raise RuntimeError("a fault")

    inbox, alarms = world.storage.inbox, world.storage.alarms
    handler = WebhookHandler(stripe={"transfer.updated": fails})
    loop = InboxLoop(inbox, handler, alarms, world.service.clock, parked_deadline=DAY)
    await inbox.put("stripe", "evt", "transfer.updated", b"{}", await world.storage.now())
    async with world.service.pool.connection() as connection:
        await connection.execute("update webhook_inbox set attempts = %s", (MAX_ATTEMPTS - 1,))
    await loop.turn()
    await loop.drain()


async def payment_disagrees(world: AlarmWorld) -> None:
    await world.told.sells(paid=False)
    less = {**PAYMENT, **NAMED, "status": "succeeded", "amount_received": 600}
    await world.psp_tells("payment_succeeded", **less)


async def refund_disagrees(world: AlarmWorld) -> None:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("refund_succeeded", **SUCCEEDED)
    await world.psp_tells("refund_succeeded", **{**SUCCEEDED, "amount": 500})


async def dispute_disagrees(world: AlarmWorld) -> None:
    await world.told.sells(payment_id="pay_1")
    for event_type in ("dispute_opened", "dispute_won", "dispute_lost"):
        await world.psp_tells(event_type, **DISPUTE)


async def refund_of_surplus(world: AlarmWorld) -> None:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("refund_succeeded", **{**SUCCEEDED, **NAMED, "payment_id": "pay_2"})


async def dispute_of_surplus(world: AlarmWorld) -> None:
    await world.told.sells(payment_id="pay_1")
    await world.psp_tells("dispute_lost", **{**DISPUTE, **NAMED, "payment_id": "pay_2"})


async def refund_unknown_to_psp(world: AlarmWorld) -> None:
    await world.told.sells(payment_id="pay_1")
    shown = {"id": "re_1", "object": "refund", "amount": 400, "currency": "eur", **NAMED}
    await world.stripe_tells("refund.created", **shown, status="succeeded", charge="ch_1")
    await world.later(DAY + HOUR)


async def reinstated_in_part(world: AlarmWorld) -> None:
    await world.told.sells(payment_id="pi_1")
    shown = {"id": "dp_1", "amount": 400, "currency": "eur", "payment_intent": "pi_1", **NAMED}
    moved = [{"amount": -400, "currency": "eur"}]
    await world.stripe_tells(
        "charge.dispute.funds_reinstated", **shown, status="won", balance_transactions=moved
    )


async def reversed_at_stripe(world: AlarmWorld) -> None:
    """Others reverse a transfer whose own reversal was given up."""
    story = Story().reversing()
    story.policy = replace(story.policy, max_retries=0)
    story.call(Answers.not_found)
    await world.keep_story(story)
    seen = story.books(story.theirs(1_000))
    world.told.stripe.transfers["tr_1"] = seen
    shown = {"id": "tr_1", "object": "transfer", "amount": 10_000, "currency": "eur",
             "amount_reversed": 1_000, "destination": "acct_ada"}  # fmt: skip
    mine = {"transfer_id": str(story.transfer.id)}
    await world.stripe_tells("transfer.reversed", **shown, metadata=mine)


async def split_money(world: AlarmWorld) -> None:
    """The buyer pays the seller directly, so the money never reaches the platform."""
    await world.told.sells(paid=False)
    orders = CommandHandler(world.storage.ledger, world.service.clock)
    around = SplitMoney(
        world.told._handlers["hyperswitch"],
        SplitMoneyCommands(orders),
        orders,
        world.storage.directory,
        world.told.stripe,  # type: ignore[arg-type]  # a direct charge is not read at Stripe
        world.service.clock,
    )
    inbox, alarms = world.storage.inbox, world.storage.alarms
    handler = WebhookHandler(hyperswitch=around.handlers())
    loop = InboxLoop(inbox, handler, alarms, world.service.clock, parked_deadline=DAY)
    direct = {"charge_type": {"stripe": "direct"}, "transfer_account_id": "acct_anna"}
    split = {"stripe_split_payment": {**direct, "application_fees": 100}}
    paid = {**PAYMENT, **NAMED, "status": "succeeded", "amount_received": 1_000}
    shown = {"content": {"object": {**paid, "split_payments": split}}}
    body = orjson.dumps({"event_id": "evt", "event_type": "payment_succeeded", **shown})
    await inbox.put("hyperswitch", "evt", "payment_succeeded", body, await world.storage.now())
    await loop.turn()
    await loop.drain()


for _kind, _cause in {
    "webhook_unreadable": unreadable,
    "webhook_parked_too_long": parked_too_long,
    "webhook_dead": dead,
    "payment_disagrees": payment_disagrees,
    "refund_disagrees": refund_disagrees,
    "dispute_disagrees": dispute_disagrees,
    "refund_of_surplus_payment": refund_of_surplus,
    "dispute_of_surplus_payment": dispute_of_surplus,
    "refund_unknown_to_psp": refund_unknown_to_psp,
    "dispute_reinstated_in_part": reinstated_in_part,
    "reversed_at_stripe": reversed_at_stripe,
    "split_money": split_money,
}.items():
    of_webhook(_kind, _cause)


# --- the machine ----------------------------------------------------------------------------------


@story_of("paused")
async def paused(world: AlarmWorld) -> Steps:
    await world.commands.operator.pause(EVERYTHING, *MIA)
    yield
    await world.commands.operator.resume(EVERYTHING, *MIA)


async def observed(world: AlarmWorld, signal: ProviderSignal, number: int) -> None:
    """Let the monitor of a process hear the same of several transfers."""
    monitor = breaker_monitor(world.service)
    for one in range(number):
        step = Send("transfer", 1, "key", BODY)
        await monitor.observe(order_stream(str(one)), step, signal, f"acct_{one}")
    await monitor.turn()


@story_of("sending_stopped")
async def sending_stopped(world: AlarmWorld) -> Steps:
    await observed(world, ProviderSignal.KEY_REFUSED, 3)
    yield
    await world.commands.operator.resume(EVERYTHING, *MIA)


@story_of("stripe_outage")
async def stripe_outage(world: AlarmWorld) -> Steps:
    await observed(world, ProviderSignal.SILENCE, 8)
    yield
    await PostgresCircuitBreaker(world.service.pool).close_breaker()  # as an answered probe does
    await breaker_monitor(world.service).turn()


@story_of("newer_release")
async def newer_release(world: AlarmWorld) -> Steps:
    await world.told.sells("k")
    store, stream = world.service.store, order_stream("k")
    version = len((await store.load([stream]))[stream]) + 1
    at = {"_type_": "datetime_iso", "_data_": world.service.clock.now().isoformat()}
    state = orjson.dumps({"timestamp": at, "note": "gift"})
    await store.append([StoredFact(stream, version, "ledger.order.gift_noted", state)])
    with pytest.raises(NewerRelease):
        await world.service.commands.orders.order("k")
    yield
    await world.service.alarms.clear(NEWER_RELEASE, LEDGER)  # as the next start does


@story_of("work_overdue")
async def work_overdue(world: AlarmWorld) -> Steps:
    await world.told.sells()
    await world.storage.let_pass(HOUR)
    work = world.storage.work
    due = DueWork({"transferring": lambda: work.next_due("transferring")}, world.service.clock)
    watch = OverdueWork(due, world.storage.alarms, HOUR / 2)
    await watch.turn()
    yield
    await work.claim("transferring", "a worker", 10, DAY)
    await watch.turn()


@story_of("old_transaction")
async def old_transaction(world: AlarmWorld) -> Steps:
    watch = OldTransactionWatch(world.service.pool, world.service.alarms, timedelta(0))
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(world.service.pool.connection())
        await stack.enter_async_context(connection.transaction())
        await connection.execute("select 1")
        await watch.turn()
    yield
    await watch.turn()


class Lists:
    """A provider that lists one event once, or refuses the key."""

    name, longest = "stripe", DAY

    def __init__(self, *pages: Sequence[PolledEvent] | LookUpFailed) -> None:
        self.pages = list(pages)

    async def events(self, span: Span) -> AsyncIterator[Sequence[PolledEvent]]:
        page = self.pages.pop(0) if self.pages else []
        if isinstance(page, LookUpFailed):
            raise page
        yield page


async def polled(world: AlarmWorld, first: Sequence[PolledEvent] | LookUpFailed) -> Steps:
    await bind(world.service.pool, "test")  # the poller begins there
    await world.storage.let_pass(HOUR)
    provider = Lists(first)
    poller = Poller(
        PostgresWebhookPolls(world.service.pool),
        world.service.inbox,
        world.service.alarms,
        world.service.clock,
        [provider],
        Times(grace=timedelta(0)),
    )
    await poller.check(provider, anyway=True)
    yield
    await poller.check(provider, anyway=True)


@story_of("webhooks_missed")
def webhooks_missed(world: AlarmWorld) -> Steps:
    return polled(world, [PolledEvent("evt_lost", "transfer.created", b"{}")])


@story_of("webhooks_unchecked")
def webhooks_unchecked(world: AlarmWorld) -> Steps:
    return polled(world, LookUpFailed("Invalid API key.", ProviderSignal.KEY_REFUSED))
