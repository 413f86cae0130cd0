"""All orders of seven reports: a payment, two refunds (one reported twice and failing later), a
dispute withdrawn and won.

The decisions of the use cases run on a unit of work in memory, and Stripe does every call as
requested.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import uuid4

import pytest

from application.commands import disputes, refunds
from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundReport
from application.unit_of_work import UnitOfWork
from domain.dispute import DisputePolicy, DisputeStatus
from domain.errors import Contradiction
from domain.fact import Stream
from domain.order.aggregate import Order
from domain.order.recovery import pay_sellers, recover_shares
from domain.order.state import Share
from domain.provider_call.operation import TRANSFER
from domain.provider_call.outcome import Succeeded
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Send
from domain.refund.aggregate import Refund
from domain.seller_transfer.aggregate import SellerTransfer, causes_to_recover
from domain.seller_transfer.stripe_call import begin
from tests.support.outcomes import record_reversal_outcome, record_transfer_outcome

D = DisputeStatus
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
POLICY = Policy()
ORDER, SHARES = 1_000, {"ada": 501, "bob": 399}
REFUNDS = {"A": 333, "B": 200}
DISPUTED = 1_000
"""An amount larger than the refunds leave."""
EXPECTED = {seller: share - share * REFUNDS["B"] // ORDER for seller, share in SHARES.items()}


class ReportedOrder:
    """One order with its refunds and its dispute, as reports change them."""

    def __init__(self) -> None:
        self.now, self.held = NOW, 0
        shares = [
            Share(seller_id=seller, destination=f"acct_{seller}", amount=share)
            for seller, share in SHARES.items()
        ]
        self.order = Order.register(
            order_id="o1", currency="EUR", amount=ORDER, shares=shares, now=NOW
        )
        self.streams: dict[object, Stream] = {self.order.id: self.order}
        self._stored()

    # what is reported

    def paid(self) -> None:
        self.order.pay("pi_1", None, "api", self.now)
        self._add(pay_sellers(self.order, self.now))

    def succeeded(self, name: str) -> None:
        with suppress(Contradiction):  # an old story: it has failed since
            self._refund(name, refunds.succeed_refund)

    def failed(self, name: str) -> None:
        self._refund(name, refunds.fail_refund)

    def dispute(self, *told: DisputeStatus) -> None:
        uow = self._uow(Refund)
        report = DisputeReport("dp_1", "stripe", "o1", DISPUTED, "EUR", told, "stripe:evt")
        disputes.record_dispute(report, DisputePolicy.WITHDRAWAL, uow, self.now)
        self._stored(uow)

    def _refund(self, name: str, decide: Callable[..., object]) -> None:
        uow = self._uow(Refund, but=name)
        decide(RefundReport(name, "o1", REFUNDS[name], "EUR", "psp:evt"), uow, self.now)
        self._stored(uow)

    def _uow(self, kind: type[Stream], but: str = "") -> UnitOfWork:
        """Load all streams except other refunds, as a command does."""
        wanted = [
            s
            for s in self.streams.values()
            if not isinstance(s, kind) or getattr(s, "refund_id", None) == but
        ]
        return UnitOfWork({stream.id: stream for stream in wanted}, {})

    def _add(self, streams: list[SellerTransfer]) -> None:
        self.streams.update({stream.id: stream for stream in streams})
        self._stored()

    def _stored(self, uow: UnitOfWork | None = None) -> None:
        for stream, _ in uow.changed() if uow is not None else ():
            self.streams[stream.id] = stream
        for stream in self.streams.values():
            stream.collect_events()
        self.now += timedelta(seconds=1)

    # what Stripe does

    @property
    def transfers(self) -> list[SellerTransfer]:
        return [stream for stream in self.streams.values() if isinstance(stream, SellerTransfer)]

    def all_go_through(self) -> None:
        while due := [
            transfer for transfer in self.transfers if transfer.next_retry_at is not None
        ]:
            for transfer in due:
                step = begin(transfer, self.now, POLICY)
                assert isinstance(step, Send), step
                self._answered(transfer, step)

    def _answered(self, transfer: SellerTransfer, step: Send) -> None:
        reduced = dict(transfer.reductions)
        if step.what == TRANSFER:
            record_transfer_outcome(
                transfer,
                step.attempt,
                Succeeded(f"tr_{uuid4()}", step.body["amount"]),
                self.now,
                POLICY,
            )
        else:
            done = Succeeded(f"trr_{uuid4()}", step.body["amount"])
            record_reversal_outcome(transfer, step.what, step.attempt, done, None, self.now, POLICY)
        for cause_id in causes_to_recover(transfer, reduced):
            self._add(recover_shares(self.order, self.transfers, cause_id, self.now))
        self._stored()

    # how it ended

    def ended(self) -> tuple[dict[str, int], dict[str, str], bool]:
        nets = {
            seller: sum(
                t.amount - t.amount_reversed
                for t in self.transfers
                if t.seller_id == seller and t.paid
            )
            for seller in SHARES
        }
        known = [
            stream
            for stream in self.streams.values()
            if not isinstance(stream, Order | SellerTransfer)
        ]
        statuses = {
            str(getattr(stream, "refund_id", None) or getattr(stream, "dispute_id", None)): str(
                getattr(stream, "status", None)
            )
            for stream in known
        }
        pending = any(
            transfer.operation is not None or transfer.queue for transfer in self.transfers
        )
        return nets, statuses, pending


REPORTS: dict[str, Callable[[ReportedOrder], None]] = {
    "paid": lambda ledger: ledger.paid(),
    "A": lambda ledger: ledger.succeeded("A"),
    "A again": lambda ledger: ledger.succeeded("A"),
    "A fails": lambda ledger: ledger.failed("A"),
    "B": lambda ledger: ledger.succeeded("B"),
    "withdrawn": lambda ledger: ledger.dispute(D.WITHDRAWN),
    "won": lambda ledger: ledger.dispute(D.REINSTATED, D.WON),
}
ALL = list(permutations(REPORTS))
END = (EXPECTED, {"A": "failed", "B": "succeeded", "dp_1": "won"}, False)


def lived(reports: tuple[str, ...], *, at_once: bool) -> ReportedOrder:
    ledger = ReportedOrder()
    for report in reports:
        REPORTS[report](ledger)
        if at_once:
            ledger.all_go_through()
    ledger.all_go_through()
    return ledger


@pytest.mark.parametrize("part", range(8))
def test_all_5040_orders_of_seven_reports_end_the_same(part: int) -> None:
    """In every second order Stripe is called after each report, in the others after all reports."""
    assert len(ALL) == 5_040
    for number, reports in enumerate(ALL[part::8]):
        ended = lived(reports, at_once=number % 2 == 0).ended()
        assert ended == END, reports
