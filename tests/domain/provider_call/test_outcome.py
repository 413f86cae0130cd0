"""Signals of answers about the provider and the key, independent of the money."""

import pytest

from domain.provider_call.outcome import (
    Hindrance,
    LookUpFailed,
    NotAtStripe,
    NotExecuted,
    ProviderSignal,
    Rejected,
    Succeeded,
    Unknown,
    signal_of,
)

S = ProviderSignal


@pytest.mark.parametrize(
    ("answer", "signal"),
    [
        (Rejected(404, "resource_missing", "gone", stored=False), S.NOT_FOUND),
        (Rejected(400, None, "no", stored=True), S.ANSWER),
        (NotExecuted(Hindrance.UNAUTHORIZED, "no"), S.KEY_REFUSED),
        (NotExecuted(Hindrance.FORBIDDEN, "no"), S.FORBIDDEN),
        (NotExecuted(Hindrance.RATE_LIMITED, "slow"), S.TOO_FAST),
        (NotExecuted(Hindrance.LOCK_TIMEOUT, "busy"), S.ANSWER),
        (NotExecuted(Hindrance.KEY_IN_USE, "busy"), S.ANSWER),
        (Unknown("http_500", "stored", 500, replayed=True), S.NOTHING),
        (Unknown("http_500", "broken", 500), S.SILENCE),
        (Unknown("http_503", "broken", 503), S.SILENCE),
        (Unknown("idempotency_error", "other body", 400), S.ANSWER),
        (Unknown("disagrees", "odd", 499), S.ANSWER),
        (Unknown("timeout", "none"), S.SILENCE),
        (Unknown("connection", "reset"), S.SILENCE),
        (Unknown("unreadable", "html"), S.SILENCE),
        (Unknown("cancelled", "we stop"), S.NOTHING),
        (LookUpFailed("a hole"), S.ANSWER),
        (LookUpFailed("no answer", S.SILENCE), S.SILENCE),
        (NotAtStripe(), S.NOT_FOUND),
        (Succeeded("tr_1", 5), S.ANSWER),
        ((), S.ANSWER),
    ],
    ids=repr,
)
def test_answer_gives_one_signal_about_the_provider(answer: object, signal: ProviderSignal) -> None:
    assert signal_of(answer) is signal


def test_failed_look_up_says_why() -> None:
    assert str(LookUpFailed("a hole in the list")) == "a hole in the list"
    assert signal_of(LookUpFailed("a hole")) is S.ANSWER
    assert signal_of(LookUpFailed("no answer", S.SILENCE)) is S.SILENCE


def test_missing_funds_are_known_by_code_or_by_words() -> None:
    assert Rejected(400, "balance_insufficient", "", stored=True).lacks_funds
    assert Rejected(400, None, "", stored=True, says_no_funds=True).lacks_funds
    assert not Rejected(400, None, "", stored=True).lacks_funds
