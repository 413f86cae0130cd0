"""Sentences of `why`: each status of each kind of thing reads as a sentence of its own."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain.dispute import DisputeStatus
from domain.lifecycle import TransferStatus
from domain.payout import PayoutStatus
from domain.provider_call.reasons import WaitingFor
from domain.refund.state import RefundStatus
from infrastructure.postgres.read_side.search import SearchHit
from projections.findings import FindingStatus
from projections.outlook import Outlook, outlook
from projections.seller_transfers import SellerTransferRow
from scripts.commands.hit_outlook import outlook_of

NOW = datetime(2026, 12, 1, tzinfo=UTC)
WEBHOOKS = ("stored", "done", "ignored", "parked", "dead", "discarded")
STATUSES = {
    "order": ("open", "paid"),
    "refund": tuple(RefundStatus),
    "dispute": tuple(DisputeStatus),
    "payout": tuple(PayoutStatus),
    "finding": (None, *FindingStatus),
    "webhook": WEBHOOKS,
    "seller": (None,),
}
SENTENCES = re.compile(r"(?:[A-Z`][^.]*(?:\.\w[^.]*)*\. ?)+$")


def hit(kind: str, status: str | None, error: str | None) -> SearchHit:
    waits = "order:o9" if status == "parked" else None
    return SearchHit(
        kind, "x1", f"{kind}_id", status, "o1", None, 900, "EUR", waits, error, NOW
    )  # fmt: skip


def outlooks() -> Iterator[tuple[str, Outlook]]:
    for kind, statuses in STATUSES.items():
        for status in statuses:
            for error in (None, "No such\n order.  "):
                yield f"{kind} {status}", outlook_of(hit(kind, status, error))
    for status in TransferStatus:
        for waits in (None, "payment", *WaitingFor):
            for due in (None, NOW, NOW + timedelta(hours=1)):
                for paused, outage in ((set[str](), False), ({"everything"}, False), (set(), True)):
                    row = transfer(status, waits, due)
                    yield f"transfer {status} {waits}", outlook(row, NOW, paused, outage=outage)


def transfer(status: TransferStatus, waits: str | None, due: datetime | None) -> SellerTransferRow:
    return SellerTransferRow(
        transfer_id=UUID(int=1), order_id="o1", seller_id="anna", destination="acct_1", cause="sale", amount=900,
        currency="EUR", status=status, amount_reversed=0, stripe_transfer_id=None,
        stripe_reversal_id=None, retry_count=1, next_retry_at=due, waiting_for=waits,
        last_error="No such destination: 'acct_1'.", refund_id=None, transfer_group="o1", source_transaction=None, version=3, created_at=NOW,
        updated_at=NOW,
    )  # fmt: skip


def test_each_status_reads_as_sentences() -> None:
    bad = [
        (name, sentence)
        for name, told in outlooks()
        for sentence in told
        if not SENTENCES.fullmatch(sentence)
        or re.search(r"  |: *\.|None|\.\.|[<>]|waits for the refund itself", sentence)
    ]
    assert bad == []


def test_succeeded_refund_waits_for_nothing() -> None:
    told = outlook_of(hit("refund", "succeeded", None))
    assert told.waits_for == "The buyer has the money."


@pytest.mark.parametrize("status", WEBHOOKS)
def test_reason_of_a_webhook_is_told(status: str) -> None:
    told = outlook_of(hit("webhook", status, "the reason")).waits_for
    assert ("the reason" in told) == (status not in ("stored", "done"))
