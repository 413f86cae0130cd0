"""Reading of Stripe's error messages: a hint to read the transfer at Stripe, never a fact.

Stripe has no error code for a transfer that is already reversed, only a message. If the message
changes, the function returns False, the transfer is read anyway, and the worst case is a noisier
row.
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


def says_already_reversed(message: str) -> bool:
    """Return whether the message claims that the whole transfer is reversed."""
    return _ALREADY_REVERSED.search(message) is not None
