"""One transfer, or its reversal, played up to the answer in question and on: the machinery under the table of rejections.

Many plays share one database and one Stripe, one after the other: each has an order, a seller and a transfer of its own.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from domain.fact import Fact
from domain.identity import transfer_stream
from domain.seller_transfer import facts
from infrastructure.settings import WorkSettings
from infrastructure.simulators.stripe import SimulatorControl
from infrastructure.simulators.stripe.errors import CATALOGUE
from tests.support.expected_outcomes import Due
from tests.support.injected_faults import AnswerRewriter, Fault, RewrittenAnswer, Situation
from tests.support.response_matrix import PATIENT, ResponseCase, Row
from tests.support.service import CREATE, QUICK, REVERSE, SLOW, LedgerCaller, SystemUnderTest, account

BEFORE = {
    CREATE: ["Created", "CallStarted"],
    REVERSE: ["Created", "CallStarted", "Completed", "ReversalRequested", "CallStarted"],
}
"""The facts up to the call in question."""
STAYS = {CREATE: "pending", REVERSE: "reversal_pending"}
DONE = {CREATE: "completed", REVERSE: "reversed"}
SHARE = 900


class Play:
    """A transfer of 900 to one seller, and the call in question: the one that pays it, or the one that takes it back."""

    def __init__(self, system: SystemUnderTest, rewriter: AnswerRewriter, call: str, number: int, scene: Situation) -> None:
        self.system, self.rewriter, self.call, self.scene = system, rewriter, call, scene
        self.order_id, self.seller = f"o{number}", f"{scene.seller}{number}"
        self.transfer_id = transfer_stream(self.order_id, self.seller)
        self.stripe_transfer_id = ""
        self.caller: LedgerCaller
        self._ledger, self._settings = AsyncExitStack(), dict[str, Any]()

    @property
    def stripe(self) -> SimulatorControl:
        return self.system.stripe

    async def work(self, work: WorkSettings, timeout: timedelta = PATIENT, **changes: Any) -> None:
        """From now on a ledger with these settings is at work; the one before is drained."""
        settings = {"transfers": work, "reversals": work, "stripe_timeout": timeout, **changes}
        if settings != self._settings:
            await self.rest()
            self.caller, self._settings = await self._ledger.enter_async_context(self.system.at_work(**settings)), settings

    async def rest(self) -> None:
        """The ledger is drained: what is under way is recorded, and nothing else begins."""
        await self._ledger.aclose()
        self._settings = {}

    async def open(self) -> None:
        """Up to where the call in question is the next one."""
        if self.call == REVERSE:
            await self.system.paid(self.caller, self.order_id, 1_000, **{self.seller: SHARE})
            self.stripe_transfer_id = str((await self.system.view.transfer(self.order_id)).stripe_transfer_id)
        if self.scene.begins:
            await self.scene.begins(self)

    async def provoke(self, answer: Fault | RewrittenAnswer | Situation, nth: int = 1) -> None:
        """The nth call from now on is answered like that."""
        match answer:
            case Fault():
                await self.stripe.fault(answer.kind, self.call, nth=nth, **self._our_calls, **answer.settings)
            case RewrittenAnswer():
                self.rewriter.rewrite(self.call, answer)

    async def hold(self, nth: int) -> None:
        await self.stripe.hold(self.call, nth=nth, **self._our_calls)

    @property
    def _our_calls(self) -> dict[str, str]:
        if self.call == CREATE:
            return {"destination": account(self.seller)}
        return {"transfer": self.stripe_transfer_id}

    async def cause(self) -> None:
        """What the call in question is made for."""
        if self.call == REVERSE:
            await self.caller.refund(f"r_{self.order_id}", self.order_id, 1_000)
        else:
            await self.caller.order(self.order_id, 1_000, **{self.seller: SHARE})
            await self.caller.pay(self.order_id, self.scene.source)

    async def told(self, number: int = 0) -> list[Fact]:
        """The transfer's history, once it has that many facts."""

        async def there() -> list[Fact]:
            told = await self.system.view.facts(self.transfer_id)
            return told if len(told) >= number else []

        return await self.system.view.until(there, f"{number} facts of {self.order_id}")

    async def posts(self) -> list[Mapping[str, Any]]:
        """Stripe's log of our calls, oldest first."""
        name, value = next(iter(self._our_calls.items()))
        return [post for post in await self.system.posts(self.call) if post[name] == value]

    async def calls(self) -> list[facts.CallStarted]:
        """The intents of these calls, after making sure that they went out as the facts say: one body under one key."""
        prefix = "transfer:" if self.call == CREATE else "reversal:"
        told = await self.system.view.facts(self.transfer_id)
        intents = [fact for fact in told if isinstance(fact, facts.CallStarted) and fact.key.startswith(prefix)]
        named = {fact.key: fact.body for fact in intents}
        assert [post["key"] for post in await self.posts()] == [fact.key for fact in intents]
        assert [fact.key.rpartition(":")[2] for fact in intents] == [f"e{fact.epoch}" for fact in intents]
        assert [fact.body for fact in intents] == [named[fact.key] for fact in intents]
        return intents

    async def alarms(self) -> set[str]:
        query = "select kind from alarms where cleared_at is null and subject = %s"
        return {row["kind"] for row in await self.system.view.select(query, str(self.transfer_id))}


