"""Ids in the log lines of the inbox: each line about a webhook that fails names the order, refund and
transfer as far as they are known."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from application.ports import EventLog
from domain.identity import transfer_stream
from tests.support.storage import in_memory
from tests.support.stripe_events import a_dispute
from tests.support.told_ledger import ToldLedger

Body = Mapping[str, object]
ORDER, TRANSFER = "o1", str(transfer_stream("o1", "anna"))
PAYMENT: Body = {
    "payment_id": "pay_1", "amount": 1_000, "currency": "EUR", "status": "succeeded",
    "metadata": {"order_id": ORDER},
}  # fmt: skip
REFUND: Body = {
    "refund_id": "ref_1", "payment_id": "pay_1", "amount": 400, "currency": "EUR",
    "status": "succeeded",
}  # fmt: skip
STRIPES_REFUND: Body = {
    "id": "re_1", "amount": 400, "currency": "eur", "status": "succeeded", "charge": "ch_1",
}  # fmt: skip
SHOWN: Body = {
    "id": "tr_1", "amount": 900, "amount_reversed": 0, "currency": "eur", "destination": "acct_anna",
    "metadata": {"transfer_id": TRANSFER, "order_id": ORDER},
}  # fmt: skip
EVENTS: list[tuple[str, str, Body, dict[str, str]]] = [
    ("hyperswitch", "payment_succeeded", PAYMENT, {"order_id": ORDER}),
    ("hyperswitch", "refund_succeeded", REFUND, {"order_id": ORDER, "refund_id": "ref_1"}),
    ("stripe", "refund.created", STRIPES_REFUND, {"order_id": ORDER, "refund_id": "re_1"}),
    ("stripe", "charge.dispute.created", a_dispute("dp_1", 400), {"order_id": ORDER}),
    ("stripe", "transfer.created", SHOWN, {"order_id": ORDER, "transfer_id": TRANSFER}),
]


class FullDisk:
    """An event log that can be read, and takes no append."""

    def __init__(self, log: EventLog) -> None:
        self.load = log.load

    async def append(self, *given: object) -> None:
        raise OSError("no space left on device")


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    with capture_logs([merge_contextvars]) as lines:
        yield lines  # type: ignore[misc]


@pytest.mark.parametrize(("provider", "kind", "told", "known"), EVENTS, ids=[e[1] for e in EVENTS])
async def test_line_of_a_failed_webhook_names_what_it_is_about(
    lines: list[dict[str, Any]], provider: str, kind: str, told: Body, known: dict[str, str]
) -> None:
    async with in_memory() as storage:
        await ToldLedger(storage).sells(
            payment_id="pay_1", charge="ch_1", paid=kind[:7] != "payment"
        )
        ledger = ToldLedger(replace(storage, ledger=FullDisk(storage.ledger)))
        tell = ledger.psp_tells if provider == "hyperswitch" else ledger.stripe_tells
        await tell(kind, told)
    (line,) = [one for one in lines if one["event"] == "a webhook failed"]
    assert {name: line.get(name) for name in known} == known
    assert (line["provider"], line["event_type"]) == (provider, kind)
