"""Amounts as integers in minor units, and currencies as ISO 4217 codes in upper case."""

from domain.errors import BadMoney

LARGEST = 2**53 - 1
"""Upper limit of an amount: the largest integer that every JSON reader reads exactly."""

# Active ISO 4217 codes of circulating money. Requests and webhooks with any other code are refused.
CURRENCIES = frozenset(
    """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP
    BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
    GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR
    KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
    MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
    SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS
    UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG""".split()  # noqa: SIM905 - a list of 160 quoted strings reads worse
)


def currency(code: str) -> str:
    """Return the ISO 4217 code in upper case. Raises BadMoney for any other text."""
    upper = code.upper()
    if not code.isascii() or upper not in CURRENCIES:
        raise BadMoney(f"{code!r} is no ISO 4217 currency code; expected one such as USD or EUR.")
    return upper


def amount(value: int) -> int:
    """Return an amount above zero. Raises BadMoney outside 1 to 2^53-1."""
    if isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise BadMoney(
            f"{value!r} is no amount; expected an integer in minor units from 1 to {LARGEST}."
        )
    return value
