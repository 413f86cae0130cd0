"""Hyperswitch's webhook signature: HMAC-SHA512 of the raw body."""

import hashlib
import hmac

import pytest

from infrastructure.hyperswitch.signature import HEADER, sign, verify
from infrastructure.signature_comparison import BadSignature

BODY = b'{"event_id":"evt_1"}'
KEY = "payment_response_hash_key"
GOOD = sign(BODY, KEY)


def test_signature_is_lower_case_hex_of_raw_body() -> None:
    assert HEADER == "X-Webhook-Signature-512"
    assert hmac.new(KEY.encode(), BODY, hashlib.sha512).hexdigest() == GOOD


@pytest.mark.parametrize("secrets", [[KEY], ["old", KEY], [KEY, "new"]])
def test_body_signed_with_our_key_is_accepted(secrets: list[str]) -> None:
    verify(BODY, GOOD, secrets)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        GOOD.upper(),
        GOOD[:-1],
        f" {GOOD}",
        "é" * 128,
        "\udcff",
        "0" * 128,
        "\x00",
    ],
    ids=[
        "none",
        "empty",
        "garbage",
        "upper",
        "short",
        "space",
        "not ASCII",
        "surrogate",
        "zeros",
        "nul",
    ],
)
def test_arbitrary_header_is_a_bad_signature(header: str | None) -> None:
    with pytest.raises(BadSignature):
        verify(BODY, header, [KEY])


def test_changed_body_or_other_key_is_a_bad_signature() -> None:
    with pytest.raises(BadSignature):
        verify(BODY + b"\n", GOOD, [KEY])
    with pytest.raises(BadSignature):
        verify(BODY, GOOD, ["another"])


@pytest.mark.parametrize("secrets", [[], [""], [KEY, ""]])
def test_guessable_key_is_refused(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="empty"):
        verify(BODY, GOOD, secrets)
    with pytest.raises(ValueError, match="empty"):
        sign(BODY, "")


def test_single_string_is_no_list_of_keys() -> None:
    with pytest.raises(TypeError, match="list"):
        verify(BODY, sign(BODY, KEY[0]), KEY)
