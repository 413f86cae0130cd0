"""Reasons for deferrals: every hindrance is one, since a deferral takes its value over."""

from domain.provider_call.outcome import Hindrance
from domain.provider_call.reasons import DeferralReason


def test_every_hindrance_is_a_deferral_reason() -> None:
    assert {hindrance.value for hindrance in Hindrance} <= {
        reason.value for reason in DeferralReason
    }
