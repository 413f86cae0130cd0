"""Messages are cleaned of secrets; identifiers stay as they are."""

import pytest

from infrastructure.hyperswitch.response_checks import refund_at_psp
from infrastructure.redaction import clean, storable
from infrastructure.stripe.response_checks import reversal_at_stripe, transfer_at_stripe

LIKE_KEYS = [f"{prefix}_20261120_0001" for prefix in ("sk", "rk", "pk", "whsec", "snd", "prd")]


@pytest.mark.parametrize("name", LIKE_KEYS)
def test_id_that_looks_like_a_key_is_redacted_in_messages_only(name: str) -> None:
    assert clean(f"no such refund: {name}") == "no such refund: [redacted]"
    assert storable(name) == name


def test_id_that_postgresql_refuses_becomes_storable() -> None:
    assert storable("a\x00b\ud800") == "a\ufffdb\ufffd"


@pytest.mark.parametrize("name", LIKE_KEYS)
def test_ids_in_answers_are_read_as_they_are(name: str) -> None:
    refund = {"refund_id": name, "payment_id": name, "amount": 1, "currency": "EUR"}
    read = refund_at_psp({**refund, "status": "failed", "metadata": {"order_id": name}})
    assert (read.refund_id, read.payment_id, read.order_id) == (name, name, name)
    transfer = {"id": "tr_1", "object": "transfer", "amount": 1, "amount_reversed": 0}
    names = {"currency": "eur", "destination": name, "metadata": {"transfer_id": name}}
    paid = transfer_at_stripe({**transfer, **names})
    assert (paid.destination, paid.transfer_id) == (name, name)
    reversal = {"id": "trr_1", "object": "transfer_reversal", "amount": 1, "transfer": "tr_1"}
    made = reversal_at_stripe({**reversal, "metadata": {"refund_id": name}}, "tr_1", "EUR")
    assert made.refund_id == name
