"""A random history of a marketplace through the real ledger: orders, payments, refunds, and
Stripe's answers.

One seed replays it. The clock never goes back and often stands still, so that several commands
share one instant.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from application.commands import commands_on
from application.commands.refunds import RefundReport
from application.process_managers.outcome_recorder import OutcomeRecorder
from application.process_managers.reversals import ReversalAnswer, ReversalFailed, ReversalProcess
from application.process_managers.transfers import TransferAnswer, TransferProcess, TransfersFound
from domain.errors import Refused
from domain.fact import opened
from domain.identity import transfer_stream
from domain.order.state import Share
from domain.provider_call.operation import TRANSFER
from domain.provider_call.outcome import Outcome, Rejected, Succeeded, Unknown
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.aggregate import TOPIC, SellerTransfer
from domain.seller_transfer.external_reversals import record_external
from domain.seller_transfer.opening_facts import Imported
from domain.seller_transfer.stripe_call import begin
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.read_side.read_models import Filters, ReadModels
from infrastructure.service import Storage
from tests.support.in_memory.stripe import MemoryStripe

START = datetime.fromisoformat("2026-03-02T09:30:00+00:00")
STEPS = [
    timedelta(0),
    timedelta(0),
    timedelta(microseconds=1),
    timedelta(seconds=1),
    timedelta(hours=5),
]
POLICY = Policy(
    max_retries=1,
    base=timedelta(seconds=1),
    maximum=timedelta(seconds=10),
    funds_deadline=timedelta(hours=20),
)
SELLERS = ("ada", "bob", "cyd")
TIMEOUT = Unknown("timeout", "no answer in 30 s", request_id=None)


class RandomMarketplace:
    """A marketplace, of which each `step` is one random command or one step of a worker."""

    def __init__(self, storage: Storage, seed: int) -> None:
        self._random, self.instant = Random(seed), START
        self._store, self._reads = PostgresEventLog(storage.store), ReadModels(storage.pool)
        self._commands = commands_on(self._store, PostgresDirectory(storage.pool), self)
        self._recorder = OutcomeRecorder(self._store, self)
        stripe = MemoryStripe(clock=self.now)
        self._transfers = TransferProcess(stripe, PostgresDirectory(storage.pool), POLICY)
        self._reversals = ReversalProcess(stripe, POLICY)
        self._books: dict[UUID, tuple[TransferAtStripe, list[ReversalAtStripe]]] = {}
        self._made = 0
        self.orders: list[str] = []
        self._refunds: list[RefundReport] = []
        # every life begins with money that goes out and comes back, all going well
        works = [self._works] * 4
        self._opening = [self._orders, *works, self._refunds_a_buyer, *works, self._takes_over]

    # the port Clock
    def observe(self, asked: datetime, database_now: datetime) -> None: ...

    def now(self) -> datetime:
        return self.instant

    async def step(self) -> None:
        self.instant += self._random.choice(STEPS)
        kinds: dict[Callable[[], Awaitable[None]], int] = {
            self._orders: 2, self._refunds_a_buyer: 3, self._takes_a_refund_back: 2,
            self._works: 14,
            self._dashboard: 1, self._retries: 1, self._takes_over: 1,
        }  # fmt: skip
        (chosen,) = self._random.choices(list(kinds), list(kinds.values()))
        if self._opening:
            chosen = self._opening.pop(0)
        with suppress(Refused):  # a refusal changes nothing, which is as good a command as any
            await chosen()

    def _name(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_{self._made}"

    # --- the marketplace --------------------------------------------------------------------------

    async def _orders(self) -> None:
        order_id, shares = self._name("o"), list[Share]()
        for seller in self._random.sample(SELLERS, 2):
            share = Share(
                seller_id=seller, destination=f"acct_{seller}", amount=self._random.randint(1, 500)
            )
            if self._random.random() < 0.2:
                share["currency"] = "USD"
            shares.append(share)
        await self._commands.orders.register(
            order_id=order_id, currency="EUR", amount=1_000, shares=shares
        )
        self.orders.append(order_id)
        if self._opening or self._random.random() < 0.9:
            await self._commands.orders.record_payment(
                order_id, f"pay_{order_id}", None, f"hyperswitch:evt_{order_id}"
            )

    async def _refunds_a_buyer(self) -> None:
        if self.orders:
            order_id = self._random.choice(self.orders)
            report = RefundReport(
                self._name("r"),
                order_id,
                333 if self._opening else self._random.choice([1, 100, 333, 1_000]),
                "EUR",
                "test",
            )
            self._refunds.append(report)
            await self._commands.refunds.succeeded(report)

    async def _takes_a_refund_back(self) -> None:
        if self._refunds:
            await self._commands.refunds.failed(self._random.choice(self._refunds))

    async def _retries(self) -> None:
        transfer = await self._some_transfer(lambda transfer: True)
        if transfer is not None:
            await self._commands.operator.retry(transfer.id, "mia", "it is time")

    async def _takes_over(self) -> None:
        """Import a row of an older system, with a Stripe id or without."""
        order_id, seller = self._name("old"), self._random.choice(SELLERS)
        named = self._name("tr") if self._random.random() < 0.5 else None
        back = self._random.choice([0, 40])
        fact = Imported(
            originator_id=transfer_stream(order_id, seller),
            originator_version=1,
            originator_topic=TOPIC,
            timestamp=self.instant,
            order_id=order_id,
            seller_id=seller,
            destination=f"acct_{seller}",
            amount=100,
            currency="EUR",
            transfer_group=order_id,
            status="partially_reversed" if back else self._random.choice(["completed", "failed"]),
            amount_reversed=back,
            evidence="an older table",
            stripe_transfer_id=named,
            next_retry_at=self.instant if not back else None,
        )
        if fact.status == "completed":
            fact = Imported(**{**vars(fact), "next_retry_at": None})
        uow = await self._store.load([])
        uow.add([opened(SellerTransfer, fact)])
        await self._store.append(uow)

    # --- Stripe and the workers -------------------------------------------------------------------

    async def _some_transfer(
        self, wanted: Callable[[SellerTransfer], bool]
    ) -> SellerTransfer | None:
        rows = await self._reads.transfers(Filters(), 500)
        uow = await self._store.load([row.transfer_id for row in rows])
        found = sorted(
            (transfer for transfer in uow.transfers() if wanted(transfer)), key=lambda one: one.id
        )
        return self._random.choice(found) if found else None

    async def _works(self) -> None:
        due = await self._some_transfer(
            lambda transfer: transfer.operation is not None and transfer.next_retry_at is not None
        )
        if due is None or due.next_retry_at is None:
            return
        self.instant = max(self.instant, due.next_retry_at)
        uow = await self._store.load([due.id])
        transfer = uow.transfer(due.id)
        step = begin(transfer, self.instant, POLICY)
        if uow.changed():
            await self._store.append(uow)
        if isinstance(step, Send | LookUp):
            if step.what == TRANSFER:
                await self._recorder.record(
                    self._transfers, due.id, uow, step, self._of_transfer(transfer, step)
                )
            else:
                await self._recorder.record(
                    self._reversals, due.id, uow, step, self._of_reversal(transfer, step)
                )

    def _choose_answer(self, *bad: str) -> str:
        return "well" if self._opening else self._random.choice([*["well"] * 4, *bad])

    def _of_transfer(self, transfer: SellerTransfer, step: Send | LookUp) -> TransferAnswer:
        if isinstance(step, Send):
            return self._paid(transfer, step)
        return TransfersFound([self._seen(transfer)] if transfer.id in self._books else [])

    def _of_reversal(self, transfer: SellerTransfer, step: Send | LookUp) -> ReversalAnswer:
        if isinstance(step, LookUp):
            return self._seen(transfer)
        outcome = self._reversed(transfer, step)
        if isinstance(outcome, Succeeded):
            return outcome
        seen = (
            self._seen(transfer)
            if isinstance(outcome, Rejected) and outcome.status == 400
            else None
        )
        return ReversalFailed(outcome, seen)

    def _paid(self, transfer: SellerTransfer, step: Send) -> Outcome:
        answer = self._choose_answer("timeout", "not ready", "funds", "refused")
        if answer == "well":
            made = TransferAtStripe(
                self._name("tr"),
                step.body["amount"],
                0,
                transfer.currency,
                transfer.destination,
                str(transfer.id),
            )
            self._books[transfer.id] = (made, [])
            return Succeeded(made.stripe_transfer_id, made.amount, "req_1")
        codes = {
            "not ready": "account_invalid",
            "funds": "balance_insufficient",
            "refused": "parameter_invalid",
        }
        return TIMEOUT if answer == "timeout" else Rejected(400, codes[answer], answer, stored=True)

    def _reversed(self, transfer: SellerTransfer, step: Send) -> Outcome:
        answer = self._choose_answer("timeout", "gone")
        seen = self._seen(transfer)
        if answer == "gone":
            return Rejected(404, "resource_missing", "No such transfer.", stored=True)
        if answer == "timeout":
            return TIMEOUT
        if step.body["amount"] > seen.reversible:
            return Rejected(400, None, "more than is left", stored=True)
        made = ReversalAtStripe(self._name("trr"), step.body["amount"], step.what)
        self._books[transfer.id][1].insert(0, made)
        return Succeeded(made.stripe_reversal_id, made.amount, "req_2")

    def _seen(self, transfer: SellerTransfer) -> TransferAtStripe:
        """Return the transfer in Stripe's books, where the older system's are too."""
        old = TransferAtStripe(
            transfer.stripe_transfer_id or "",
            transfer.amount,
            0,
            transfer.currency,
            transfer.destination,
            None,
        )
        held, reversals = self._books.setdefault(transfer.id, (old, []))
        taken = sum(reversal.amount for reversal in reversals)
        return held._replace(amount_reversed=taken, reversals=tuple(reversals))

    async def _dashboard(self) -> None:
        """Make a small external reversal at Stripe, and record it in the ledger."""
        paid = await self._some_transfer(
            lambda transfer: transfer.id in self._books and self._seen(transfer).reversible > 1
        )
        if paid is not None:
            self._books[paid.id][1].insert(0, ReversalAtStripe(self._name("trr"), 1, None))
            uow = await self._store.load([paid.id])
            record_external(uow.transfer(paid.id), self._seen(paid), self.instant)
            if uow.changed():
                await self._store.append(uow)