@asynccontextmanager
async def played(system: SystemUnderTest, rewriter: AnswerRewriter, call: str, number: int, scene: Situation) -> AsyncIterator[Play]:
    """A play whose ledger is drained in the end, and whose words are taken back."""
    play = Play(system, rewriter, call, number, scene)
    try:
        yield play
    finally:
        await play.rest()
        await system.stripe.restore_wording()


# --- one row of the table ---------------------------------------------------------------------------------------------


async def plays_out(play: Play, case: ResponseCase) -> None:
    """The call, its answer and all that follows, compared with the row of the table."""
    row, call, follows = case
    by_itself = follows.due is Due.HINDERED
    await play.work(QUICK if by_itself else SLOW)
    await play.open()
    await play.work(QUICK if by_itself else SLOW, row.timeout)
    await play.provoke(row.stripe)
    if by_itself:  # the next call is stopped at Stripe until we have looked
        await play.hold(nth=2)
    await play.cause()
    heard = len(BEFORE[call]) + len(follows.facts)
    await play.told(heard)
    if by_itself:
        await play.stripe.wait_until_held(call)
    await assert_heard(play, case)
    if by_itself:
        await play.stripe.release(call)
        await play.told(heard + len(follows.then))
    elif follows.then:
        await go_on(play, case)
    await play.rest()
    await assert_ended(play, case)


async def go_on(play: Play, case: ResponseCase) -> None:
    """The cause ends, where it can, and somebody says: now."""
    if play.scene.ends:
        await play.scene.ends(play)
    await play.work(SLOW, case.row.later)
    await play.caller.retry(play.transfer_id)
    await play.told(len(BEFORE[case.call]) + len(case.follows.facts) + 1 + len(case.follows.then))


async def assert_heard(play: Play, case: ResponseCase) -> None:
    """The facts that the answer led to, the row, and the alarms."""
    follows = case.follows
    answered = (await play.told())[len(BEFORE[case.call]) :][: len(follows.facts)]
    assert names(answered) == list(follows.facts)
    assert word_of(answered[-1]) == follows.why
    assert getattr(answered[-1], "open", False) is follows.open
    if follows.identified:
        post = (await play.posts())[0]
        arrived = post["outcome"] in ("answered", "truncate_body")
        assert getattr(answered[-1], "request_id") == (post["request_id"] if arrived else None)  # noqa: B009
    await assert_row(play, case, answered[-1])
    assert await play.alarms() == ({follows.alarm} if follows.alarm else set())


async def assert_row(play: Play, case: ResponseCase, answered: Fact) -> None:
    row, follows = await play.system.view.transfer(play.order_id), case.follows
    assert row.status == (follows.status or STAYS[case.call])
    assert (row.retry_count, row.waiting_for) == (follows.retries, follows.waiting_for)
    wait = {
        Due.BACKOFF: SLOW.backoff_base,
        Due.HINDERED: QUICK.backoff_base,
        Due.FUNDS: play.system.settings.funds_retry_interval,
        Due.NEVER: None,
    }[follows.due]
    assert row.next_retry_at == (None if wait is None else answered.timestamp + wait)
    if follows.prefix is None:
        assert row.last_error is None
    else:
        said = re.escape(follows.prefix) + words_of(case.row)
        assert re.fullmatch(said, row.last_error or "", re.DOTALL), f"{row.last_error!r} is not {said!r}"


async def assert_ended(play: Play, case: ResponseCase) -> None:
    """Nothing has happened but what the row of the table says."""
    follows = case.follows
    asked = ["RetryRequested"] if follows.then and follows.due is not Due.HINDERED else []
    assert names(await play.told()) == [*BEFORE[case.call], *follows.facts, *asked, *follows.then]
    assert (await play.system.view.transfer(play.order_id)).status == (follows.ends or DONE[case.call])
    assert tuple(call.epoch for call in await play.calls()) == follows.epochs


def words_of(row: Row) -> str:
    """A pattern for Stripe's words: the row's, or the entry's with anything in the place of its values."""
    if row.says is not None:
        return row.says
    assert row.entry is not None, f"{row.id} names neither an entry of the catalogue nor any words"
    return re.sub(r"\\\{\w+\\\}", ".+", re.escape(CATALOGUE[row.entry].message))


def names(told: Sequence[Fact]) -> list[str]:
    return [type(fact).__name__ for fact in told]


def word_of(fact: Fact) -> str:
    match fact:
        case facts.AttemptDeferred():
            return fact.why
        case facts.Failed() | facts.PermanentlyFailed():
            return fact.reason
        case facts.Reversed() | facts.PartiallyReversed():
            return fact.settled_by
        case _:
            return ""
