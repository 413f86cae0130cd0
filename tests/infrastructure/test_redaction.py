"""Messages are cleaned of secrets; identifiers stay as they are."""

import json
import sys
from collections.abc import Callable, Iterator

import pytest

from infrastructure.hyperswitch.response_checks import refund_at_psp
from infrastructure.redaction import clean, hide, protect, storable
from infrastructure.stripe.response_checks import reversal_at_stripe, transfer_at_stripe
from scripts.one_line_errors import one_line_errors

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


@pytest.fixture
def secrets() -> Iterator[None]:
    protect(["an-own-key/of+this-process", "short"])
    yield
    protect([])


@pytest.mark.parametrize(
    "message",
    [
        "invalid key an-own-key/of+this-process!",
        "invalid key an-own-key/of***",
        "invalid key an-own-key%2Fof%2Bthis-process",
        "invalid key YW4tb3duLWtleS9vZit0aGlzLXByb2Nlc3M=",
    ],
)
def test_own_secret_is_hidden_in_every_form(secrets: None, message: str) -> None:
    assert hide(message) == "invalid key [redacted]"


@pytest.mark.parametrize("write", [json.dumps, repr, str])
def test_own_secret_is_hidden_as_logs_and_tracebacks_write_it(write: Callable[[str], str]) -> None:
    protect(['pass"wörd\\of the database'])
    try:
        shown = hide(write('no user with pass"wörd\\of the database here'))
        assert shown.strip("'\"") == "no user with [redacted] here"
    finally:
        protect([])


def test_traceback_of_a_defect_shows_no_secret(
    secrets: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.excepthook
    try:
        with pytest.raises(RuntimeError) as caught, one_line_errors():
            raise RuntimeError("invalid key an-own-key/of+this-process!")
        sys.excepthook(RuntimeError, caught.value, caught.tb)
    finally:
        sys.excepthook = before
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "RuntimeError: invalid key [redacted]" in said
    assert "this-process" not in said


def test_own_secret_is_hidden_where_a_message_is_cut(secrets: None) -> None:
    cut = clean("x" * 30 + " an-own-key/of+this-process", 45)
    assert cut == "x" * 30 + " [redacted]"


def test_ordinary_text_is_not_hidden(secrets: None) -> None:
    for text in ("a short message", "https://api.stripe.com/v1/transfers", "o1@shop", "a@b:c"):
        assert hide(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ledger:s3cret@db/ledger", "postgresql://[redacted]@db/ledger"),
        ("https://u:p@ss@host/", "https://[redacted]@host/"),
        ("host=db password=s3cret user=u", "host=db [redacted] user=u"),
        ("host=db password='s3 cret' user=u", "host=db [redacted] user=u"),
        ("host=db sslpassword=s3cret user=u", "host=db [redacted] user=u"),
        ("Basic c2tfdGVzdF9hYmNkZWY6", "[redacted]"),
    ],
)
def test_credentials_of_unknown_owners_are_hidden(text: str, shown: str) -> None:
    assert hide(text) == shown
