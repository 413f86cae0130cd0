"""A state machine over the commands of one order and its refunds, on the ledger in memory, against
a model of plain values.

Each check loads the order anew, so it folds the stored facts. The model calls nothing of the
product: a seller keeps `share - share * refunded // amount`, a
refund counts once it has succeeded, and the PSP's last word decides. At the end the same reports
arrive in another order on a new ledger, and have to lead to the same amounts (law 7 of the design).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypedDict, TypeVar
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from application.command_handler import CommandHandler
from application.commands import commands_on
from application.commands.refunds import RefundReport, RefundRequest
from application.unit_of_work import UnitOfWork
from domain.errors import AwaitsPayment, Contradiction, ExceedsOrder, Refused
from domain.identity import refund_stream
from domain.order.recovery import recover_shares
from domain.order.state import Share
from domain.provider_call.outcome import Succeeded
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Send
from domain.refund.aggregate import Refund
from domain.seller_transfer.aggregate import SellerTransfer, causes_to_recover
from domain.seller_transfer.stripe_call import begin
from tests.support.domain_story import START
from tests.support.effort import examples
from tests.support.outcomes import record_reversal_outcome, record_transfer_outcome
from tests.support.storage import in_memory

AMOUNT, SHARES = 1_000, {"ada": 501, "bob": 399, "cyd": 7}
REFUNDS = {"r1": 333, "r2": 200, "r3": 67, "r4": 400, "r5": 950}
"""All but the last fit into the order together."""
T = TypeVar("T")
POLICY = Policy()
ARROWS = {
    "requested": "submitted succeeded failed review",
    "submitted": "succeeded failed review",
    "review": "succeeded failed",
    "succeeded": "failed",
    "failed": "succeeded",
}


class Told(TypedDict):
    """A refund of the model."""

    status: str
    counts: bool
    reserves: bool


class Ledger:
    """A ledger in memory with one order, and a Stripe that does every call at once."""

    def __init__(self) -> None:
        self.at, self._objects = START, 0
        self._runner = asyncio.Runner()
        self._storage = in_memory()
        self.storage = self.run(self._storage.__aenter__)
        self.commands = commands_on(self.storage.ledger, self.storage.directory, self)
        self._handler = CommandHandler(self.storage.ledger, self)
        shares = [
            Share(seller_id=seller, destination=f"acct_{seller}", amount=share)
            for seller, share in SHARES.items()
        ]
        orders = self.commands.orders
        self.run(
            lambda: orders.register(order_id="o1", currency="EUR", amount=AMOUNT, shares=shares)
        )

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def observe(self, asked: datetime, database_now: datetime) -> None: ...

    def run(self, command: Callable[[], Awaitable[T]]) -> T:
        async def awaited() -> T:
            return await command()

        return self._runner.run(awaited())

    def close(self) -> None:
        self.run(lambda: self._storage.__aexit__(None, None, None))
        self._runner.close()

    # commands

    def pays(self) -> None:
        self.run(lambda: self.commands.orders.record_payment("o1", "pay_1", None, "api"))

    def requests(self, name: str) -> None:
        request = RefundRequest(name, "o1", REFUNDS[name])
        self.run(lambda: self.commands.refunds.request(request))

    def hears(self, name: str, status: str, *, asked: bool = False) -> None:
        """Record a webhook of the PSP, or its answer to a question of ours."""
        provider = None if asked else "hyperswitch"
        report = RefundReport(name, "o1", REFUNDS[name], "EUR", "psp:1", provider=provider)
        refunds, version = self.commands.refunds, None
        if asked:
            version = self.loaded().refund_named(name).version
        match status:
            case "succeeded":
                self.run(lambda: refunds.succeeded(report, asked=version))
            case "failed":
                self.run(lambda: refunds.failed(report, asked=version))
            case _:
                self.run(lambda: refunds.under_review(report))

    def calls_stripe(self) -> None:
        """Let every due call succeed, until none is due."""
        while due := [one for one in self.loaded().transfers() if one.next_retry_at is not None]:
            for transfer in due:
                self.run(lambda: self._handler.handle(self._load, self._done(transfer.id)))  # noqa: B023

    async def _load(self) -> UnitOfWork:
        return await self._handler.load_order_with_transfers("o1")

    def _done(self, transfer_id: UUID) -> Callable[[UnitOfWork, datetime], None]:
        def decide(uow: UnitOfWork, now: datetime) -> None:
            transfer = uow.transfer(transfer_id)
            reduced = dict(transfer.reductions)
            step = begin(transfer, now, POLICY)
            assert isinstance(step, Send), step
            self._objects += 1
            done = Succeeded(f"obj_{self._objects}", step.body["amount"])
            if step.what == "transfer":
                record_transfer_outcome(transfer, step.attempt, done, now, POLICY)
            else:
                record_reversal_outcome(transfer, step.what, step.attempt, done, None, now, POLICY)
            for cause_id in causes_to_recover(transfer, reduced):
                uow.add(recover_shares(uow.order("o1"), uow.transfers(), cause_id, now))

        return decide

    # state

    def loaded(self) -> "Loaded":
        refunds = [refund_stream(name) for name in REFUNDS]

        async def load() -> UnitOfWork:
            return await self._handler.load_order_with_transfers("o1", *refunds)

        return Loaded(self.run(load))


class Loaded:
    """The order, its transfers and all its refunds, folded from the stored facts."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow, self.order = uow, uow.order("o1")

    def transfers(self) -> list[SellerTransfer]:
        return self._uow.transfers()

    def refunds(self) -> dict[str, Refund]:
        streams = list(self._uow._streams.values())
        return {one.refund_id: one for one in streams if isinstance(one, Refund)}

    def refund_named(self, name: str) -> Refund:
        return self.refunds()[name]

    def keeps(self, seller_id: str) -> int:
        """Return the amount that the seller is paid in the end, less what is taken back."""
        theirs = [one for one in self.transfers() if one.seller_id == seller_id]
        return sum(one.original - one.taken for one in theirs)

    def ended(self) -> tuple[dict[str, int], dict[str, str], int]:
        statuses = {name: str(refund.status) for name, refund in self.refunds().items()}
        return {s: self.keeps(s) for s in SHARES}, statuses, self.order.refundable


