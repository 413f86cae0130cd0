"""Story of one call to Stripe: a transfer or its reversal, its answer, and the check of both
against the response matrix.

Many stories share one database and one simulated Stripe. Each has an order, a seller and a transfer
of its own.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from domain.fact import Fact
from domain.identity import transfer_stream
from domain.seller_transfer import facts
from infrastructure.settings import WorkSettings
from infrastructure.simulators.stripe import SimulatorControl
from infrastructure.simulators.stripe.errors import CATALOGUE
from tests.support.expected_outcomes import Due
from tests.support.idempotency_keys import epoch_of
from tests.support.injected_faults import AnswerRewriter, Fault, RewrittenAnswer, Situation
from tests.support.json_types import Json
from tests.support.response_matrix import PATIENT, ResponseCase, Row
from tests.support.service import (
    CREATE,
    QUICK,
    REVERSE,
    SLOW,
    LedgerCaller,
    SystemUnderTest,
    account,
)

BEFORE = {
    CREATE: ["Created", "CallStarted"],
    REVERSE: ["Created", "CallStarted", "Completed", "ReversalRequested", "CallStarted"],
}
"""The facts up to the call under test."""
STAYS = {CREATE: "pending", REVERSE: "reversal_pending"}
DONE = {CREATE: "completed", REVERSE: "reversed"}
SHARE = 900


class CallStory:
    """A transfer of 900 to one seller, and the call under test: the call that pays it or the call
    that reverses it."""

    def __init__(
        self,
        system: SystemUnderTest,
        rewriter: AnswerRewriter,
        call: str,
        number: int,
        situation: Situation,
    ) -> None:
        self.system, self.rewriter, self.call, self.situation = system, rewriter, call, situation
        self.order_id, self.seller = f"o{number}", f"{situation.seller}{number}"
        self.transfer_id = transfer_stream(self.order_id, self.seller)
        self.stripe_transfer_id = ""
        self.caller: LedgerCaller
        self._ledger, self._settings = AsyncExitStack(), dict[str, object]()

    @property
    def stripe(self) -> SimulatorControl:
        return self.system.stripe

    async def work(
        self, work: WorkSettings, timeout: timedelta = PATIENT, **changes: timedelta
    ) -> None:
        """Run a ledger with these settings from now on, after the ledger before it is drained."""
        settings: dict[str, object] = {
            "transfers": work,
            "reversals": work,
            "stripe_timeout": timeout,
            **changes,
        }
        if settings != self._settings:
            await self.rest()
            self.caller, self._settings = (
                await self._ledger.enter_async_context(self.system.at_work(**settings)),
                settings,
            )

    async def rest(self) -> None:
        """Drain the ledger: it records the calls under way and begins no other."""
        await self._ledger.aclose()
        self._settings = {}

    async def open(self) -> None:
        """Go on until the call under test is the next one."""
        if self.call == REVERSE:
            await self.system.paid(self.caller, self.order_id, 1_000, **{self.seller: SHARE})
            self.stripe_transfer_id = str(
                (await self.system.view.transfer(self.order_id)).stripe_transfer_id
            )
        if self.situation.begins:
            await self.situation.begins(self)

    async def provoke(self, answer: Fault | RewrittenAnswer | Situation, nth: int = 1) -> None:
        """Let Stripe answer the nth call from now on like that."""
        match answer:
            case Fault():
                await self.stripe.fault(
                    answer.kind,
                    self.call,
                    nth=nth,
                    destination=self._destination,
                    transfer=self._transfer,
                    **answer.settings,
                )
            case RewrittenAnswer():
                self.rewriter.rewrite(self.call, answer)

    async def hold(self, nth: int) -> None:
        await self.stripe.hold(
            self.call, nth=nth, destination=self._destination, transfer=self._transfer
        )

    @property
    def _destination(self) -> str | None:
        """Return the account by which Stripe knows the story's payment from others."""
        return account(self.seller) if self.call == CREATE else None

    @property
    def _transfer(self) -> str | None:
        """Return the transfer by which Stripe knows the story's reversal from others."""
        return self.stripe_transfer_id if self.call == REVERSE else None

    async def cause(self) -> None:
        """Cause the call under test, by a payment or a refund."""
        if self.call == REVERSE:
            await self.caller.refund(f"r_{self.order_id}", self.order_id, 1_000)
        else:
            await self.caller.order(self.order_id, 1_000, **{self.seller: SHARE})
            await self.caller.pay(self.order_id, self.situation.source)

    async def told(self, number: int = 0) -> list[Fact]:
        """Return the transfer's history, once it has that many facts."""

        async def there() -> list[Fact]:
            told = await self.system.view.facts(self.transfer_id)
            return told if len(told) >= number else []

        return await self.system.view.until(there, f"{number} facts of {self.order_id}")

    async def posts(self) -> list[Json]:
        """Return Stripe's log of our calls, oldest first."""
        posts = await self.system.posts(self.call)
        if self.call == CREATE:
            return [post for post in posts if post["destination"] == self._destination]
        return [post for post in posts if post["transfer"] == self._transfer]

    async def calls(self) -> list[facts.CallStarted]:
        """Return the intents of these calls. Check first that each was sent as its fact says: one
        body under one key."""
        prefix = "transfer:" if self.call == CREATE else "reversal:"
        told = await self.system.view.facts(self.transfer_id)
        intents = [
            fact
            for fact in told
            if isinstance(fact, facts.CallStarted) and fact.key.startswith(prefix)
        ]
        named = {fact.key: fact.body for fact in intents}
        assert [post["key"] for post in await self.posts()] == [fact.key for fact in intents]
        assert [epoch_of(fact.key) for fact in intents] == [f"e{fact.epoch}" for fact in intents]
        assert [fact.body for fact in intents] == [named[fact.key] for fact in intents]
        return intents

    async def alarms(self) -> set[str]:
        query = "select kind from alarms where cleared_at is null and subject = %s"
        return {row["kind"] for row in await self.system.view.select(query, str(self.transfer_id))}


