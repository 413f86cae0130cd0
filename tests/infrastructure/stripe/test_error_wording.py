"""The only module that reads Stripe's prose: recognised and unrecognised messages."""

import pytest

from infrastructure.stripe.error_wording import says_already_reversed


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("The transfer tr_1Qsim0001 is already fully reversed.", True),
        ("This transfer has ALREADY been\n  completely Reversed", True),
        ("Transfer cannot be reversed: it was already reversed.", True),
        ("The transfer tr_1Qsim0001 is already partially reversed.", False),
        ("The transfer tr_1Qsim0001 is not already reversed.", False),
        ("The charge has already been refunded, so its transfer was not reversed.", False),
        ("Transfers in BGN cannot be reversed.", False),
    ],
)
def test_wording_says_reversed_only_when_nothing_is_left(message: str, expected: bool) -> None:
    assert says_already_reversed(message) is expected
