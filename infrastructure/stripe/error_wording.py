"""Reading of Stripe's error messages: a hint to read the transfer at Stripe, never a fact.

Stripe has no error code for a transfer that is already reversed, only a message. If the message
changes, the function returns False, the transfer is read anyway, and the worst case is a noisier
row. The same holds for a balance of a seller that is too low: with other words the reversal is
tried a few times, and a person decides.
"""

import re

# Only words that do not restrict "reversed" may come between "already" and "reversed": after
# "already partially reversed" a part can still be reversed, and "already been refunded, but not
# reversed" is a different message.
_ALREADY_REVERSED = re.compile(
    r"(?<!\bnot )(?<!n't )\balready\s+"
    r"(?:(?:been|is|was|fully|completely|entirely)\s+){0,3}reversed\b",
    re.IGNORECASE,
)


# "Insufficient permissions" or capabilities are no matter of money.
_NO_FUNDS = re.compile(
    r"\binsufficient(?!\W+(?:permission|capabilit|privilege|scope|right|access)\w*)\b"
    r"|\b(?:not|does?n.t|don.t)\s+have\s+(?:sufficient|enough)\b.{0,60}\b(?:funds|balance|money)\b"
    r"|\bnot\s+enough\b.{0,40}\b(?:funds|balance|money)\b"
    r"|\b(?:balance|funds)\b.{0,40}\btoo\s+low\b",
    re.IGNORECASE | re.DOTALL,
)


def says_no_funds(message: str) -> bool:
    """Return whether the message says that a balance is too low."""
    return _NO_FUNDS.search(message.replace("_", " ")) is not None


_SOURCE = re.compile(r"source[ _]?transaction|using this (transaction|charge) as a source", re.I)
_USED_UP = re.compile(r"exceed|already existing transfers|totaling|remaining|insufficient", re.I)
_CURRENCY = re.compile(r"currenc(y|ies)", re.I)


def claim_about_source(message: str) -> str | None:
    """Return `used_up` or `currency` if the message claims that about the charge of a transfer.

    Stripe has no error codes for either. Both are read only in a definite refusal, after which no
    money has moved: a wrong reading pays the seller from the platform's balance, or asks a person.
    """
    if _SOURCE.search(message) is None:
        return None
    if _USED_UP.search(message) is not None:
        return "used_up"
    return "currency" if _CURRENCY.search(message) is not None else None


def says_already_reversed(message: str) -> bool:
    """Return whether the message claims that the whole transfer is reversed."""
    return _ALREADY_REVERSED.search(message) is not None
