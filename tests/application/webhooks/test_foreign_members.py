"""Members of others in webhooks, metadata and references, in every shape of JSON."""

from collections.abc import AsyncIterator, Mapping
from itertools import product

import pytest

from application.foreign_members import text_or_none, texts
from infrastructure.hyperswitch.response_checks import payment_at_psp, refund_at_psp
from tests.support.told_ledger import ACCOUNT, ToldLedger, told_ledger

ABSENT = object()
SHAPES: Mapping[str, object] = {
    "missing": ABSENT, "null": None, "list": ["4711"], "object": {"id": "4711"}, "bool": True,
    "float": 4711.0, "empty": "",
}  # fmt: skip
"""Shapes that count as absent."""
REFUND = {"refund_id": "ref_1", "payment_id": "pay_1", "amount": 400, "currency": "EUR"}
STRIPES_REFUND = {"id": "re_1", "amount": 400, "currency": "eur", "status": "succeeded"}
DISPUTE = {"id": "dp_1", "amount": 400, "currency": "eur", "status": "needs_response"}


@pytest.fixture
async def ledger() -> AsyncIterator[ToldLedger]:
    async with told_ledger() as ledger:
        yield ledger


def test_text_of_others_is_a_text_or_digits_or_absent() -> None:
    assert [text_or_none(value) for value in ("4711", 4711, 0, -1)] == ["4711", "4711", "0", "-1"]
    assert {text_or_none(value) for value in SHAPES.values() if value is not ABSENT} == {None}


def test_metadata_of_others_keeps_only_texts() -> None:
    assert texts({"a": 1, "b": "x", "c": None, "d": []}) == {"a": "1", "b": "x"}
    odd: list[object] = [None, [], "x", 7]
    assert [texts(value) for value in odd] == [{}] * 4


@pytest.mark.parametrize("event_type", ["payment_succeeded", "refund_succeeded"])
async def test_numeric_order_id_is_as_good_as_a_text(ledger: ToldLedger, event_type: str) -> None:
    """PHP shops send numbers."""
    await ledger.sells("4711", paid=event_type == "refund_succeeded")
    payment = {"payment_id": "pay_1", "amount": 1_000, "currency": "EUR", "status": "succeeded"}
    told = payment if event_type == "payment_succeeded" else {**REFUND, "status": "succeeded"}
    assert await ledger.psp_tells(event_type, {**told, "metadata": {"order_id": 4711}}) == "done"


@pytest.mark.parametrize(
    ("member", "shape"),
    list(product(("metadata", "order_id", "merchant_order_reference_id", "error_message"), SHAPES)),
)
@pytest.mark.parametrize("event_type", ["payment_succeeded", "refund_succeeded"])
async def test_psp_webhook_is_read_whatever_others_wrote(
    ledger: ToldLedger, event_type: str, member: str, shape: str
) -> None:
    await ledger.sells(payment_id="pay_1")
    told = {**REFUND, "status": "succeeded", **with_member(member, SHAPES[shape])}
    if event_type == "payment_succeeded":
        told = {**told, "amount": 1_000}
    assert await ledger.psp_tells(event_type, told) == "done"


async def test_envelope_of_the_psp_may_have_any_id(ledger: ToldLedger) -> None:
    """The inbox has stored it under a hash."""
    await ledger.sells(payment_id="pay_1")
    told = {"event_id": 7, "content": {"object": {**REFUND, "status": "succeeded"}}}
    assert await ledger.hears("hyperswitch", "refund_succeeded", told) == "done"


MEMBERS = ("metadata", "order_id", "transfer_group", "failure_reason", "reason", "payment_intent")


@pytest.mark.parametrize(("member", "shape"), list(product(MEMBERS, SHAPES)))
async def test_stripe_webhook_is_read_whatever_others_wrote(
    ledger: ToldLedger, member: str, shape: str
) -> None:
    await ledger.sells(charge="ch_1")
    written = {"charge": "ch_1", **with_member(member, SHAPES[shape])}
    assert await ledger.stripe_tells("refund.created", {**STRIPES_REFUND, **written}) == "done"
    withdrawn = "charge.dispute.funds_withdrawn"
    assert await ledger.stripe_tells(withdrawn, {**DISPUTE, **written}) == "done"


@pytest.mark.parametrize("shape", SHAPES)
async def test_null_charge_of_a_refund_is_an_unknown_payment(
    ledger: ToldLedger, shape: str
) -> None:
    await ledger.sells(charge="ch_1")
    written = {"metadata": {"order_id": "o1"}, **with_member("charge", SHAPES[shape])}
    assert await ledger.stripe_tells("refund.created", {**STRIPES_REFUND, **written}) == "done"


@pytest.mark.parametrize("shape", SHAPES)
async def test_account_with_odd_members_is_read(ledger: ToldLedger, shape: str) -> None:
    await ledger.sells(charge="ch_1")
    odd = {**with_member("requirements", SHAPES[shape]), **with_member("metadata", SHAPES[shape])}
    told = {"id": ACCOUNT, "capabilities": {"transfers": "inactive"}, **odd}
    assert await ledger.stripe_tells("account.updated", told, account=ACCOUNT) == "done"


@pytest.mark.parametrize("shape", SHAPES)
def test_psp_object_is_read_whatever_others_wrote(shape: str) -> None:
    read = refund_at_psp({**REFUND, "status": "failed", **with_member("metadata", SHAPES[shape])})
    assert read.order_id is None
    named = with_member("order_id", SHAPES[shape])
    assert payment_at_psp({**REFUND, "status": "failed", **named}).order_id is None


def test_numeric_order_id_is_read_at_the_psp() -> None:
    shown = {**REFUND, "status": "succeeded", "metadata": {"order_id": 4711}}
    assert (refund_at_psp(shown).order_id, payment_at_psp(shown).order_id) == ("4711", "4711")


def with_member(name: str, value: object) -> dict[str, object]:
    if value is ABSENT:
        return {}
    return {"metadata": {"order_id": value}} if name == "order_id" else {name: value}
