"""The only module that reads Stripe's prose: recognised and unrecognised messages."""

import pytest

from infrastructure.stripe.error_wording import (
    claim_about_source,
    says_already_reversed,
    says_no_funds,
)


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


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "The recipient of this transfer does not have sufficient funds in their Stripe balance "
            "to reverse this amount.",
            True,
        ),
        ("You have insufficient available funds in your Stripe account. Try adding funds.", True),
        (
            "You have insufficient funds in your Stripe account for this transfer. Your card "
            "balance is too low.",
            True,
        ),
        ("Insufficient balance", True),
        ("The account doesn't have enough money for this reversal.", True),
        ("Not enough available balance.", True),
        ("Reversals in this currency are not supported any more; debit the account in eur.", False),
        ("Your key has insufficient permissions.", False),
        (
            "Your destination account needs to have at least one of the following capabilities "
            "enabled: transfers, crypto_transfers, legacy_payments",
            False,
        ),
        ("This account was closed; its balance was paid out.", False),
    ],
)
def test_wording_says_no_funds_only_about_a_low_balance(message: str, expected: bool) -> None:
    assert says_no_funds(message) is expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Transfers using this transaction as a source must not exceed the source amount of "
            "$10.00. (There are already existing transfers using this source, totaling $6.00.)",
            "used_up",
        ),
        ("The source_transaction has insufficient funds remaining.", "used_up"),
        (
            "The currency of source_transaction's balance transaction (cad) must be the same as "
            "the transfer currency (usd)",
            "currency",
        ),
        ("The source_transaction ch_1 has failed, so it cannot be transferred from.", None),
        ("You have insufficient available funds in your Stripe account.", None),
        ("Transfers in this currency exceed your limit.", None),
    ],
)
def test_wording_about_the_source_chooses_the_next_step(message: str, expected: str | None) -> None:
    assert claim_about_source(message) == expected
