"""A transfer of an older system may be older at Stripe than it is here."""

from datetime import UTC, datetime, timedelta

from domain.calling import LookUp, begin
from domain.fact import opened
from domain.operation import TRANSFER, Policy
from domain.seller_transfer import SellerTransfer
from tests.e2e.stage import imported


def test_looks_for_an_imported_transfer_begin_when_it_may_first_have_been_sent() -> None:
    sent, now = datetime(2026, 1, 2, tzinfo=UTC), datetime.now(UTC) + timedelta(minutes=1)
    transfer = opened(SellerTransfer, imported("old", status="pending", first_sent_at=sent))
    transfer.retry("mia", "it is time", now)
    assert begin(transfer, now, Policy()) == LookUp(TRANSFER, sent, 0)