@asynccontextmanager
async def call_story(
    system: SystemUnderTest, rewriter: AnswerRewriter, call: str, number: int, situation: Situation
) -> AsyncIterator[CallStory]:
    """Open a story; at its end its ledger is drained and Stripe's wording is restored."""
    story = CallStory(system, rewriter, call, number, situation)
    try:
        yield story
    finally:
        await story.rest()
        await system.stripe.restore_wording()


# --- one row of the table -------------------------------------------------------------------------


async def check_response(story: CallStory, case: ResponseCase) -> None:
    """Make the call, and compare its answer and all that follows with the row of the matrix."""
    row, call, follows = case
    by_itself = follows.due in (Due.HINDERED, Due.AT_ONCE)
    await story.work(QUICK if by_itself else SLOW)
    await story.open()
    await story.work(QUICK if by_itself else SLOW, row.timeout)
    await story.provoke(row.stripe)
    if by_itself:  # the next call is stopped at Stripe until we have looked
        await story.hold(nth=2)
    await story.cause()
    heard = len(BEFORE[call]) + len(follows.facts)
    await story.told(heard)
    if by_itself:
        await story.stripe.wait_until_held(call)
    await assert_answered(story, case)
    if by_itself:
        await story.stripe.release(call)
        await story.told(heard + len(follows.then))
    elif follows.then:
        await go_on(story, case)
    await story.rest()
    await assert_ended(story, case)


async def go_on(story: CallStory, case: ResponseCase) -> None:
    """End the cause where it can end, and let an operator retry."""
    if story.situation.ends:
        await story.situation.ends(story)
    await story.work(SLOW, case.row.later)
    await story.caller.retry(story.transfer_id)
    await story.told(len(BEFORE[case.call]) + len(case.follows.facts) + 1 + len(case.follows.then))


async def assert_answered(story: CallStory, case: ResponseCase) -> None:
    """Check the facts that the answer led to, the row and the alarms."""
    follows = case.follows
    answered = (await story.told())[len(BEFORE[case.call]) :][: len(follows.facts)]
    assert names(answered) == list(follows.facts)
    assert word_of(answered[-1]) == follows.why
    assert getattr(answered[-1], "open", False) is follows.open
    if follows.identified:
        post = (await story.posts())[0]
        arrived = post["outcome"] in ("answered", "truncate_body")
        assert getattr(answered[-1], "request_id") == (post["request_id"] if arrived else None)  # noqa: B009
    await assert_row(story, case, answered[-1])
    assert await story.alarms() == ({follows.alarm} if follows.alarm else set())


async def assert_row(story: CallStory, case: ResponseCase, answered: Fact) -> None:
    row, follows = await story.system.view.transfer(story.order_id), case.follows
    assert row.status == (follows.status or STAYS[case.call])
    assert (row.retry_count, row.waiting_for) == (follows.retries, follows.waiting_for)
    wait = {
        Due.BACKOFF: SLOW.backoff_base,
        Due.HINDERED: QUICK.backoff_base,
        Due.AT_ONCE: timedelta(0),
        Due.FUNDS: story.system.settings.funds_retry_interval,
        Due.NEVER: None,
    }[follows.due]
    assert row.next_retry_at == (None if wait is None else answered.timestamp + wait)
    if follows.prefix is None:
        assert row.last_error is None
    else:
        said = re.escape(follows.prefix) + words_of(case.row)
        assert re.fullmatch(said, row.last_error or "", re.DOTALL), (
            f"{row.last_error!r} is not {said!r}"
        )


async def assert_ended(story: CallStory, case: ResponseCase) -> None:
    """Check that only the facts and calls of the matrix row exist."""
    follows = case.follows
    by_itself = follows.due in (Due.HINDERED, Due.AT_ONCE)
    retried = "Reopened" if follows.status == "permanently_failed" else "RetryRequested"
    asked = [retried] if follows.then and not by_itself else []
    assert names(await story.told()) == [*BEFORE[case.call], *follows.facts, *asked, *follows.then]
    assert (await story.system.view.transfer(story.order_id)).status == (
        follows.ends or DONE[case.call]
    )
    assert tuple(call.epoch for call in await story.calls()) == follows.epochs


def words_of(row: Row) -> str:
    """Return a pattern for Stripe's message: that of the row, or that of the catalogue with any
    values."""
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
