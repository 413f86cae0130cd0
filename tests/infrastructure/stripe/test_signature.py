"""Stripe's webhook signature: compatible with the SDK, and closed to outsiders."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
import stripe as sdk

from infrastructure.signature_comparison import BadSignature
from infrastructure.stripe.signature import sign, verify

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
T = int(NOW.timestamp())
BODY = '{"id":"evt_1","name":"Łódź"}'.encode()
SECRET = "whsec_one"
GOOD = sign(BODY, SECRET, NOW)
V1 = GOOD.partition("v1=")[2]


def test_signature_equals_that_of_stripe() -> None:
    assert sdk.WebhookSignature.generate_signature_header(BODY.decode(), SECRET, T) == GOOD


def test_good_signature_is_accepted() -> None:
    verify(BODY, GOOD, [SECRET], NOW)


@pytest.mark.parametrize("secrets", [["whsec_old", SECRET], [SECRET, "whsec_new"]])
def test_secret_rotation_accepts_each_of_our_secrets(secrets: list[str]) -> None:
    verify(BODY, GOOD, secrets, NOW)


def test_secret_rotation_needs_one_good_signature() -> None:
    verify(BODY, f"t={T},v1={'0' * 64},v0=abc,v1={V1}", [SECRET], NOW)


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_signature_within_five_minutes_is_accepted(seconds: int) -> None:
    verify(BODY, sign(BODY, SECRET, NOW + timedelta(seconds=seconds)), [SECRET], NOW)


@pytest.mark.parametrize("seconds", [-301, 301, 86_400, -86_400 * 365])
def test_signature_outside_five_minutes_is_refused(seconds: int) -> None:
    with pytest.raises(BadSignature, match="clock"):
        verify(BODY, sign(BODY, SECRET, NOW + timedelta(seconds=seconds)), [SECRET], NOW)


def test_signature_tolerance_is_configurable() -> None:
    verify(
        BODY,
        sign(BODY, SECRET, NOW - timedelta(hours=1)),
        [SECRET],
        NOW,
        tolerance=timedelta(hours=1),
    )


BAD = {
    "none": None,
    "empty": "",
    "garbage": "garbage",
    "no time": f"v1={V1}",
    "empty time": f"t=,v1={V1}",
    "two times": f"t={T},t={T},v1={V1}",
    "time in words": f"t=now,v1={V1}",
    "negative time": f"t=-{T},v1={V1}",
    "fraction": f"t={T}.0,v1={V1}",
    "underscores": f"t=1_700_000_000,v1={V1}",
    "other digits": f"t=١٢٣,v1={V1}",
    "endless time": f"t={'9' * 5000},v1={V1}",
    "long time": f"t={'9' * 13},v1={V1}",
    "no signature": f"t={T}",
    "only v0": f"t={T},v0={V1}",
    "empty signature": f"t={T},v1=",
    "not ASCII": f"t={T},v1=é{V1[1:]}",
    "lone surrogate": f"t={T},v1=\udcff",
    "upper case": f"t={T},v1={V1.upper()}",
    "shortened": f"t={T},v1={V1[:-1]}",
    "other time": f"t={T + 1},v1={V1}",
    "too long": f"{GOOD},v1=" + "0" * 5000,
    "control characters": f"\x00{GOOD}",
}


@pytest.mark.parametrize("header", BAD.values(), ids=BAD)
def test_arbitrary_header_is_a_bad_signature(header: str | None) -> None:
    with pytest.raises(BadSignature):
        verify(BODY, header, [SECRET], NOW)


@pytest.mark.parametrize(
    "timestamp",
    ["²", "٣", "9" * 400, "-1", ""],
    ids=["superscript", "other", "huge", "minus", "none"],
)
def test_invalid_time_is_refused_even_when_signed(timestamp: str) -> None:
    digest = hmac.new(SECRET.encode(), timestamp.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    with pytest.raises(BadSignature, match="form"):
        verify(BODY, f"t={timestamp},v1={digest}", [SECRET], NOW)


@pytest.mark.parametrize("body", [BODY + b" ", b"", b"\xff\xfe"])
def test_changed_body_is_a_bad_signature(body: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(body, GOOD, [SECRET], NOW)


def test_binary_body_can_be_signed() -> None:
    verify(b"\xff\x00", sign(b"\xff\x00", SECRET, NOW), [SECRET], NOW)


def test_other_secret_is_a_bad_signature() -> None:
    with pytest.raises(BadSignature, match="secret"):
        verify(BODY, GOOD, ["whsec_two", "whsec_on"], NOW)


@pytest.mark.parametrize("secrets", [[], [""], [SECRET, ""]])
def test_guessable_secret_is_refused(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="empty"):
        verify(BODY, GOOD, secrets, NOW)
    with pytest.raises(ValueError, match="empty"):
        sign(BODY, "", NOW)


def test_single_string_is_no_list_of_secrets() -> None:
    with pytest.raises(TypeError, match="list"):
        verify(BODY, sign(BODY, SECRET[0], NOW), SECRET, NOW)
