"""Amounts and currencies as the ledger accepts them."""

import json

import pytest

from domain.errors import BadMoney
from domain.money import CURRENCIES, LARGEST, amount, currency


@pytest.mark.parametrize("value", [1, 2, 10_000, 2**53 - 1])
def test_amount_is_an_integer_from_1_to_the_largest(value: int) -> None:
    assert amount(value) == value


@pytest.mark.parametrize("value", [0, -1, -(2**53), 2**53, 10**30, True, False])
def test_anything_else_is_no_amount(value: int) -> None:
    with pytest.raises(BadMoney):
        amount(value)


def test_largest_amount_survives_a_double() -> None:
    assert LARGEST == 2**53 - 1
    assert int(json.loads(str(LARGEST), parse_int=float)) == LARGEST
    assert float(LARGEST + 1) == float(LARGEST + 2), (
        "one more, and a double could not tell it from its neighbour"
    )


@pytest.mark.parametrize(
    ("given", "code"), [("usd", "USD"), ("Eur", "EUR"), ("JPY", "JPY"), ("kwd", "KWD")]
)
def test_currency_is_kept_in_upper_case(given: str, code: str) -> None:
    assert currency(given) == code


@pytest.mark.parametrize("given", ["", "EURO", "US", "XXX", "BTC", "eur ", "€", "DEM", "ıdr"])
def test_invalid_currency_is_refused(given: str) -> None:
    with pytest.raises(BadMoney):
        currency(given)


def test_every_currency_is_three_capitals() -> None:
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)