class OrderAgainstModel(RuleBasedStateMachine):
    """One order with its refunds, and the model of them."""

    @initialize()
    def is_registered(self) -> None:
        self.ledger = Ledger()
        self.paid = False
        self.refunds: dict[str, Told] = {}
        self.history: list[tuple[str, str]] = []
        """Reports that the ledger took, as (refund, status)."""
        self.capped = False
        """True once the cap has refused a refund: then the order of reports counts."""

    @property
    def refunded(self) -> int:
        return sum(REFUNDS[name] for name, told in self.refunds.items() if told["counts"])

    @property
    def refundable(self) -> int:
        reserved = sum(REFUNDS[name] for name, told in self.refunds.items() if told["reserves"])
        return max(0, AMOUNT - self.refunded - reserved)

    # --- what callers and the PSP say -------------------------------------------------------------

    @precondition(lambda self: not self.paid)
    @rule()
    def buyer_pays(self) -> None:
        self.ledger.pays()
        self.paid = True

    @rule(name=st.sampled_from(sorted(REFUNDS)))
    def caller_requests(self, name: str) -> None:
        if name in self.refunds:
            self.ledger.requests(name)
        elif not self.paid:
            with pytest.raises(Refused):
                self.ledger.requests(name)
        elif REFUNDS[name] > self.refundable:
            self.capped = True
            with pytest.raises(ExceedsOrder):
                self.ledger.requests(name)
        else:
            self.ledger.requests(name)
            self.refunds[name] = Told(status="requested", counts=False, reserves=True)

    @rule(name=st.sampled_from(sorted(REFUNDS)), asked=st.booleans())
    def psp_says_succeeded(self, name: str, asked: bool) -> None:
        told, left = self.refunds.get(name), AMOUNT - self.refunded
        asked = asked and told is not None
        fits = REFUNDS[name] <= left
        if told is None and not self.paid and not fits:
            self.capped = True
            with pytest.raises(AwaitsPayment):
                self.ledger.hears(name, "succeeded")
            return
        if told is not None and told["status"] == "failed" and not asked:
            with pytest.raises(Contradiction):
                self.ledger.hears(name, "succeeded")
            self.history.append((name, "succeeded"))
            return
        if not self.paid and not fits and told is not None and not told["counts"]:
            return  # waits for the payment, or is set aside: see test_collected.py
        self.ledger.hears(name, "succeeded", asked=asked)
        self.history.append((name, "succeeded"))
        told = self.refunds.setdefault(name, Told(status="submitted", counts=False, reserves=False))
        if "succeeded" not in ARROWS[told["status"]]:
            return
        if fits:
            told["status"], told["counts"], told["reserves"] = "succeeded", True, False
        else:
            self.capped = True
            if "review" in ARROWS[told["status"]]:
                told["status"] = "review"

    @rule(name=st.sampled_from(sorted(REFUNDS)), asked=st.booleans())
    def psp_says_failed(self, name: str, asked: bool) -> None:
        told = self.refunds.get(name)
        asked = asked and told is not None
        self.history.append((name, "failed"))
        if told is not None and told["status"] == "succeeded" and not asked:
            with pytest.raises(Contradiction):
                self.ledger.hears(name, "failed")
            return
        self.ledger.hears(name, "failed", asked=asked)
        self.refunds[name] = Told(status="failed", counts=False, reserves=False)

    @rule(name=st.sampled_from(sorted(REFUNDS)))
    def psp_reviews(self, name: str) -> None:
        self.ledger.hears(name, "review")
        self.history.append((name, "review"))
        told = self.refunds.setdefault(name, Told(status="submitted", counts=False, reserves=False))
        if "review" in ARROWS[told["status"]]:
            told["status"] = "review"

    @rule()
    def stripe_does_what_is_due(self) -> None:
        self.ledger.calls_stripe()

    # --- what holds -------------------------------------------------------------------------------

    @invariant()
    def ledger_agrees_with_the_model(self) -> None:
        loaded = self.ledger.loaded()
        statuses = {name: str(refund.status) for name, refund in loaded.refunds().items()}
        assert statuses == {name: told["status"] for name, told in self.refunds.items()}
        order = loaded.order
        assert (order.paid, order.refunded) == (self.paid, self.refunded)
        assert order.refundable == self.refundable
        taken = {seller: share * self.refunded // AMOUNT for seller, share in SHARES.items()}
        assert (order.seller_targets or dict.fromkeys(SHARES, 0)) == taken
        assert {seller: loaded.keeps(seller) for seller in SHARES} == (
            {seller: SHARES[seller] - taken[seller] for seller in SHARES}
            if self.paid
            else dict.fromkeys(SHARES, 0)
        )

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.ledger.calls_stripe()
        self.ledger_agrees_with_the_model()
        loaded = self.ledger.loaded()
        for transfer in loaded.transfers():
            assert transfer.operation is None, "nothing is left to do"
            net = transfer.amount - transfer.amount_reversed
            sent = 0 if transfer.status == "cancelled" else net
            assert sent == transfer.original - transfer.taken
        if not self.capped:
            assert self._told_backwards() == loaded.ended()
        self.ledger.close()

    def _told_backwards(self) -> tuple[dict[str, int], dict[str, str], int]:
        """Tell a new ledger the same, the newest first, and return how it ends."""
        other = Ledger()
        if self.paid:
            other.pays()
        for name, told in self.refunds.items():
            if told["reserves"] or name not in dict(self.history):
                other.requests(name)
        for name, status in reversed(self.history):
            try:
                other.hears(name, status)
            except Contradiction:
                other.hears(name, self.refunds[name]["status"], asked=True)
        for name, told in self.refunds.items():
            if told["status"] in ("succeeded", "failed"):  # the PSP's list, polled at the end
                with suppress(Contradiction):
                    other.hears(name, told["status"], asked=True)
        other.calls_stripe()
        try:
            return other.loaded().ended()
        finally:
            other.close()


def test_order_told_in_any_way_agrees_with_the_model() -> None:
    run_state_machine_as_test(OrderAgainstModel, settings=examples(20, steps=25))
