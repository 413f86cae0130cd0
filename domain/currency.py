"""Decimals and steps of currencies: the one table for the ledger and its providers.

The ledger counts in minor units of ISO 4217, and so does Hyperswitch: its amounts are the ledger's
as they are. Stripe counts some currencies otherwise (docs.stripe.com/currencies, "special cases"):
UGX and ISK in hundredths that must be whole, and three-decimal currencies in steps of ten. The
gateway and the readers of Stripe's events convert; everything else sees the ledger's amounts.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from domain.errors import BadMoney


class Unit(NamedTuple):
    """The unit in which amounts of a currency are counted."""

    decimals: int = 2
    step: int = 1
    """Every amount is a multiple of this."""


HUNDREDTHS, THOUSANDTHS, WHOLE = Unit(2), Unit(3), Unit(0)

WITHOUT_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
WITH_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
IN_STEPS_OF_TEN = "BHD JOD KWD OMR TND"

LEDGER: Mapping[str, Unit] = MappingProxyType(
    {
        **dict.fromkeys(WITHOUT_DECIMALS.split(), WHOLE),
        # ISO 4217 gives the ariary two decimals; its fifths are out of use, and both providers
        # count whole ones.
        "MGA": WHOLE,
        **dict.fromkeys(WITH_THREE_DECIMALS.split(), THOUSANDTHS),
    }
)
"""Units of the ledger's own amounts, of the API's and of Hyperswitch's. Others: two decimals."""

STRIPE: Mapping[str, Unit] = MappingProxyType(
    {
        **LEDGER,
        "ISK": Unit(2, 100),
        "UGX": Unit(2, 100),
        **dict.fromkeys(IN_STEPS_OF_TEN.split(), Unit(3, 10)),
    }
)
"""Units on Stripe's wire. HUF and TWD differ in payouts only, which the ledger does not make."""

UNKNOWN_TO_STRIPE = frozenset(
    ("BTN", "CUP", "ERN", "IQD", "IRR", "KPW", "LYD", "SDG", "SSP", "SYP", "TMT", "ZWG")
)
"""Currencies that Stripe has never offered: a transfer in them would be refused on the day of the
sale. A currency that Stripe retires later is refused by Stripe, in its own words."""


def to_stripe(currency: str, amount: int) -> int:
    """Return an amount of the ledger as Stripe counts it."""
    return amount * _factor(currency)


def from_stripe(currency: str, amount: int) -> int:
    """Return an amount of Stripe's as the ledger counts it. Raises BadMoney for a fraction of the
    ledger's unit, which Stripe does not accept either."""
    whole, fraction = divmod(amount, _factor(currency))
    if fraction:
        raise BadMoney(
            f"{amount} {currency.upper()} as Stripe counts it is no whole amount here; expected a "
            f"multiple of {_factor(currency)}."
        )
    return whole


def whole_from_stripe(currency: str, amount: int) -> int:
    """Return the whole units, as the ledger counts, that an amount of Stripe's covers. For amounts
    that are only compared."""
    return amount // _factor(currency)


def step(currency: str) -> int:
    """Return the number of which every amount that goes to Stripe is a multiple, as the ledger
    counts."""
    return max(1, STRIPE.get(currency, HUNDREDTHS).step // _factor(currency))


def in_major_units(amount: int, currency: str) -> str:
    """Write an amount for a reader: 7500 of EUR is `75.00 EUR`, 500 of JPY is `500 JPY`."""
    decimals = LEDGER.get(currency.upper(), HUNDREDTHS).decimals
    whole, fraction = divmod(abs(amount), 10**decimals)
    digits = f"{whole}.{fraction:0{decimals}}" if decimals else str(whole)
    return f"{'-' if amount < 0 else ''}{digits} {currency.upper()}"


def require_payable(currency: str, amount: int) -> None:
    """Check that Stripe can transfer this amount. Raises BadMoney."""
    if currency in UNKNOWN_TO_STRIPE:
        raise BadMoney(
            f"Stripe makes no transfers in {currency}; pay this share in another currency."
        )
    if amount % step(currency):
        raise BadMoney(
            f"{amount} is no amount that Stripe can transfer in {currency}; expected a multiple of "
            f"{step(currency)} (minor units)."
        )


def _factor(currency: str) -> int:
    code = currency.upper()
    ours, theirs = LEDGER.get(code, HUNDREDTHS), STRIPE.get(code, HUNDREDTHS)
    return int(10 ** (theirs.decimals - ours.decimals))
